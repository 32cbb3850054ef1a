"""`geosleuth locate --ask` and `geosleuth answer`: a run that may wait for a person, also across processes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from apps.chat.view import ChatView
from apps.commands.chat import ChooseSettings, talking
from apps.commands.locate import Outputs, write_files
from apps.console import answers, messages
from apps.output.formatting import printable
from apps.output.located_photo import LocatedPhoto
from apps.output.terminal import print_answer
from core.errors import UserError
from retrieval.photos.photo import Photo, load_photo
from retrieval.photos.thumbnail import thumbnail_jpeg

if TYPE_CHECKING:
    from agents.schemas import Answer
    from graphs.chat.session import ChatEvent, Conversation
    from graphs.chat.threads import SavedThread
    from graphs.system import GeoSleuth

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
    name = thread or photo.id
    with talking(choose, name, ask, events) as (system, conversation, saved):
        if saved:
            saved.name_photo(photo.id, paths[0].name)
        known = photo.id in conversation.cases
        return _until_answered(system, conversation, saved, outputs, () if known else _first_turn(conversation, photo))


def answer(thread: str, said: str, choose: ChooseSettings, outputs: Outputs, events: str | None) -> int:
    """Answer what a thread asks, and print where that leads; returns the exit status.

    Raises:
        UserError: no such thread, or it asks nothing.
    """
    with talking(choose, thread, True, events, must_exist=True) as (system, conversation, saved):
        if conversation.question is None:
            raise UserError(f"thread {thread!r} asks nothing; geosleuth chat --thread {thread!r} goes on with it")
        for shown in conversation.shown:
            conversation.photos.bring(shown)
        return _until_answered(system, conversation, saved, outputs, conversation.answer_question(said))


def _first_turn(conversation: Conversation, photo: Photo) -> Iterator[ChatEvent]:
    """Locate the photo, or go on with the run of it that stopped; one that waits for an answer waits on."""
    if conversation.photo_id == photo.id and conversation.is_unfinished:
        conversation.photos.keep(photo)
        return iter(()) if conversation.question else conversation.go_on()
    return conversation.show(photo)


def _until_answered(
    system: GeoSleuth,
    conversation: Conversation,
    saved: SavedThread | None,
    outputs: Outputs,
    events: Sequence[ChatEvent] | Iterator[ChatEvent],
) -> int:
    view = ChatView(messages(), messages())
    view.follow(events, tell_reply=False)
    while asked := conversation.question:
        if not sys.stdin.isatty():
            name = saved.name if saved else ""
            messages().print(f"geosleuth: this run waits for you: geosleuth answer {name!r} ANSWER")
            return WAITS_FOR_AN_ANSWER
        view.question(asked)
        view.follow(conversation.answer_question(input("> ")), tell_reply=False)
    photo_id = conversation.photo_id or ""
    return _printed(system, saved, photo_id, conversation.answers[photo_id], outputs)


def _printed(system: GeoSleuth, saved: SavedThread | None, photo_id: str, answer: Answer, outputs: Outputs) -> int:
    name = saved.photo_name(photo_id) if saved else photo_id
    picture = thumbnail_jpeg(system.photo_store.get(photo_id)) if outputs.shows_photos else None
    located = LocatedPhoto(printable(name), answer, picture)
    if outputs.as_json:
        answers().out(json.dumps(answer.model_dump(mode="json"), indent=2), highlight=False)
    else:
        print_answer(answers(), located)
    write_files([located], outputs)
    return 0
