"""Compare systems on the same photos.

    python -m evals.compare RUN RUN … [--out FOLDER]

Every strategy of every run is a system. Differences are paired; their intervals resample photographers, not photos.
Two systems are distinguished only if a test that flips the signs of whole photographers says so after Holm's
correction over all pairs; where the photographers are too few for any such claim, it says so, and how many could show
one. McNemar's exact test, which takes photos as independent, is given for each threshold beside it. Prints Markdown;
`--out` writes comparison.md and comparison.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.errors import UserError
from core.files import write_atomic
from evals.command import add_runs, command_parser, run_command
from evals.scores import distance, reliability, significance
from evals.scores.arrays import CITY, System, load_systems
from evals.scores.comparison import AtThreshold, Comparison, Pair, Rank, as_markdown
from evals.scores.distance import Interval
from geo.sphere import Floats, distance_km

NEAR_KM = 25.0
"""Distance of what is compared photo by photo and of selective answers."""


class PairedAnswers(NamedTuple):
    """Answers of several systems to their common photos, in one order.

    Attributes:
        distance_km: (systems, photos); NaN where a system gave no answer.
        radius_90_km: (systems, photos).
        surest: (systems, photos) what answers are ranked by.
        city_chance: (systems, photos) stated, that the truth lies within 25 km.
        log_density: (systems, photos) at the truth, in nats per km2; NaN where a record does not say.
        left_out: photos of each system that not all of them have.
    """

    labels: list[str]
    photo: list[str]
    author: list[str]
    distance_km: Floats
    radius_90_km: Floats
    surest: Floats
    city_chance: Floats
    log_density: Floats
    left_out: dict[str, int]


class SelectiveAreas(NamedTuple):
    """Area under accuracy-coverage within 25 km (systems,), and in each draw of a bootstrap (systems, draws)."""

    area: Floats
    draws: Floats


def pair_up(systems: Sequence[System], intersect: bool) -> PairedAnswers:
    """The systems' distances on the same photos.

    Raises:
        UserError: fewer than two systems, other photos without `intersect`, no common photo, or two truths for one.
    """
    if len(systems) < 2:
        raise UserError("a comparison needs two systems: give two runs, or one of several strategies")
    common = set.intersection(*(set(s.arrays.photo.tolist()) for s in systems))
    left_out = {s.label: len(s.arrays.photo) - len(common) for s in systems}
    if any(left_out.values()) and not intersect:
        lacking = ", ".join(f"{count} of {label}" for label, count in left_out.items() if count)
        raise UserError(
            f"the runs are not about the same photos ({lacking} are missing elsewhere): run them on the same, or add"
            f" --intersect to compare the {len(common)} they share"
        )
    if not common:
        raise UserError("the runs share no photo: nothing can be compared")
    rows = [np.flatnonzero(np.isin(s.arrays.photo, sorted(common))) for s in systems]
    photo, truth = systems[0].arrays.photo[rows[0]], systems[0].arrays.truth[rows[0]]
    for system, own in zip(systems, rows, strict=True):
        differs = distance_km(truth, system.arrays.truth[own]) > 0.01
        if differs.any():
            name = photo[differs][0]
            raise UserError(f"{system.label} has another truth for {name}: the tables differ, run one of them again")

    def stacked(columns: Sequence[Floats]) -> Floats:
        return np.stack([column[own] for column, own in zip(columns, rows, strict=True)])

    return PairedAnswers(
        labels=[s.label for s in systems],
        photo=photo.tolist(),
        author=systems[0].arrays.author[rows[0]].tolist(),
        distance_km=stacked([s.arrays.distance_km for s in systems]),
        radius_90_km=stacked([s.arrays.radius_90_km for s in systems]),
        surest=stacked([s.arrays.surest for s in systems]),
        city_chance=stacked([s.arrays.chance[:, CITY] for s in systems]),
        log_density=stacked([s.arrays.log_density for s in systems]),
        left_out=left_out,
    )


def compare(systems: Sequence[System], intersect: bool = False) -> Comparison:
    """All pairs of systems, and their ranking.

    Raises:
        UserError: see `pair_up`; systems with different thresholds.
    """
    paired = pair_up(systems, intersect)
    thresholds_km = systems[0].info.thresholds_km
    if any(s.info.thresholds_km != thresholds_km for s in systems):
        raise UserError("the runs have different thresholds: they are different benchmarks, compare runs of one")
    selective = _selective_areas(paired)
    pairs = _corrected([_pair(paired, selective, i, j, thresholds_km) for i, j in combinations(range(len(systems)), 2)])
    return Comparison(
        headings=tuple(dict.fromkeys(s.info.heading() for s in systems)),
        photos=len(paired.photo),
        photographers=len(set(paired.author)),
        left_out={label: count for label, count in paired.left_out.items() if count},
        pairs=tuple(pairs),
        ranking=tuple(_ranking(paired, selective, pairs)),
    )


def _selective_areas(paired: PairedAnswers) -> SelectiveAreas:
    rows = list(zip(paired.surest, distance.hits(paired.distance_km, NEAR_KM), strict=True))
    return SelectiveAreas(
        np.array([reliability.accuracy_coverage(*row).area for row in rows]),
        np.stack([reliability.selective_area_draws(*row, paired.author) for row in rows]),
    )


def _pair(paired: PairedAnswers, selective: SelectiveAreas, i: int, j: int, thresholds_km: Sequence[float]) -> Pair:
    first_km, second_km = paired.distance_km[i], paired.distance_km[j]
    gain = distance.geoscore(first_km) - distance.geoscore(second_km)
    near = distance.hits(first_km, NEAR_KM).astype(int) - distance.hits(second_km, NEAR_KM)
    p = significance.sign_flip_p_value(gain, paired.author, draws=significance.flips_drawn(len(paired.labels)))
    return Pair(
        first=paired.labels[i],
        second=paired.labels[j],
        geoscore=distance.clustered_bootstrap(gain, paired.author),
        selective_area=distance.percentile_interval(
            selective.area[i] - selective.area[j], selective.draws[i] - selective.draws[j]
        ),
        log_score=_mean_of_known(paired.log_density[i] - paired.log_density[j], paired.author),
        p=p,
        p_holm=p,
        thresholds=tuple(_at(paired.author, first_km, second_km, km) for km in thresholds_km),
        only_first=tuple(paired.photo[k] for k in np.flatnonzero(near == 1)),
        only_second=tuple(paired.photo[k] for k in np.flatnonzero(near == -1)),
    )


def _mean_of_known(values: Floats, authors: Sequence[str]) -> Interval | None:
    known = np.isfinite(values)
    return distance.clustered_bootstrap(values[known], np.asarray(authors)[known]) if known.any() else None


def _at(authors: Sequence[str], first_km: Floats, second_km: Floats, threshold_km: float) -> AtThreshold:
    first, second = distance.hits(first_km, threshold_km), distance.hits(second_km, threshold_km)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    p = significance.mcnemar_exact(only_first, only_second)
    return AtThreshold(
        km=threshold_km,
        difference=distance.clustered_bootstrap(100.0 * (first.astype(np.float64) - second), authors),
        only_first=only_first,
        only_second=only_second,
        mcnemar_p=p,
        mcnemar_p_holm=p,
    )


def _corrected(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with Holm's correction over all of them."""
    overall = significance.holm([pair.p for pair in pairs])
    each = iter(significance.holm([at.mcnemar_p for pair in pairs for at in pair.thresholds]))
    return [
        pair.model_copy(
            update={
                "p_holm": adjusted,
                "thresholds": tuple(at.model_copy(update={"mcnemar_p_holm": next(each)}) for at in pair.thresholds),
            }
        )
        for pair, adjusted in zip(pairs, overall, strict=True)
    ]


def _ranking(paired: PairedAnswers, selective: SelectiveAreas, pairs: Sequence[Pair]) -> list[Rank]:
    """By GeoScore, with the systems that each can and cannot be distinguished from."""
    scores = distance.geoscore(paired.distance_km).mean(axis=1)
    order = sorted(range(len(paired.labels)), key=lambda i: (-scores[i], paired.labels[i]))
    return [_rank(paired, selective, i, float(scores[i]), pairs) for i in order]


def _rank(paired: PairedAnswers, selective: SelectiveAreas, i: int, geoscore: float, pairs: Sequence[Pair]) -> Rank:
    label, away_km = paired.labels[i], paired.distance_km[i]
    others = [(pair, pair.second if pair.first == label else pair.first) for pair in pairs if label in pair.labels]
    return Rank(
        system=label,
        geoscore=geoscore,
        better_than=tuple(other for pair, other in others if pair.better == label),
        not_distinguishable_from=tuple(other for pair, other in others if pair.better is None),
        coverage_90=reliability.coverage(away_km, paired.radius_90_km[i]),
        city_chance=reliability.chance_reliability(
            paired.city_chance[i], distance.hits(away_km, NEAR_KM), paired.author
        ),
        selective_area=distance.percentile_interval(selective.area[i], selective.draws[i]),
        log_score=_mean_of_known(paired.log_density[i], paired.author),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, write."""
    parser = command_parser("evals.compare", __doc__)
    add_runs(parser)
    parser.add_argument("--intersect", action="store_true", help="compare the photos that all runs have")
    parser.add_argument("--out", type=Path, help="folder for comparison.md and comparison.json")
    return run_command(parser, _print_comparison, arguments)


def _print_comparison(chosen: argparse.Namespace) -> int:
    found = compare(load_systems(chosen.runs, chosen.unfinished), chosen.intersect)
    text = as_markdown(found)
    sys.stdout.write(f"{text}\n")
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        write_atomic(chosen.out / "comparison.md", text + "\n")
        write_atomic(chosen.out / "comparison.json", found.model_dump_json(indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
