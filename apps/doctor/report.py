"""Findings for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from apps.console import answers, print_json
from apps.output.formatting import printable


class State(StrEnum):
    """Outcome of a check."""

    OK = "ok"
    MISSING = "missing"
    """Not here; what it would add is optional."""
    PROBLEM = "problem"
    """Here and not usable, or needed and not here."""
    UNKNOWN = "not tried"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: what was checked.
        state: what was found.
        detail: version, size, or what is wrong.
        adds: what it would add, if it is not there.
        get: the command that gets it.
        area: the group it is listed in.
    """

    name: str
    state: State
    detail: str = ""
    adds: str = ""
    get: str = ""
    area: str = ""


def installed(package: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


_MARKS = {
    State.OK: ("✓", "green"),
    State.MISSING: ("–", "yellow"),
    State.PROBLEM: ("✗", "bold red"),
    State.UNKNOWN: ("?", "dim"),
}


def print_findings(findings: Sequence[Finding], as_json: bool = False) -> None:
    """Print them to standard output."""
    if as_json:
        print_json([{"area": finding.area} | asdict(finding) for finding in findings])
        return
    for area, group in groupby(findings, key=lambda finding: finding.area):
        table = Padding(_table(list(group)), (0, 0, 0, 1), expand=False)
        answers().print(Group(Text(area[:1].upper() + area[1:], style="bold"), table, Text()))


def _table(findings: Sequence[Finding]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=1)
    table.add_column(style="dim", min_width=18)
    table.add_column(overflow="fold")
    for finding in findings:
        mark, style = _MARKS[finding.state]
        table.add_row(Text(mark, style=style), Text(printable(finding.name)), _details(finding))
    return table


def _details(finding: Finding) -> RenderableType:
    text = Text(printable(finding.detail))
    if finding.adds:
        text.append(f"\nwould add: {printable(finding.adds)}", style="dim")
    if finding.get:
        text.append("\nget it: ", style="dim").append(printable(finding.get), style="cyan")
    return text
