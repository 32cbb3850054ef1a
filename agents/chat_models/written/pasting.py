"""A reply pasted into a terminal: read by bytes, as a terminal's own line editing cuts lines at 4,095."""

from __future__ import annotations

import atexit
import codecs
import os
import re
import select
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from agents.chat_models.failures import ModelFailure
from agents.chat_models.written.request_folder import MAX_REPLY_BYTES, read_reply_file
from core.waiting import raise_if_cancelled

END = "."
"""A line of this alone ends a reply."""

TERMINAL = threading.Lock()
"""Held while a request is shown and its reply read: one at a time."""

_POLL_S = 0.1
_END_OF_FILE, _ERASE = "\x04", ("\x7f", "\b")
_BRACKETS = re.compile(r"\x1b\[20[01]~")
"""What terminals put around pasted text."""


class PastedReply:
    """Reads a reply from a terminal.

    Args:
        terminal: its file descriptor.
        limit_s: longest wait for its end, in seconds.
    """

    def __init__(self, terminal: int, limit_s: float) -> None:
        self._terminal = terminal
        self._ends_at = time.monotonic() + limit_s
        self._limit_s = limit_s

    def read(self) -> str:
        """The text up to a line with a dot alone or Ctrl-D, or of the file whose path is the first line.

        Raises:
            ModelFailure: nothing in time, nothing but the end, too much, or a file that cannot be read.
        """
        with _without_line_editing(self._terminal):
            typed = self._typed()
        text = _from_file(typed) or typed.strip()
        if not text:
            raise ModelFailure("no reply was pasted", is_retryable=False)
        return text

    def _typed(self) -> str:
        typed, decode = "", codecs.getincrementaldecoder("utf-8")("replace").decode
        while not _is_complete(typed):
            if time.monotonic() >= self._ends_at:
                raise ModelFailure(f"no reply was pasted within {self._limit_s:g} s", is_retryable=False)
            is_ready = select.select([self._terminal], [], [], _POLL_S)[0]
            raise_if_cancelled()
            if not is_ready:
                continue
            data = os.read(self._terminal, 65_536)
            typed += _BRACKETS.sub("", decode(data)).replace("\r", "\n") if data else _END_OF_FILE
            typed = _erased(typed)
            if len(typed) > MAX_REPLY_BYTES:
                raise ModelFailure(f"more than {MAX_REPLY_BYTES:,} characters were pasted", is_retryable=False)
        whole, _, _ = typed.partition(_END_OF_FILE)
        kept = whole.split("\n")
        return "\n".join(kept[: kept.index(END)] if END in kept else kept)


def wait_for_terminal(seconds: float) -> None:
    """Wait until no reply is read from the terminal any more: what is typed then goes to whoever reads next."""
    if TERMINAL.acquire(timeout=seconds):
        TERMINAL.release()


def _is_complete(typed: str) -> bool:
    lines = typed.split("\n")
    return _END_OF_FILE in typed or END in lines[:-1] or (len(lines) == 2 and _is_file(lines[0]))


def _is_file(line: str) -> bool:
    try:
        return bool(line.strip()) and "{" not in line and Path(line.strip()).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # too long for a name, or a user that is not there
        return False


def _from_file(typed: str) -> str | None:
    line = typed.strip()
    found = read_reply_file(Path(line).expanduser()) if "\n" not in line and _is_file(line) else None
    return found.text.strip() if found else None


def _erased(typed: str) -> str:
    """The text with what the erase key takes back taken back, on the line alone."""
    kept: list[str] = []
    for char in typed:
        if char not in _ERASE:
            kept.append(char)
        elif kept and kept[-1] != "\n":
            kept.pop()
            sys.stderr.write("\b \b")
            sys.stderr.flush()
    return "".join(kept)


@contextmanager
def _without_line_editing(terminal: int) -> Iterator[None]:
    """The terminal gives bytes as they come and echoes them; put right at the end, also that of the process."""
    import termios

    before = termios.tcgetattr(terminal)
    raw = termios.tcgetattr(terminal)
    raw[3] &= ~(termios.ICANON | termios.ECHOCTL)
    restore = partial(termios.tcsetattr, terminal, termios.TCSADRAIN, before)
    atexit.register(restore)
    try:
        termios.tcsetattr(terminal, termios.TCSADRAIN, raw)
        yield
    finally:
        restore()
        atexit.unregister(restore)
