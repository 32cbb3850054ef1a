"""Open the system for a command, and a conversation in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from apps.console import STANDARD_OUTPUT, messages, progress_bar, waiting_shown
from apps.output.formatting import printable
from core.deadline import end_process
from core.errors import INTERRUPTED, UserError
from core.redaction import without_credentials
from core.starting import uncollected

if TYPE_CHECKING:
    from graphs.chat.session import Conversation
    from graphs.chat.threads import SavedThread
    from graphs.settings import Settings
    from graphs.system import GeoSleuth

# The graph's libraries take a second to import, which a wrong file name need not wait for: functions import them.

ChooseSettings = Callable[[dict[str, Any]], "Settings"]
"""Settings from what a thread was begun with; what the person chose now comes first."""

_NOT_SAVED = {"home", "audit_log", "checkpoints"}
PATIENCE_S = 5.0
"""For calls under way when a command ends; set by hand."""


@contextmanager
def open_system(
    settings: Settings, events: str | None = None, as_json: bool = False, at_once: int = 1
) -> Iterator[GeoSleuth]:
    """The system, its events recorded; a progress bar shows the default atlas being built at first use.

    Args:
        settings: what to open.
        events: a file, `-` for standard output, None for nowhere.
        as_json: whether an answer will be printed as JSON, which leaves no space for events beside it.
        at_once: photos that will be located at once.

    Raises:
        UserError: anything that cannot be opened, or tracing that is wanted and not installed.
    """
    with uncollected():
        from graphs.system import GeoSleuth

    allow_servers(settings)
    with waiting_shown(), events_recorded(events, as_json):
        with uncollected(), progress_bar("Building the atlas of the world (once)", "places") as report:
            system = GeoSleuth.open(settings, report, at_once=at_once)
        for model in system.models:
            if model.is_written and not model.needs_terminal:
                messages().print(f"{model.name}: write a reply into each request's folder; prompt.md there says how")
        with system:
            yield system


def allow_servers(settings: Settings) -> None:
    """At a terminal, ask once about each server of another machine that an atlas would send photos' vectors to.

    Elsewhere nothing is asked, and opening the atlas says how to allow it.

    Raises:
        UserError: the answer cannot be saved.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    from core.redaction import host_of
    from graphs.online_services import atlas_servers
    from retrieval.atlas.servers import remember_server

    for server in atlas_servers(settings):
        if server not in settings.allowed_servers:
            name, host = printable(server.partition("@")[0]), printable(host_of(server))
            question = f"atlas {name} is on the Qdrant server {host}, which is sent the vector of each photo. Allow it?"
            if typer.confirm(question, err=True):
                remember_server(settings.home, server)


def is_pasted_to(system: GeoSleuth) -> bool:
    """Whether a person reads and writes in the terminal while photos are located."""
    return any(model.needs_terminal for model in system.models)


@contextmanager
def events_recorded(target: str | None, as_json: bool) -> Iterator[None]:
    """Record the events of all runs that are started inside; see `open_system` for the arguments."""
    from graphs.events.log import EventLog, EventStream
    from graphs.events.telemetry import exporting_spans, spans_wanted
    from graphs.events.tracing import recording

    if target == STANDARD_OUTPUT and as_json:
        raise UserError("--json and --events - both want standard output: give --events a file")
    with ExitStack() as stack:
        if target == STANDARD_OUTPUT:
            stack.enter_context(recording(EventStream(sys.stdout)))
        elif target is not None:
            stack.enter_context(recording(stack.enter_context(EventLog(Path(target)))))
        if spans_wanted(os.environ):
            stack.enter_context(exporting_spans(os.environ))
        yield


@dataclass(frozen=True)
class OpenConversation:
    """A conversation, the system it works with, and the thread it is saved in, if it is saved."""

    system: GeoSleuth
    conversation: Conversation
    thread: SavedThread | None


@contextmanager
def open_saved_conversation(
    choose: ChooseSettings, name: str | None, ask: bool | None, events: str | None, *, must_exist: bool = False
) -> Iterator[OpenConversation]:
    """Open the system with a conversation, saved under a name if one is given.

    Args:
        choose: makes the settings.
        name: of the thread, begun if it is not there.
        ask: whether the graph may ask the person; None: as the settings say, or at a terminal.
        events: where events go.
        must_exist: refuse to begin a thread.
    """
    from graphs.chat.opening import open_conversation
    from graphs.chat.threads import SavedThread

    with ExitStack() as stack:
        thread = None
        settings = choose({})
        if name is not None:
            thread = stack.enter_context(SavedThread(settings.home, name, must_exist=must_exist))
            settings = choose(thread.begun_with or {})
        system = stack.enter_context(open_system(settings, events))
        if thread and thread.begun_with is None:
            thread.begin(without_credentials(settings.model_dump(mode="json", exclude=_NOT_SAVED)))
        asks = (settings.ask or sys.stdin.isatty()) if ask is None else ask
        conversation = open_conversation(system, thread, asks)
        try:
            yield OpenConversation(system, conversation, thread)
        finally:
            _end(conversation)


def _end(conversation: Conversation) -> None:
    """Wait for the last call of a stopped turn; end the process if that call does not return.

    Closing the atlas during the call would crash. Everything the conversation did so far is on disk.
    """
    if not conversation.finish(PATIENCE_S):
        leave_without_call()


def leave_without_call() -> NoReturn:
    """End the process although a call has not returned, as if it had been interrupted."""
    messages().print("a call did not return; leaving without it")
    messages().show_cursor()
    end_process(INTERRUPTED)
