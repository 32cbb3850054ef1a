"""Answers for people at a terminal."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agents.schemas import Answer, Evidence, Hypothesis
from apps.output.formatting import (
    LocatedPhoto,
    alternatives,
    confidence_text,
    cost_text,
    evidence_label,
    heading,
    km,
    percent,
    printable,
    radii_text,
    radius_note,
    source_text,
    versions_text,
)

_LABEL_WIDTH = 14
_INDENT = 2
_BLANK = Text()


def print_answer(console: Console, located: LocatedPhoto) -> None:
    """The whole answer: place, radius, confidence, alternatives, evidence with sources, cost."""
    console.print(answer_view(located))


def answer_view(located: LocatedPhoto) -> RenderableType:
    """The answer as something rich can print; untrusted text is plain text, never markup."""
    answer = located.answer
    parts: list[RenderableType] = [
        Text(printable(located.name), style="dim"),
        _BLANK,
        Text(heading(answer), style="bold green" if answer.point else "bold yellow"),
        _BLANK,
        _indented(_facts(answer)),
    ]
    parts += _section("Alternatives" if answer.point else "Best guesses", _alternatives(alternatives(answer)))
    parts += _section("Evidence", _evidence(answer.evidence))
    return Group(*parts, _BLANK, Text(f"{cost_text(answer)}\n{versions_text(answer)}", style="dim"))


def summary_line(located: LocatedPhoto) -> Text:
    """One line for a photo of a folder run."""
    answer = located.answer
    line = Text(printable(located.name, 40).ljust(40), style="dim")
    if answer.point is None:
        return line.append(f"  {heading(answer)}", style="yellow")
    line.append(f"  {heading(answer)}", style="bold")
    radius = f", within {km(answer.radius_90_km)}" if answer.radius_90_km is not None else ""
    return line.append(f"  {percent(answer.confidence)}{radius}")


def _facts(answer: Answer) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", width=_LABEL_WIDTH)
    table.add_column(overflow="fold")
    for label, value in _fact_rows(answer):
        table.add_row(label, Text(value))
    return table


def _fact_rows(answer: Answer) -> list[tuple[str, str]]:
    rows = [("why" if answer.point else "why not", printable(answer.reasoning))]
    if answer.point is None:
        return [("confidence", percent(answer.confidence) + " for the best guess"), *rows]
    facts = [("coordinates", str(answer.point)), ("level", answer.level.value if answer.level else "unknown")]
    if radii := radii_text(answer):
        facts.append(("radius", f"{radii} ({radius_note(answer)})"))
    facts.append(("confidence", confidence_text(answer)))
    if answer.metadata_position is not None:
        facts.append(("file claims", f"{answer.metadata_position} (metadata, not checked)"))
    return facts + rows


def _alternatives(hypotheses: list[tuple[int, Hypothesis]]) -> Table | None:
    if not hypotheses:
        return None
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", width=6)
    table.add_column(overflow="fold", min_width=14)
    table.add_column(style="dim")
    for _, hypothesis in hypotheses:
        status = "" if hypothesis.status == "open" else f" ({hypothesis.status.value})"
        name = Text(printable(hypothesis.name) + status)
        table.add_row(percent(hypothesis.probability), name, f"{hypothesis.point}  ± {km(hypothesis.radius_km)}")
    return table


def _evidence(evidence: tuple[Evidence, ...]) -> Table | None:
    if not evidence:
        return None
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold", min_width=14)
    table.add_column(style="dim", min_width=12)
    for item in evidence:
        table.add_row(evidence_label(item), Text(printable(item.claim)), source_text(item.source))
    return table


def _section(title: str, body: Table | None) -> list[RenderableType]:
    if body is None:
        return []
    return [_BLANK, Text(title, style="bold"), _indented(body)]


def _indented(body: Table) -> Padding:
    return Padding(body, (0, 0, 0, _INDENT), expand=False)
