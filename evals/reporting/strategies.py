"""Parts of the report that compare prompting strategies: legend, pair matrix, cost, radii, prompts as asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from evals.reporting.charts import COLOURS, PERCENT, Axis, Bar, Dot, code, ranges, scatter
from evals.runs.records import RunInfo
from evals.scores.arrays import System
from evals.scores.comparison import Comparison, Pair
from evals.scores.distance import Interval
from evals.scores.scoring import Score
from evals.scores.tables import signed

NEAR_KM = 25.0
SHADES = 4
"""Of each of the two colours of the pair matrix."""
COST_UNITS = {"usd": "US dollars a photo", "tokens": "tokens a photo"}


def legend(systems: Sequence[System]) -> str:
    """The short label and the colour of every system."""
    names = "".join(
        f'<li><i class="s{i % COLOURS}"></i><b>{code(i)}</b> {escape(s.label)}</li>' for i, s in enumerate(systems)
    )
    return f'<ul class="key">{names}</ul>'


class Cell(NamedTuple):
    """Row minus column: the difference, and whether the two are distinguished."""

    difference: Interval
    is_significant: bool


def pair_matrices(found: Comparison, labels: Sequence[str]) -> list[str]:
    """Every system against every other: GeoScore first, then the shares within 25 km."""
    near = next((n for n, at in enumerate(found.pairs[0].thresholds) if at.km == NEAR_KM), None)
    by_score = _matrix(
        found,
        labels,
        "GeoScore, row − column; ringed: distinguished by flipping signs, after Holm",
        lambda pair: Cell(pair.geoscore, pair.better is not None),
    )
    if near is None:
        return [by_score]
    title = f"Points of percent within {NEAR_KM:g} km, row − column; ringed: the interval is on one side of 0"
    return [by_score, _matrix(found, labels, title, lambda pair: _one_sided(pair.thresholds[near].difference))]


def _one_sided(difference: Interval) -> Cell:
    return Cell(difference, difference.low > 0.0 or difference.high < 0.0)


def _matrix(found: Comparison, labels: Sequence[str], title: str, cell: Callable[[Pair], Cell]) -> str:
    cells: dict[tuple[str, str], Cell] = {}
    for pair in found.pairs:
        one = cell(pair)
        (estimate, low, high), is_significant = one
        cells[pair.first, pair.second] = one
        cells[pair.second, pair.first] = Cell(Interval(-estimate, -high, -low), is_significant)
    largest = max((abs(one.difference.estimate) for one in cells.values()), default=0.0) or 1.0
    head = "".join(
        f'<th scope="col"><abbr title="{escape(name)}">{code(i)}</abbr></th>' for i, name in enumerate(labels)
    )
    rows = "".join(
        f'<tr><th scope="row"><b>{code(i)}</b> {escape(name)}</th>'
        + "".join(_matrix_cell(name, other, cells.get((name, other)), largest) for other in labels)
        + "</tr>"
        for i, name in enumerate(labels)
    )
    return (
        f'<div class="scroll"><table class="pairs"><caption>{escape(title)}</caption>'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _matrix_cell(row: str, column: str, cell: Cell | None, largest: float) -> str:
    if cell is None:
        return '<td class="same"></td>'
    estimate, low, high = cell.difference
    shade = round(SHADES * min(1.0, abs(estimate) / largest))
    colour = f"{'better' if estimate > 0 else 'worse'}{shade}" if shade else "level"
    ringed = " ringed" if cell.is_significant else ""
    title = escape(f"{row} − {column}: {signed(cell.difference, 1)}")
    interval = f'<span class="interval">{low:.0f} to {high:.0f}</span>'
    return f'<td class="{colour}{ringed}" title="{title}">{estimate:+.0f}{interval}</td>'


def cost_charts(scores: Sequence[Score]) -> list[str]:
    """Accuracy against what a photo costs in dollars and in tokens; none where nothing is spent."""
    if any(NEAR_KM not in s.accuracy for s in scores):
        return []
    return [_cost_chart(scores, unit) for unit in COST_UNITS if any(s.cost_per_photo[unit] for s in scores)]


def _cost_chart(scores: Sequence[Score], unit: str) -> str:
    spent = [s.cost_per_photo[unit] for s in scores]
    x = _cost_axis(COST_UNITS[unit], spent)
    near = [s.accuracy[NEAR_KM] for s in scores]
    dots = [
        Dot(code(i), f"{s.label}: {each.estimate:.1%} for {used:,.4g} {COST_UNITS[unit]}", i, used or x.low, each)
        for i, (s, used, each) in enumerate(zip(scores, spent, near, strict=True))
    ]
    title = f"Share within {NEAR_KM:g} km against {COST_UNITS[unit]}, with 95 % intervals"
    return scatter(title, x, Axis("", 0.0, 1.0, PERCENT), dots)


def _cost_axis(label: str, spent: Sequence[float]) -> Axis:
    """Logarithmic; what costs nothing stands at its left end, under a 0."""
    paid = [value for value in spent if value > 0.0]
    decades = range(int(np.floor(np.log10(min(paid)))), int(np.ceil(np.log10(max(paid)))) + 1)
    ticks = [(10.0**power, f"{10.0**power:,.10g}") for power in decades]
    low, high = ticks[0][0] / 1.5, max(ticks[-1][0], max(paid)) * 1.5
    if len(paid) < len(spent):
        low = ticks[0][0] / 10.0
        ticks = [(low, "0"), *ticks]
    return Axis(label, low, high, ticks, is_log=True)


def radii_chart(scores: Sequence[Score]) -> list[str]:
    """How often the stated 50 % and 90 % radii hold, a row a system; none if no system states one."""
    rows = [(code(i), [_held(s, i, share) for share in s.radius_held]) for i, s in enumerate(scores) if s.radius_held]
    title = "How often the 50 % and the 90 % radius hold, with 95 % intervals over photographers"
    return [ranges(title, [0.5, 0.9], rows)] if rows else []


def _held(s: Score, colour: int, share: int) -> Bar:
    held = s.radius_held[share]
    said = f"{s.label}: the {share} % radius holds {held.estimate:.1%} ({held.low:.1%} to {held.high:.1%})"
    return Bar(said, colour, held)


def prompts_as_asked(infos: Sequence[RunInfo]) -> list[str]:
    """Every prompt, schema, tool and option of every strategy, as the runs kept them."""
    found = [part for info in infos for part in _prompts_of(info)]
    return found or ['<p class="muted">These runs are of an earlier version: they did not keep what they asked.</p>']


def _prompts_of(info: RunInfo) -> Iterator[str]:
    for strategy, digest_of in info.asked.items():
        texts = [(name, info.asked_texts[of]) for name, of in digest_of.items() if of in info.asked_texts]
        prompts = "".join(_text(name, text) for name, text in texts if name.startswith("the prompt"))
        others = "".join(_text(name, text) for name, text in texts if not name.startswith("the prompt"))
        title = escape(f"{strategy}, {info.benchmark}, begun {info.started_at}")
        more = f"<details><summary>Schemas, tools, options, fields</summary>{others}</details>"
        yield f'<details class="asked"><summary>{title}</summary>{prompts}{more}</details>'
    for one in info.replaced:
        yield f'<p class="small">{escape(f"{one.records} records of {one.strategy} asked otherwise: {one.file}")}</p>'


def _text(name: str, text: str) -> str:
    return f"<h3>{escape(name)}</h3><pre>{escape(text)}</pre>"
