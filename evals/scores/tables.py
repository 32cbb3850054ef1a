"""Tables to paste: one kind of table, written as Markdown or LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from evals.scores.distance import Interval
from evals.scores.reliability import Coverage
from evals.scores.scoring import Score

DASH = "–"
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "−": "$-$",
    "→": r"$\to$",
    "≤": r"$\leq$",
}


class Table(NamedTuple):
    """A table of texts; the first column is words, the others are figures."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def markdown(table: Table) -> str:
    """The table in Markdown; a bar in a text cannot end its cell.

    >>> print(markdown(Table("Accuracy", ["system", "25 km"], [["a|b", "50.0"]])))
    **Accuracy**
    <BLANKLINE>
    | system | 25 km |
    | --- | ---: |
    | a\\|b | 50.0 |
    """
    lines = [table.head, ["---", *["---:"] * (len(table.head) - 1)], *table.rows]
    body = [f"| {' | '.join(map(_markdown_cell, line))} |" for line in lines]
    return "\n".join([f"**{_markdown_cell(table.title)}**", "", *body])


def _markdown_cell(text: str) -> str:
    # A backslash would otherwise take the bar's escape for itself, and `<` would start an element.
    plain = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return plain.replace("<", "&lt;").replace("`", "'")


def latex(table: Table) -> str:
    """The table in LaTeX, for the `booktabs` package; every special character is escaped."""
    columns = "l" + "r" * (len(table.head) - 1)
    rows = [" & ".join(map(_latex_cell, row)) + r" \\" for row in table.rows]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{_latex_cell(table.title)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(_latex_cell, table.head)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _latex_cell(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def percent(interval: Interval) -> str:
    """A share with its interval, in percent.

    >>> percent(Interval(0.5, 0.237, 0.763))
    '50.0 (23.7–76.3)'
    """
    share, low, high = (100.0 * value for value in interval)
    return f"{share:.1f} ({low:.1f}–{high:.1f})"


def signed(interval: Interval, digits: int = 0) -> str:
    """A difference with its interval.

    >>> signed(Interval(12.0, -3.0, 27.0))
    '+12 (-3 to +27)'
    """
    return f"{interval.estimate:+.{digits}f} ({interval.low:+.{digits}f} to {interval.high:+.{digits}f})"


def kilometres(value: float | None) -> str:
    """Whole kilometres above 10; a dash for infinity.

    >>> kilometres(1234.5), kilometres(3.21), kilometres(None)
    ('1,234', '3.2', '–')
    """
    return DASH if value is None else f"{value:,.0f}" if value >= 10.0 else f"{value:.1f}"


def km_label(threshold_km: float) -> str:
    """A threshold as a column's head."""
    return f"{threshold_km:g} km"


def accuracy_table(scores: Sequence[Score]) -> Table:
    """Accuracy at every threshold, errors, points, and photos without an answer."""
    thresholds = sorted({km for s in scores for km in s.accuracy})
    head = ["system", *map(km_label, thresholds), "median km", "mean km", "GeoScore", "no answer"]
    rows = [
        [
            s.label,
            *(percent(s.accuracy[km]) if km in s.accuracy else DASH for km in thresholds),
            kilometres(s.median_km),
            kilometres(s.mean_km),
            points(s.geoscore),
            no_answer(s.outcomes),
        ]
        for s in scores
    ]
    return Table("Accuracy in % of all photos", head, rows)


def points(interval: Interval) -> str:
    """GeoScore with its interval."""
    return f"{interval.estimate:.0f} ({interval.low:.0f}–{interval.high:.0f})"


def no_answer(outcomes: Mapping[str, int]) -> str:
    """Photos without an answer, by kind.

    >>> no_answer({"answered": 8, "refused": 2})
    '2 refused'
    """
    kinds = [f"{count} {kind}" for kind, count in sorted(outcomes.items()) if kind != "answered"]
    return ", ".join(kinds) or "0"


def uncertainty_table(scores: Sequence[Score]) -> Table:
    """Radii, confidence, and how well it ranks."""
    head = [
        "system",
        "50 % radius holds %",
        "its median km",
        "90 % radius holds %",
        "its median km",
        "its mean % of the Earth",
        "calibration error",
        "area under risk–coverage, 25 km",
        "750 km",
    ]
    rows = [
        [
            s.label,
            *_coverage_cells(s.coverage_50)[:2],
            *_coverage_cells(s.coverage_90),
            DASH if s.calibration_error is None else f"{s.calibration_error:.3f}",
            f"{s.risk_area[25.0]:.3f}",
            f"{s.risk_area[750.0]:.3f}",
        ]
        for s in scores
    ]
    return Table("Radii and confidence, over answered photos; risk over all photos", head, rows)


def _coverage_cells(coverage: Coverage | None) -> list[str]:
    if coverage is None:
        return [DASH, DASH, DASH]
    share = f"{100.0 * coverage.mean_share_of_earth:.1f}"
    return [percent(coverage.held), kilometres(coverage.median_radius_km), share]


def place_table(scores: Sequence[Score]) -> Table:
    """How often country, region and city are named correctly."""
    levels = ("country", "region", "city")
    rows = [[s.label, *(percent(s.named[k].right) if k in s.named else DASH for k in levels)] for s in scores]
    return Table(
        "The answer's place against the truth's, in % of photos whose true place has that name",
        ["system", *levels],
        rows,
    )


def cost_table(scores: Sequence[Score]) -> Table:
    """What a photo costs, and answers within 25 km per dollar."""
    head = ["system", "model calls", "tool calls", "tokens", "US dollars", "seconds", "answers within 25 km per dollar"]
    return Table("Cost of a photo", head, [[s.label, *_cost_cells(s)] for s in scores])


def _cost_cells(s: Score) -> Iterable[str]:
    cost = s.cost_per_photo
    yield from (f"{cost['model_calls']:.1f}", f"{cost['tool_calls']:.1f}", f"{cost['tokens']:,.0f}")
    yield from (f"{cost['usd']:.4f}", f"{cost['seconds']:.2f}")
    yield DASH if s.hits_per_usd is None else f"{s.hits_per_usd:.1f}"


def strata_table(s: Score) -> Table:
    """One system by parts of the photos."""
    thresholds = list(s.accuracy)
    rows = [
        [
            f"{part.name}: {part.value}",
            str(part.photos),
            *(percent(part.accuracy[km]) for km in thresholds),
            f"{part.geoscore:.0f}",
            kilometres(part.median_km),
        ]
        for part in s.strata
    ]
    head = ["part", "photos", *map(km_label, thresholds), "GeoScore", "median km"]
    return Table(f"{s.label}, by parts of the photos", head, rows)


def all_tables(scores: Sequence[Score]) -> list[Table]:
    """Every table about single systems."""
    summary = [accuracy_table(scores), uncertainty_table(scores), place_table(scores), cost_table(scores)]
    return [*summary, *map(strata_table, scores)]
