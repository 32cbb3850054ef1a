"""A file of events, one JSON line each, each event once however often its step was run."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from pydantic import ValidationError

from core.errors import UserError
from core.files import OWNER_ONLY
from core.jsonl_log import JsonlLog
from graphs.events.tracing import TraceEvent


class EventLog(JsonlLog):
    """An append-only file of events; the event of a torn line is written again when its step is run again."""

    def __init__(self, file: Path) -> None:
        """Open a file, made if it is not there.

        Raises:
            UserError: it cannot be opened, or holds something else.
        """
        remedy = "choose another with --events"
        super().__init__(file, "event log", remedy, mode=OWNER_ONLY, first_bytes=b'{"id":"')
        self._writing = threading.Lock()
        try:
            self._known = {TraceEvent.model_validate_json(row).id for row in self.lines()}
        except ValidationError as error:
            self.close()
            raise UserError(f"event log {file}: holds something else; {remedy}") from error
        except UserError:
            self.close()
            raise

    def __call__(self, event: TraceEvent) -> None:
        """Append an event, unless it is there.

        Raises:
            UserError: the file cannot be written.
        """
        with self._writing:
            if event.id not in self._known:
                self._known.add(event.id)
                self.write_line(f"{line(event)}\n".encode())


class EventStream:
    """Events as lines on an open text stream, such as standard output."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, event: TraceEvent) -> None:
        """Write an event at once; nothing any more once the reader has gone (as `| head` does)."""
        with self._lock, suppress(BrokenPipeError):
            self._stream.write(f"{line(event)}\n")
            self._stream.flush()


def line(event: TraceEvent) -> str:
    """An event as one line of JSON; what it does not have is left out."""
    return event.model_dump_json(exclude_defaults=True)
