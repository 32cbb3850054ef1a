"""An append-only file of JSON lines that survives kills, power cuts and other processes.

A line is one write to a file opened for appending, so a killed process leaves whole lines and at most one torn one,
which the next process cuts off. Lines end at a line feed and nowhere else, as JSON may hold U+2028 as it is; every
line here includes its line feed, as it does when Python reads a file.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from core.closing import Closing
from core.errors import UserError
from core.files import ANYBODY, OWNER_ONLY, lock_file, open_private, tighten, write_atomic

SYNC_EVERY_S = 5.0
_LOOKS, _LOOK_EVERY_S = 50, 0.001


class JsonlLog(Closing):
    """An open file of JSON lines. Close it, or use it as a context manager. Writing is safe between threads.

    Read `lines` to their end before the first line is written: that cuts off what a kill left.
    """

    def __init__(
        self,
        path: Path,
        called: str,
        remedy: str,
        *,
        mode: int = ANYBODY,
        first_bytes: bytes = b"{",
        exclusive: bool = False,
        sync_every_s: float = SYNC_EVERY_S,
    ) -> None:
        """Open a file, made if it is not there.

        Args:
            called: its name in messages, such as "run file".
            remedy: what to do where it cannot be used, such as "choose another with --jsonl".
            mode: of a new file; where it is `OWNER_ONLY`, one that is there gets it once its lines are read.
            first_bytes: how each line begins; a last line that begins otherwise is no torn line of ours.
            exclusive: whether only one process at a time may have it.
            sync_every_s: how often lines are brought to the disk itself; 0: each at once.

        Raises:
            UserError: the file cannot be opened, or another process has it.
        """
        self.path = path
        self._called, self._remedy, self._first_bytes = called, remedy, first_bytes
        self._mode, self._sync_every_s, self._is_exclusive = mode, sync_every_s, exclusive
        self._guard = threading.Lock()
        with ExitStack() as resources:
            try:
                self._handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, mode)
                resources.callback(lambda: os.close(self._handle))
                # A device such as /dev/null is neither locked nor brought to the disk.
                self._is_regular = stat.S_ISREG(os.fstat(self._handle).st_mode)
                if exclusive and self._is_regular:
                    in_use = f"{called} {path}: another run is writing it; wait, or {remedy}"
                    resources.enter_context(lock_file(path.with_name(f".{path.name}.lock"), in_use))
            except OSError as error:
                raise self._unusable(error.strerror) from error
            self._resources = resources.pop_all()
        self._synced_at = time.monotonic()

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is in it."""
        return os.fstat(self._handle).st_size == 0

    def lines(self) -> Iterator[bytes]:
        """Whole lines in order; after the last one, a torn line is cut off.

        A caller that takes a line for something else's stops reading, and the file stays as it is. A device or a pipe
        has no earlier lines: reading one may never end.

        Raises:
            UserError: its end is the end of some other file, or it cannot be read.
        """
        if not self._is_regular:
            return
        end = 0
        try:
            with self.path.open("rb") as stream:
                for line in stream:
                    if line.endswith(b"\n"):
                        end += len(line)
                        yield line
                    elif self._is_torn(line):
                        os.ftruncate(self._handle, end)
                    else:
                        raise self._unusable("holds something else")
            if self._mode == OWNER_ONLY:
                tighten(self._handle, OWNER_ONLY)
        except OSError as error:
            raise self._unusable(error.strerror) from error

    def write_line(self, line: bytes) -> None:
        """Append a line.

        Raises:
            UserError: the disk is full, or the file cannot be written.
        """
        with self._guard:
            before = os.fstat(self._handle).st_size
            try:
                _write_all(self._handle, line)
                if time.monotonic() - self._synced_at >= self._sync_every_s:
                    self._sync()
            except OSError as error:
                if self._is_regular and self._is_exclusive:
                    with suppress(OSError):
                        os.ftruncate(self._handle, before)  # a next line would be glued to half of this one
                kept = "the lines before this one are kept: make room and run the same command"
                raise UserError(f"{self._called} {self.path}: {error.strerror}; {kept}") from error

    def replace_lines(self, lines: Iterable[bytes]) -> None:
        """Put other lines in place of all there are, at once or not at all."""
        with self._guard:
            write_atomic(self.path.resolve(), lines, stat.S_IMODE(os.fstat(self._handle).st_mode))
            replaced = self._handle
            self._handle = os.open(self.path, os.O_RDWR | os.O_APPEND)
            os.close(replaced)

    def close(self) -> None:
        """Bring every line to the disk and let go of the file."""
        with self._resources:
            self._sync()

    def _is_torn(self, line: bytes) -> bool:
        """Whether a line without an end is one of ours that a kill cut, or the zeros that a power cut leaves."""
        return line.startswith(self._first_bytes) or self._first_bytes.startswith(line) or not line.strip(b"\0")

    def _sync(self) -> None:
        if self._is_regular:
            os.fsync(self._handle)
        self._synced_at = time.monotonic()

    def _unusable(self, why: str | None) -> UserError:
        return UserError(f"{self._called} {self.path}: {why}; {self._remedy}")


def whole_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file that another process may be writing; a torn last one is left out.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        for line in stream:
            if line.endswith(b"\n"):
                yield line


def append_line(path: Path, line: bytes, mode: int = ANYBODY) -> None:
    """Append one line in one write, so that lines of several processes do not mix.

    It begins on a line of its own where a full disk left half of an earlier one.

    Raises:
        OSError: it cannot be written.
    """
    is_device = path.exists() and not path.is_file()  # one may allow writing only
    flags = (os.O_WRONLY if is_device else os.O_RDWR) | os.O_APPEND
    handle = open_private(path, flags) if mode == OWNER_ONLY else os.open(path, flags | os.O_CREAT, mode)
    try:
        _write_all(handle, line if _ends_in_a_whole_line(handle) else b"\n" + line)
    finally:
        os.close(handle)


def _ends_in_a_whole_line(handle: int) -> bool:
    """Whether the last line is whole: another process's line may be there in part for a moment, so look again."""
    for _ in range(_LOOKS):
        if _ends_in_a_line_feed(handle):
            return True
        time.sleep(_LOOK_EVERY_S)
    return _ends_in_a_line_feed(handle)


def _ends_in_a_line_feed(handle: int) -> bool:
    status = os.fstat(handle)
    return not (stat.S_ISREG(status.st_mode) and status.st_size) or os.pread(handle, 1, status.st_size - 1) == b"\n"


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
