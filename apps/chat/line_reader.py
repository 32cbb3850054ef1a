"""Reads a person's lines: from a terminal with history and editing, or from a pipe."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

PROMPT = "> "
_HISTORY_LINES = 1000


class LineReader:
    """Reads lines from standard input. At a terminal, earlier lines come back with the arrow keys."""

    def __init__(self, history: Path) -> None:
        self._history = history
        self.is_terminal = sys.stdin.isatty()
        if self.is_terminal:
            self._load()

    def read(self, prompt: str = PROMPT) -> str | None:
        """The next line; None at the end.

        Raises:
            KeyboardInterrupt: Ctrl-C at the prompt.
        """
        if not self.is_terminal:
            line = sys.stdin.readline()
            return line.rstrip("\n") if line else None
        try:
            return input(prompt)
        except EOFError:
            return None

    def close(self) -> None:
        """Save the history, readable by its owner only."""
        if not self.is_terminal:
            return
        import readline

        with contextlib.suppress(OSError):  # the history is a convenience
            self._history.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._history, os.O_WRONLY | os.O_CREAT, 0o600))
            readline.set_history_length(_HISTORY_LINES)
            readline.write_history_file(self._history)

    def _load(self) -> None:
        # Importing readline gives `input` editing and history.
        import readline

        with contextlib.suppress(OSError):  # none yet, or not readable
            readline.read_history_file(self._history)
