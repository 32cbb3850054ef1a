"""A process at a pseudo-terminal, as a person at a keyboard has it."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import time
from pathlib import Path


class Terminal:
    """A process at a pseudo-terminal."""

    def __init__(self, arguments: list[str], env: dict[str, str], cwd: Path) -> None:
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=cwd, start_new_session=True
        )
        os.close(theirs)
        self.seen = ""

    def until(self, wanted: str, seconds: float = 240.0) -> str:
        """Read until something is shown, and return what was shown before it; what comes later stays unread."""
        end = time.monotonic() + seconds
        while wanted not in self.seen:
            ready, _, _ = select.select([self.ours], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{wanted!r} was not shown: {self.seen[-2000:]}"
            self.seen += os.read(self.ours, 4096).decode("utf-8", "replace")
        before, _, self.seen = self.seen.partition(wanted)
        return before

    def type(self, line: str) -> None:
        """Type a line, or many: the terminal takes few at once, and echoes them."""
        rest = f"{line}\n".encode()
        while rest:
            if select.select([self.ours], [], [], 0.0)[0]:
                self.seen += os.read(self.ours, 4096).decode("utf-8", "replace")
            rest = rest[os.write(self.ours, rest[:512]) :]

    def rest(self) -> str:
        """What a process that has ended has shown and nobody has read."""
        with contextlib.suppress(OSError):  # Linux's end of a pseudo-terminal
            while select.select([self.ours], [], [], 0.0)[0]:
                self.seen += os.read(self.ours, 4096).decode("utf-8", "replace")
        return self.seen

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
