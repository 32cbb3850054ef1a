"""Standard output for answers, standard error for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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

Report = Callable[[int, int], None]


def answers() -> Console:
    """Where answers go. Nothing in them is markup or gets highlighted."""
    return Console(markup=False, highlight=False, emoji=False)


def messages() -> Console:
    """Where progress and errors go."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


class _Rate(ProgressColumn):
    """How many a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """The rate over the last half minute."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f} {self._unit}/s" if speed else "", style="dim")


@contextmanager
def progress_bar(title: str, unit: str) -> Iterator[Report]:
    """A bar on standard error while something long goes on; it appears with the first report.

    Where standard error is no terminal, one line says what goes on. Yields a function to call with (done, total).
    """
    if not messages().is_terminal:
        yield _said_once(title)
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

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield report


def _said_once(title: str) -> Report:
    waiting = [title]

    def report(done: int, total: int) -> None:  # noqa: ARG001 - the total is what there is to say
        while waiting:
            messages().print(f"{waiting.pop()}: {total:,}")

    return report
