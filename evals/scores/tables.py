"""Tables to paste: one kind of table, written as Markdown or LaTeX, and how its cells are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from evals.scores.distance import Interval

DASH = "–"
NOT_AVAILABLE = "n/a"
"""The records do not say: they are of an earlier version, or the system does not state it."""
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
    "<": "$<$",
    ">": "$>$",
    "²": "$^2$",
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


def decimals(interval: Interval, digits: int = 3) -> str:
    """A number with its interval.

    >>> decimals(Interval(0.0123, 0.01, 0.02))
    '0.012 (0.010–0.020)'
    """
    between = "–" if interval.low >= 0.0 else " to "
    low, high = f"{interval.low:.{digits}f}", f"{interval.high:.{digits}f}"
    return f"{interval.estimate:.{digits}f} ({low}{between}{high})"
