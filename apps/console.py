"""Standard output for answers, standard error for everything else."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from typing_extensions import override

from apps.output.formatting import printable

Report = Callable[[int, int | None], None]
"""Called with the number of items done and of all, None where that is not known."""
LONG = 100
"""Items of which the quicker kind of work (reading, writing, hashing) shows its progress."""

STANDARD_OUTPUT = "-"
"""What stands for it where a file can be named."""


class _SafeConsole(Console):
    """Prints texts without what steers a terminal: names of files, threads and models may hold escape codes."""

    @override
    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(_without_codes(item) if isinstance(item, str) else item for item in objects), **options)


def _without_codes(text: str) -> str:
    return "\n".join(printable(line, keeps_spaces=True) for line in text.split("\n"))


def answers() -> Console:
    """The console of answers, without markup or highlighting."""
    return _SafeConsole(markup=False, highlight=False, emoji=False)


def messages() -> Console:
    """The console of progress and errors."""
    return _SafeConsole(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


def print_json(data: Any) -> None:
    """Print data as JSON to standard output, and nothing else."""
    answers().out(json.dumps(data, indent=2), highlight=False)


class _Rate(ProgressColumn):
    """Items a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """The rate over the last half minute."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f} {self._unit}/s" if speed else "", style="dim")


@contextmanager
def progress_line(title: str, *, is_live: bool = True) -> Iterator[Callable[[str], None]]:
    """A line on standard error that changes; yields a function to call with what is being done.

    Where standard error is no terminal, nothing is shown; where it is not live, each text is a line.
    """
    if not is_live:
        yield lambda text: messages().print(text)
        return
    with messages().status(title) as status:
        yield lambda text: status.update(Text(text))


@contextmanager
def progress_bar(title: str, unit: str, *, is_live: bool = True) -> Iterator[Report]:
    """A progress bar on standard error, shown from the first report on; yields a function to call with (done, total).

    Where standard error is no terminal, or not live, the first report prints one line and the others nothing.
    """
    if not (messages().is_terminal and is_live):
        yield _print_once(title)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=messages()) as bar:
        task = bar.add_task(title, total=None, visible=False)

        def report(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield report


class _OnConsole(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        messages().print(record.getMessage())


@contextmanager
def waiting_shown() -> Iterator[None]:
    """Print to standard error that a model is waited for, or asked again."""
    log, handler = logging.getLogger("geosleuth.waiting"), _OnConsole()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _print_once(title: str) -> Report:
    waiting = [title]

    def report(done: int, total: int | None) -> None:  # noqa: ARG001 - only the total is printed
        while waiting:
            messages().print(waiting.pop() if total is None else f"{waiting.pop()}: {total:,}")

    return report
