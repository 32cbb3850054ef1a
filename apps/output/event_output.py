"""Where `--events` goes: a file that holds each event once, or standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from core.errors import UserError

STANDARD_OUTPUT = "-"


@contextmanager
def events_told(target: str | None, as_json: bool = False) -> Iterator[None]:
    """Record the events of every run inside, and send spans where the environment says, if it says so.

    Args:
        target: a file, `-` for standard output, None for nowhere.
        as_json: whether an answer will be printed as JSON, which leaves no room for events beside it.

    Raises:
        UserError: a target that cannot be used, or tracing that is wanted and not installed.
    """
    # Here and not above: the graph's libraries take a second, which a wrong file name need not wait for.
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
