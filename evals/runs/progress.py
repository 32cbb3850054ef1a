"""The live line of a run: how many photos are done, how accurate the answers are, what they cost."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from evals.runs.records import RecordStatus, Scored

NEAR_KM = 25.0
PLAIN_EVERY_S = 30.0
"""Where there is no terminal to draw on, a line now and then."""


class RunProgress:
    """Counts records and shows them. Use as a context manager, from one thread."""

    def __init__(
        self, total: int, done: Iterable[Scored], spent_usd: Callable[[], float], stream: TextIO | None = None
    ) -> None:
        self._total, self._spent_usd = total, spent_usd
        self._stream = stream or sys.stderr
        self._seen: Counter[str] = Counter()
        self._near: Counter[str] = Counter()
        self._failed = 0
        self._written_at = time.monotonic()
        for score in done:
            self._count(score)
        self._drawn: Progress | None = None
        self._task = TaskID(0)
        if self._stream.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            self._drawn = Progress(
                *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(file=self._stream)
            )
            self._task = self._drawn.add_task(self.line(), total=total, completed=self._seen.total())

    def add(self, record: Scored) -> None:
        """Count a new record."""
        self._count(record)
        if self._drawn:
            self._drawn.update(self._task, advance=1, description=self.line())
        elif time.monotonic() - self._written_at >= PLAIN_EVERY_S:
            self._write_line()

    def line(self) -> str:
        """Running accuracy of each strategy, failures, money."""
        near = ", ".join(f"{name} {100 * self._near[name] / count:.1f} %" for name, count in self._seen.items())
        parts = [f"within {NEAR_KM:g} km: {near or 'nothing yet'}"]
        if self._failed:
            parts.append(f"{self._failed} without an answer")
        return "; ".join([*parts, f"US$ {self._spent_usd():.2f}"])

    def __enter__(self) -> Self:
        if self._drawn:
            self._drawn.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            self._drawn.stop()
        else:
            self._write_line()

    def _count(self, score: Scored) -> None:
        self._seen[score.strategy] += 1
        self._near[score.strategy] += score.distance_km is not None and score.distance_km <= NEAR_KM
        self._failed += score.status is not RecordStatus.ANSWERED

    def _write_line(self) -> None:
        self._written_at = time.monotonic()
        self._stream.write(f"{self._seen.total()} of {self._total}; {self.line()}\n")
        self._stream.flush()
