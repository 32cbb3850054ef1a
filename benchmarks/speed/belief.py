"""How long one belief takes: 100 candidates, five models, ten pieces of evidence, on one core.

    OMP_NUM_THREADS=1 python -m benchmarks.speed.belief

Needs no data. Counts this process's CPU time, so that other programs disturb little; the median of some rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from belief.areas import credible_polygons
from belief.decision import decide
from belief.hypotheses import find_modes, log_bayes_factors, owners
from belief.parameters import default_parameters
from belief.posterior import THRESHOLDS_KM, Belief, divergence_nats
from belief.prior import default_prior
from belief.support import Disc, make_support
from belief.witnesses.areas import area_log_ratio
from belief.witnesses.reports import Report, ReportedPlace, WeighedReport, report_ratio
from belief.witnesses.retrieval import retrieval_log_ratio
from geo.point import Point
from retrieval.candidate import AtlasKind, Candidate

PARAMETERS = default_parameters()
UTILITY = PARAMETERS.utility["geoscore"]
SHARES = (0.25, 0.5, 0.75, 0.9)
PARIS = (48.86, 2.34)


class Stopwatch:
    """Milliseconds by step, in the order of the steps."""

    def __init__(self) -> None:
        self.taken_ms: dict[str, float] = {}

    def __call__(self, step: str, work: Callable[[], Any]) -> Any:
        """What the work returns; its time is added to the step's."""
        begin = time.process_time_ns()
        result = work()
        self.taken_ms[step] = self.taken_ms.get(step, 0.0) + (time.process_time_ns() - begin) / 1e6
        return result


def made_candidates(count: int) -> list[Candidate]:
    """Candidates spread as photos are."""
    return [
        Candidate(
            point=Point(lat=lat, lon=lon),
            similarity=0.9 - 0.002 * rank,
            atlas="made",
            kind=AtlasKind.PHOTO,
            item_id=str(rank),
            rank=rank,
        )
        for rank, (lat, lon) in enumerate(default_prior().sample(count).tolist())
    ]


def one_round(candidates: list[Candidate], models: int, evidence: int) -> dict[str, float]:
    """Milliseconds of each step for one photo."""
    at, watch = [(PARIS[0] + 0.1 * k, PARIS[1]) for k in range(models)], Stopwatch()
    pins = sorted({*at, *((c.point.lat, c.point.lon) for c in candidates[:5])})
    support = watch("support", lambda: make_support(pins))
    records = PARAMETERS.records
    said = [Report([ReportedPlace(*place)], records.of("gemini-2.0-flash")) for place in at]
    reports = watch(
        "reports", lambda: {f"m{k}": WeighedReport(report_ratio(support, r, records)) for k, r in enumerate(said)}
    )
    nats = watch("retrieval", lambda: retrieval_log_ratio(support, candidates, PARAMETERS, "compact"))
    circle = Disc(*PARIS, 50.0)
    others = watch("evidence", lambda: {f"e{k}": area_log_ratio(support, circle, 0.5) for k in range(evidence)})
    belief = Belief(support, reports, {**others, "retrieval": nats}, PARAMETERS)
    watch("mass", lambda: belief.mass)
    best = watch("decision", lambda: decide(belief, UTILITY))
    watch("read-outs", lambda: read_outs(belief, (best.lat_deg, best.lon_deg)))
    modes = watch("hypotheses", lambda: find_modes(belief, [], 8))
    watch("their evidence", lambda: effects(belief, [*reports, *others, "retrieval"], modes))
    watch("polygons", lambda: [credible_polygons(belief, share) for share in SHARES])
    return watch.taken_ms


def read_outs(belief: Belief, at: tuple[float, float]) -> None:
    """Chances, radii and areas of an answer."""
    for distance_km in THRESHOLDS_KM:
        belief.chance_within_km(at, distance_km)
    for share in (0.5, 0.9):
        belief.radius_km(at, share)
        belief.area_km2(share)


def effects(belief: Belief, keys: list[str], modes: list[Disc]) -> None:
    """What each witness did to each hypothesis and to the whole."""
    owner = owners(belief.support, modes)
    for key in keys:
        without = belief.mass_without(key)
        log_bayes_factors(belief.mass, without, owner, len(modes))
        divergence_nats(belief.mass, without)


def main() -> None:
    """Warm up, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--models", type=int, default=5)
    parser.add_argument("--evidence", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    watch = Stopwatch()
    watch("prior", default_prior)
    watch("its sample", make_support)
    print("once a process, ms:", ", ".join(f"{step} {ms:.0f}" for step, ms in watch.taken_ms.items()))
    candidates = made_candidates(asked.candidates)
    rounds = [one_round(candidates, asked.models, asked.evidence) for _ in range(asked.rounds + 1)][1:]
    median_ms = {step: float(np.median([r[step] for r in rounds])) for step in rounds[0]}
    print(f"{asked.candidates} candidates, {asked.models} models, {asked.evidence} pieces of evidence, ms:")
    for step, ms in median_ms.items():
        print(f"  {step:<16}{ms:6.1f}")
    print(f"  {'without polygons':<16}{sum(median_ms.values()) - median_ms['polygons']:6.1f}")


if __name__ == "__main__":
    main()
