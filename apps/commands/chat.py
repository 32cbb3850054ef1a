"""`geosleuth chat`: open the system and a thread, and run the conversation's loop."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from apps.chat.loop import ChatLoop, LineReader
from apps.chat.view import ChatView
from apps.commands.opening import open_saved_conversation
from apps.console import answers, messages
from apps.options import Outputs, RunOptions, SystemOptions, Thread, chosen_settings, expand_options
from apps.output.files import check_outputs
from retrieval.photos.photo import load_photo


@expand_options
def chat(
    *,
    photo: Annotated[Path | None, typer.Argument(help="A photo to begin with.", readable=False)] = None,
    thread: Thread = None,
    ask: Annotated[
        bool | None, typer.Option("--ask/--no-ask", help="May it ask you? By default, at a terminal.")
    ] = None,
    forget: Annotated[
        str | None, typer.Option(help="Delete a saved thread with its photos, and leave.", metavar="NAME")
    ] = None,
    list_threads: Annotated[bool, typer.Option("--list", help="Print the names of saved threads, and leave.")] = False,
    system: SystemOptions,
    run: RunOptions,
) -> int:
    """Talk about photos: follow-up questions on the same evidence. Reads lines from a pipe, too."""
    choose = partial(chosen_settings, system, run)
    if forget is not None:
        return _forget(choose().home, forget)
    if list_threads:
        return _list_threads(choose().home)
    check_outputs(Outputs(), run.events, [photo] if photo else [])
    shown = load_photo(photo) if photo else None
    with open_saved_conversation(choose, thread, ask, run.events) as opened:
        reader = LineReader(opened.thread.history if opened.thread else None)
        return ChatLoop(opened, ChatView(answers(), messages()), reader).run(shown, photo.name if photo else "")


def _forget(home: Path, name: str) -> int:
    from graphs.chat.threads import forget_thread, remove_common_history

    remove_common_history(home)
    forget_thread(home, name)
    messages().print(f"forgot the thread {name}, its photos and its questions")
    return 0


def _list_threads(home: Path) -> int:
    from graphs.chat.threads import thread_names

    names = thread_names(home)
    for name in names:
        answers().print(name)
    if not names:
        messages().print(f"no saved threads in {home}")
    return 0
