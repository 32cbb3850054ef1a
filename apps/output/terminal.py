"""Answers for people at a terminal."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agents.schemas import Answer, Hypothesis
from apps.output.formatting import (
    LocatedPhoto,
    alternatives,
    areas_text,
    chance_bars,
    chances_text,
    confidence_heading,
    confidence_text,
    cost_text,
    evidence_label,
    has_information,
    heading,
    information_text,
    km,
    model_costs,
    percent,
    printable,
    radii_text,
    radius_note,
    source_text,
    tile_text,
    versions_text,
)

_LABEL_WIDTH = 14
_INDENT = 2
_MAP_COLUMNS, _LEAST_MAP_COLUMNS = 70, 40
_BLANK = Text()
LEAST_TILE = 0.01
"""Of the belief: a tile that holds less is not named beside the answer."""


def print_answer(console: Console, located: LocatedPhoto, with_map: bool = True) -> None:
    """The whole answer: place, chances, areas, alternatives, evidence with sources, cost.

    Where the console has colours, a small map of the belief too, unless it is not wanted.
    """
    console.print(answer_view(located, _small_map(console, located.answer) if with_map else None))


def answer_view(located: LocatedPhoto, small_map: Text | None = None) -> RenderableType:
    """The answer as something rich can print; untrusted text is plain text, never markup."""
    answer = located.answer
    parts: list[RenderableType] = [
        Text(printable(located.name), style="dim"),
        _BLANK,
        Text(heading(answer), style="bold green" if answer.point else "bold yellow"),
        _BLANK,
        _indented(_facts(answer)),
    ]
    if small_map is not None:
        parts += [_BLANK, _indented(small_map)]
    parts += _section("Alternatives" if answer.point else "Best guesses", _alternatives(alternatives(answer)))
    parts += _section("Evidence", _evidence(answer))
    cost = [cost_text(answer), *(f"  {line}" for line in model_costs(answer.cost_by_model)), versions_text(answer)]
    return Group(*parts, _BLANK, Text("\n".join(cost), style="dim"))


def summary_line(located: LocatedPhoto) -> Text:
    """One line for a photo of a folder run."""
    answer = located.answer
    line = Text(printable(located.name, 40).ljust(40), style="dim")
    if answer.point is None:
        return line.append(f"  {heading(answer)}", style="yellow")
    line.append(f"  {heading(answer)}", style="bold")
    line.append(f"  {chance_bars(answer)}", style="yellow")
    if answer.chance_within_km:
        radius = f", 90 % within {km(answer.radius_90_km)}" if answer.radius_90_km is not None else ""
        return line.append(f" {percent(answer.confidence)} {confidence_heading(answer)}{radius}")
    radius = f", within {km(answer.radius_90_km)}" if answer.radius_90_km is not None else ""
    return line.append(f"{percent(answer.confidence)}{radius}")


def _small_map(console: Console, answer: Answer) -> Text | None:
    """The map, if the answer has areas and the console has colours, the letters and the width for it."""
    has_colours = console.is_terminal and console.color_system is not None and not console.no_color
    can_draw = has_colours and not console.legacy_windows and console.encoding.startswith("utf")
    columns = min(console.width - _INDENT, _MAP_COLUMNS)
    if not (answer.areas and can_draw and columns >= _LEAST_MAP_COLUMNS):
        return None
    # Imported when it is wanted: shapes and city names take their time.
    from apps.maps.terminal_map import terminal_map

    return terminal_map(answer, columns)


def _facts(answer: Answer) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim", width=_LABEL_WIDTH)
    table.add_column(overflow="fold")
    for label, value in _fact_rows(answer):
        table.add_row(label, Text(value))
    return table


def _fact_rows(answer: Answer) -> list[tuple[str, str]]:
    rows = [("why" if answer.point else "why not", printable(answer.reasoning))]
    if areas := areas_text(answer):
        rows.insert(0, ("areas", areas))
    if answer.point is None:
        return [("confidence", percent(answer.confidence) + " for the best guess"), *rows]
    facts = [("coordinates", str(answer.point)), ("level", answer.level.value if answer.level else "unknown")]
    if radii := radii_text(answer):
        facts.append(("radius", f"{radii} ({radius_note(answer)})"))
    facts.append(("confidence", confidence_text(answer)))
    if within := chances_text(answer):
        facts.append(("chances", f"{chance_bars(answer)} {within}"))
    if answer.matches and answer.matches[0].probability >= LEAST_TILE:
        facts.append(("matches", tile_text(answer.matches[0])))
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


def _evidence(answer: Answer) -> Table | None:
    """The claims with their sources and, where that is known, how much each told."""
    if not answer.evidence:
        return None
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold", min_width=14)
    if is_informed := has_information(answer):
        table.add_column(style="yellow")
    table.add_column(style="dim", min_width=12)
    for item in answer.evidence:
        told = [information_text(item)] if is_informed else []
        table.add_row(evidence_label(item), Text(printable(item.claim)), *told, source_text(item.source))
    return table


def _section(title: str, body: Table | None) -> list[RenderableType]:
    if body is None:
        return []
    return [_BLANK, Text(title, style="bold"), _indented(body)]


def _indented(body: RenderableType) -> Padding:
    return Padding(body, (0, 0, 0, _INDENT), expand=False)
