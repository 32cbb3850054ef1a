"""`geosleuth chat` and `geosleuth answer`: open the system and a thread, and hand over to the loop."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.chat.line_reader import LineReader
from apps.chat.loop import ChatLoop
from apps.chat.view import ChatView
from apps.commands.locate import opened
from apps.console import answers, messages
from apps.output.event_output import events_told
from retrieval.photos.photo import load_photo

if TYPE_CHECKING:
    from graphs.chat.session import Conversation
    from graphs.chat.threads import SavedThread
    from graphs.settings import Settings
    from graphs.system import GeoSleuth

ChooseSettings = Callable[[dict[str, Any]], "Settings"]
"""Settings from what a thread was begun with; what the person chose now comes first."""

_NOT_KEPT = {"home", "audit_log", "checkpoints"}
_PATIENCE_S = 5.0
_INTERRUPTED = 130


@dataclass(frozen=True)
class ChatOptions:
    """How to talk.

    Attributes:
        thread: name of a saved thread, begun if it is not there; None: nothing is kept.
        ask: whether the machine may ask; None: if a person sits at a terminal.
        events: where events go.
    """

    thread: str | None = None
    ask: bool | None = None
    events: str | None = None


def chat(photo: Path | None, choose: ChooseSettings, options: ChatOptions) -> int:
    """Talk about photos until the person leaves; returns the exit status.

    Raises:
        UserError: a photo or a thread that cannot be used.
    """
    shown = load_photo(photo) if photo else None
    with talking(choose, options.thread, options.ask, options.events) as (system, conversation, thread):
        reader = LineReader(system.settings.home / "chat_history")
        loop = ChatLoop(system, conversation, thread, ChatView(answers(), messages()), reader)
        return loop.run(shown, photo.name if photo else "")


@contextmanager
def talking(
    choose: ChooseSettings, name: str | None, ask: bool | None, events: str | None, *, must_exist: bool = False
) -> Iterator[tuple[GeoSleuth, Conversation, SavedThread | None]]:
    """An open system with a conversation, and the thread it is saved in; `ask` None: as the settings say, or at a
    terminal.
    """
    from graphs.chat.session import open_conversation
    from graphs.chat.threads import SavedThread

    with ExitStack() as stack:
        thread = None
        settings = choose({})
        if name is not None:
            thread = stack.enter_context(SavedThread(settings.home, name, must_exist=must_exist))
            settings = choose(thread.begun_with or {})
        stack.enter_context(events_told(events))
        system = stack.enter_context(opened(settings))
        if thread and thread.begun_with is None:
            thread.begin(settings.model_dump(mode="json", exclude=_NOT_KEPT))
        asks = (settings.ask or sys.stdin.isatty()) if ask is None else ask
        conversation = open_conversation(system, thread, asks)
        try:
            yield system, conversation, thread
        finally:
            _let_go(conversation)


def _let_go(conversation: Conversation) -> None:
    """Wait for a stopped turn's last call; one that does not return is left behind with the process.

    Closing what it works with under its feet would crash; everything it did so far is on disk.
    """
    if not conversation.finish(_PATIENCE_S):
        messages().print("a call did not return; leaving without it")
        sys.stdout.flush()
        os._exit(_INTERRUPTED)


def forget(home: Path, name: str) -> int:
    """Delete a saved thread with its photos.

    Raises:
        UserError: no such thread, or it is in use.
    """
    from graphs.chat.threads import forget_thread

    forget_thread(home, name)
    messages().print(f"forgot the thread {name} and its photos")
    return 0


def list_threads(home: Path) -> int:
    """Print the names of saved threads."""
    from graphs.chat.threads import thread_names

    names = thread_names(home)
    for name in names:
        answers().print(name)
    if not names:
        messages().print(f"no saved threads in {home}")
    return 0
