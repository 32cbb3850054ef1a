"""What strategies cost in calls and tokens with a scripted LMM, and how much of it a server's prompt cache has.

    python -m benchmarks.simulation.costs --data ../shared/data --home runs/offline_machine/home [--against FILE]

`--keep FILE` writes distances and tokens; `--against FILE` pairs them with those of an earlier state of the code, so
that fewer tokens are known to give answers as good.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.simulation.error_model import Rates
from benchmarks.simulation.loop import Outcome, StrategyCase, Trial, open_trial, run, trial_parser
from evals.scores import distance

PHOTOS = 40
STRATEGY_NAMES = (
    "zero_shot",
    "chain_of_thought",
    "hierarchical",
    "jury",
    "rag",
    "cluster_rag",
    "tool_agent",
    "refine",
)


def costs(trial: Trial, kept: Path | None, against: Path | None) -> Iterator[str]:
    """What strategies cost, and whether their answers are as good as those of an earlier state of the code."""
    outcomes = [run(trial, StrategyCase(name, name, Rates())) for name in STRATEGY_NAMES]
    if kept:
        kept.write_text(json.dumps({one.label: one._replace(km=one.km.tolist())._asdict() for one in outcomes}))
    before = json.loads(against.read_text()) if against else {}
    yield ""
    yield "| | model calls | tool calls | tokens | cached | GeoScore | than before: tokens | GeoScore |"
    yield "|---|---|---|---|---|---|---|---|"
    for one in outcomes:
        cost = f"{one.model_calls:.1f} | {one.tool_calls:.1f} | {one.tokens:,.0f} | {one.cached:.0%}"
        yield f"| {one.label} | {cost} | {distance.geoscore(one.km).mean():,.0f} | {_than(before, one, trial)} |"
    yield ""


def _than(before: dict[str, Any], one: Outcome, trial: Trial) -> str:
    known = before.get(one.label)
    if known is None:
        return " | "
    gain = distance.geoscore(one.km) - distance.geoscore(np.array(known["km"], dtype=float))
    interval = distance.clustered_bootstrap(gain, trial.authors)
    return (
        f"{one.tokens / known['tokens'] - 1.0:+.0%} |"
        f" {interval.estimate:+.0f} ({interval.low:+.0f} to {interval.high:+.0f})"
    )


def main() -> None:
    """Print the table."""
    parser = trial_parser(__doc__ or "", PHOTOS)
    parser.add_argument("--keep", type=Path, help="write distances and tokens to this file")
    parser.add_argument("--against", type=Path, help="pair them with those in this file")
    chosen = parser.parse_args()
    trial = open_trial(chosen.data, chosen.home, chosen.photos, chosen.part)
    try:
        for line in costs(trial, chosen.keep, chosen.against):
            print(line, flush=True)
    finally:
        trial.system.close()


if __name__ == "__main__":
    main()
