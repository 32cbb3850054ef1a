"""The tables about single systems: accuracy, stated uncertainty, selective answers, evidence, places, cost, parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from evals.scores.distance import THRESHOLDS_KM, Interval
from evals.scores.reliability import ChanceReliability, Coverage
from evals.scores.scoring import TOLD_NATS, Score
from evals.scores.tables import (
    DASH,
    NOT_AVAILABLE,
    Table,
    decimals,
    kilometres,
    km_label,
    no_answer,
    percent,
    points,
)


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


def coverage_table(scores: Sequence[Score]) -> Table:
    """How often radii and areas hold the truth, how large they are, and the density at the truth."""
    head = ["system", "photos with a radius"]
    for share in (50, 90):
        head += [f"{share} % radius holds %", "its median km", "its mean % of the Earth"]
    for share in (50, 90):
        head += [f"{share} % area holds %", "its median km²"]
    rows = [
        [
            s.label,
            _of_all(s.coverage_90.photos if s.coverage_90 else 0, s),
            *_radius_cells(s.coverage_50),
            *_radius_cells(s.coverage_90),
            *_area_cells(s.area_50),
            *_area_cells(s.area_90),
            _or_not_available(s.log_score, 2),
        ]
        for s in scores
    ]
    title = "Radii and areas, over photos that state them; log score over all photos"
    return Table(title, [*head, "log score, nats per km²"], rows)


def _of_all(photos: int, s: Score) -> str:
    return f"{photos} of {s.photos}"


def _radius_cells(held: Coverage | None) -> list[str]:
    if held is None:
        return [DASH, DASH, DASH]
    return [percent(held.held), kilometres(held.median_radius_km), f"{100.0 * held.mean_share_of_earth:.1f}"]


def _area_cells(held: Coverage | None) -> list[str]:
    return [percent(held.held), kilometres(held.median_area_km2)] if held else [NOT_AVAILABLE, NOT_AVAILABLE]


def _or_not_available(interval: Interval | None, digits: int = 3) -> str:
    return decimals(interval, digits) if interval else NOT_AVAILABLE


def reliability_table(scores: Sequence[Score]) -> Table:
    """Every stated chance against what came true."""
    head = ["system", "chance that the truth lies", "photos", "stated %", "held %", "calibration error", "Brier score"]
    rows = [[s.label, *cells] for s in scores for cells in _reliability_rows(s)]
    return Table("Stated chances, on average, and how often they held, over photos that state them", head, rows)


def _reliability_rows(s: Score) -> Iterable[list[str]]:
    for km in s.chances:
        yield [f"within {km_label(km)}", *_chance_cells(s, s.chances[km])]
    if not s.chances:
        yield ["within each distance", *_chance_cells(s, None)]
    event = "within the distance of its level" if s.chances else "in the committed hypothesis"
    yield [f"{event} (confidence)", *_chance_cells(s, s.confidence)]


def _chance_cells(s: Score, found: ChanceReliability | None) -> list[str]:
    if found is None:
        return [NOT_AVAILABLE] * 5
    means = f"{100.0 * found.stated:.1f}", f"{100.0 * found.held:.1f}"
    return [_of_all(found.photos, s), *means, decimals(found.calibration_error), decimals(found.brier)]


SHARES_ANSWERED = (0.25, 0.5, 0.75)


def selective_table(scores: Sequence[Score]) -> Table:
    """What answering only the surest photos would be worth."""
    head = ["system", "ranked by", *(f"surest {share:.0%}".replace("%", " %") for share in SHARES_ANSWERED)]
    head += ["all", *(f"area, {km_label(km)}" for km in THRESHOLDS_KM)]
    rows = [
        [
            s.label,
            "chance within 25 km" if 25.0 in s.chances else "confidence",
            *(f"{100.0 * _accuracy_at(s, share):.1f}" for share in (*SHARES_ANSWERED, 1.0)),
            *(decimals(s.selective_area[km]) for km in THRESHOLDS_KM),
        ]
        for s in scores
    ]
    return Table("Selective answers: % within 25 km, surest first, and area under accuracy–coverage", head, rows)


def _accuracy_at(s: Score, share: float) -> float:
    """Accuracy within 25 km of the surest share of all photos."""
    curve = s.selective_curve[25.0]
    return float(np.interp(share, curve.x, curve.y))


def information_table(scores: Sequence[Score]) -> Table:
    """What each kind of evidence told."""
    head = ["system", "kind of evidence", "nats a photo", f"photos that it told > {TOLD_NATS:g} nats, %"]
    rows = [[s.label, *cells] for s in scores for cells in _information_rows(s)]
    return Table("Information by kind of evidence, over all photos", head, rows)


def _information_rows(s: Score) -> list[list[str]]:
    by_nats = sorted(s.information.items(), key=lambda each: -each[1].nats.estimate)
    rows = [[kind.replace("_", " "), decimals(found.nats), percent(found.told)] for kind, found in by_nats]
    return rows or [[NOT_AVAILABLE] * 3]


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
    parts = {name: head for name, head in TOKEN_PARTS.items() if any(s.cost_per_photo.get(name) for s in scores)}
    head = ["system", "model calls", "tool calls", "tokens", *parts.values(), "US dollars", "seconds"]
    rows = [[s.label, *_cost_cells(s, list(parts))] for s in scores]
    return Table("Cost of a photo", [*head, "answers within 25 km per dollar"], rows)


TOKEN_PARTS = {"input_tokens": "tokens in", "output_tokens": "tokens out", "cached_tokens": "tokens in, cached"}
"""Shown where records have them."""


def _cost_cells(s: Score, token_parts: Sequence[str]) -> Iterable[str]:
    cost = s.cost_per_photo
    yield from (f"{cost['model_calls']:.1f}", f"{cost['tool_calls']:.1f}", f"{cost['tokens']:,.0f}")
    yield from (f"{cost[name]:,.0f}" for name in token_parts)
    yield from (f"{cost['usd']:.4f}", f"{cost['seconds']:.2f}")
    yield DASH if s.hits_per_usd is None else f"{s.hits_per_usd:.1f}"


def model_cost_table(scores: Sequence[Score]) -> Table:
    """What a photo costs with each model of a jury."""
    head = ["system", "model", "model calls", "tokens", "US dollars", "seconds"]
    rows = [
        [s.label, model, f"{c['model_calls']:.1f}", f"{c['tokens']:,.0f}", f"{c['usd']:.4f}", f"{c['seconds']:.2f}"]
        for s in scores
        for model, c in s.cost_by_model.items()
    ]
    return Table("Cost of a photo by model", head, rows)


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


def uncertainty_tables(scores: Sequence[Score]) -> list[Table]:
    """What systems say of themselves, and what came true."""
    return [coverage_table(scores), reliability_table(scores), selective_table(scores), information_table(scores)]


def all_tables(scores: Sequence[Score]) -> list[Table]:
    """Every table about single systems."""
    costs = [cost_table(scores), *([model_cost_table(scores)] if any(s.cost_by_model for s in scores) else [])]
    summary = [accuracy_table(scores), *uncertainty_tables(scores), place_table(scores), *costs]
    return [*summary, *map(strata_table, scores)]
