"""`geosleuth locate --ask` and `geosleuth answer`: a run that may wait for a person, also across processes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.chat.view import ChatView
from apps.commands.opening import ChooseSettings, OpenConversation, open_saved_conversation
from apps.console import messages
from apps.options import Events, Home, Outputs, Page, RunOptions, SystemOptions, chosen_settings
from apps.output.files import check_outputs, render
from apps.output.formatting import LocatedPhoto, printable
from apps.output.results_file import settings_differences
from core.errors import UserError
from retrieval.photos.photo import Photo, load_photo
from retrieval.photos.thumbnail import thumbnail_jpeg

if TYPE_CHECKING:
    from graphs.chat.events import ChatEvent
    from graphs.chat.session import Conversation

WAITS_FOR_AN_ANSWER = 3


def locate_in_thread(
    paths: Sequence[Path],
    choose: ChooseSettings,
    outputs: Outputs,
    thread: str | None,
    ask: bool,
    events: str | None,
) -> int:
    """Locate one photo in a saved thread; returns the exit status: 3 if it waits for an answer.

    Raises:
        UserError: several photos, or anything else the user can mend.
    """
    if len(paths) != 1 or paths[0].is_dir():
        raise UserError("--ask and --thread are for one photo")
    if outputs.jsonl:
        raise UserError("--jsonl is for many photos, --ask and --thread are for one")
    photo = load_photo(paths[0])
    with open_saved_conversation(choose, thread or photo.id, ask, events) as opened:
        _check_thread(opened, photo)
        if opened.thread:
            opened.thread.name_photo(photo.id, paths[0].name, _answering_settings(opened))
        return _follow_until_answered(opened, _first_turn(opened.conversation, photo), outputs)


def answer(
    thread: Annotated[str, typer.Argument(help="The thread that asks.")],
    said: Annotated[str, typer.Argument(help="Your answer: yes, no, don't know, or the name of a place.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON, and nothing else.")] = False,
    page: Page = None,
    events: Events = None,
    home: Home = None,
) -> int:
    """Answer what `geosleuth locate --ask` or a chat asked; the run goes on from its checkpoint."""
    if not said.strip():
        raise UserError("an empty line is no answer: say yes, no, don't know, or the name of a place")
    outputs = Outputs(as_json, page=page)
    check_outputs(outputs, events, ())
    choose = partial(chosen_settings, SystemOptions(), RunOptions(home=home))
    with open_saved_conversation(choose, thread, True, events, must_exist=True) as opened:
        conversation = opened.conversation
        if conversation.question is None:
            raise UserError(f"thread {thread!r} asks nothing; geosleuth chat --thread {thread!r} goes on with it")
        for shown in conversation.shown:
            conversation.photos.bring(shown)
        return _follow_until_answered(opened, conversation.answer_question(said), outputs)


def _first_turn(conversation: Conversation, photo: Photo) -> Iterable[ChatEvent]:
    """Locate the photo, or go on with a run of it that stopped; a run that waits for an answer stays as it is.

    A photo that is located already only becomes the one that is talked about.
    """
    if conversation.photo_id == photo.id and conversation.is_unfinished:
        conversation.photos.keep(photo)
        return () if conversation.question else conversation.go_on()
    if photo.id in conversation.cases:
        if conversation.photo_id != photo.id:
            conversation.turn_to(next(shown for shown in conversation.shown if shown.photo_id == photo.id))
        conversation.photos.keep(photo)
        return ()
    return conversation.show(photo)


def _check_thread(opened: OpenConversation, photo: Photo) -> None:
    """Refuse a thread whose answer would not be one to this command.

    Raises:
        UserError: it waits for an answer about another photo, or located this one with other settings.
    """
    conversation, thread = opened.conversation, opened.thread
    if thread is None:
        return
    if conversation.question and conversation.photo_id != photo.id:
        other = printable(thread.photo_name(conversation.photo_id or ""))
        raise UserError(
            f"thread {thread.name!r} waits for an answer about {other}: geosleuth answer {thread.name!r} ANSWER, or"
            " choose another --thread"
        )
    is_begun = photo.id in conversation.cases or (conversation.is_unfinished and conversation.photo_id == photo.id)
    earlier, now = thread.located_with(photo.id), _answering_settings(opened)
    if is_begun and (different := settings_differences(earlier, now)):
        raise UserError(
            f"thread {thread.name!r} located this photo with {different}; go on with the same, or choose another"
            " --thread"
        )


def _answering_settings(opened: OpenConversation) -> dict[str, Any]:
    from graphs.settings import answering_settings

    return answering_settings(opened.system.settings)


def _follow_until_answered(opened: OpenConversation, events: Iterable[ChatEvent], outputs: Outputs) -> int:
    """Print the events, put questions to the person at a terminal, and render the answer."""
    conversation, view = opened.conversation, ChatView(messages(), messages())
    has_asked = view.follow(events, print_reply=False)
    while asked := conversation.question:
        if not has_asked:  # it was asked in an earlier run
            view.question(asked)
        said = _line_of_person() if sys.stdin.isatty() else None
        if said is None:
            name = opened.thread.name if opened.thread else ""
            messages().print(f"geosleuth: this run waits for you: geosleuth answer {name!r} ANSWER")
            return WAITS_FOR_AN_ANSWER
        has_asked = view.follow(conversation.answer_question(said), print_reply=False)
    photo_id = conversation.photo_id or ""
    if photo_id not in conversation.answers:
        raise UserError("the run stopped before it had an answer: the same command goes on with it")
    render(_located(opened, photo_id, outputs), outputs)
    return 0


def _line_of_person() -> str | None:
    """What the person types; an empty line is no answer, and None is the end of input (Ctrl-D)."""
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            return None
        if line:
            return line


def _located(opened: OpenConversation, photo_id: str, outputs: Outputs) -> LocatedPhoto:
    name = opened.thread.photo_name(photo_id) if opened.thread else photo_id
    picture = thumbnail_jpeg(opened.system.photo_store.get(photo_id)) if outputs.shows_photos else None
    return LocatedPhoto(printable(name), opened.conversation.answers[photo_id], picture)
