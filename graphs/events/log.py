"""A file of events, one JSON line each, each event once however often its step was run."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from core.errors import UserError
from graphs.events.tracing import TraceEvent


class EventLog:
    """An append-only file of events. Close it, or use it as a context manager. Safe between threads.

    A line is one write: a process that is killed leaves whole lines, and at most one torn one, which the next
    one cuts off; its event is told again when its step is run again.
    """

    def __init__(self, file: Path) -> None:
        """Open a file, made if it is not there.

        Raises:
            UserError: it cannot be opened, or holds something else.
        """
        self._file = file
        self._lock = threading.Lock()
        try:
            self._handle = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            self._known = self._read()
        except OSError as error:
            raise UserError(f"event log {file}: {error.strerror}; choose another with --events") from error

    def __call__(self, event: TraceEvent) -> None:
        """Append an event, unless it is there.

        Raises:
            UserError: the file cannot be written.
        """
        with self._lock:
            if event.id in self._known:
                return
            self._known.add(event.id)
            try:
                os.write(self._handle, f"{line(event)}\n".encode())
            except OSError as error:
                raise UserError(f"event log {self._file}: {error.strerror}; choose another with --events") from error

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> set[str]:
        data = self._file.read_bytes()
        whole, newline, torn = data.rpartition(b"\n")
        try:
            known = {str(json.loads(row)["id"]) for row in whole.splitlines() if row}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"event log {self._file}: holds something else; choose another with --events") from error
        if torn:
            os.ftruncate(self._handle, len(whole) + len(newline))
        return known


class EventStream:
    """Events as lines on an open text stream, such as standard output."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, event: TraceEvent) -> None:
        """Write an event at once."""
        with self._lock:
            self._stream.write(f"{line(event)}\n")
            self._stream.flush()


def line(event: TraceEvent) -> str:
    """An event as one line of JSON; what it does not have is left out."""
    return event.model_dump_json(exclude_defaults=True)
