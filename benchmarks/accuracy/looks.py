"""What a model's own places come to at its first and last look, beside the belief that a run made of them.

Run: python -m benchmarks.accuracy.looks RUN … [--against RUN]

The runs are of one strategy with a first reading (`jury`, `look_closer`, `refine`), on different photos. Places without
coordinates are left out; a photo without any is a miss. `--against` names a run of another strategy on the same
photos, whose answers everything is paired with. Intervals are over photographers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.structured_output.json_repair import find_objects
from evals.runs.records import EvalRecord, read_records
from evals.scores.distance import THRESHOLDS_KM, accuracy_interval, clustered_bootstrap, geoscore
from geo.sphere import Floats, distance_km

MOVED_KM = 10.0
"""Photos whose place moved by more are listed."""


def looks_of(record: EvalRecord) -> list[list[tuple[float, float]]]:
    """The positions in degrees that the model named at each look, likeliest first."""
    replies = [reply for text in record.raw_replies for reply in find_objects(text)]
    named = [(reply.get("arguments") or reply).get("hypotheses") for reply in replies]
    looks = [[_position(place) for place in places] for places in named if isinstance(places, list)]
    return [[at for at in look if at] for look in looks if any(look)]


def _position(place: Any) -> tuple[float, float] | None:
    try:
        return float(place["lat"]), float(place["lon"])
    except (KeyError, TypeError, ValueError):
        return None


def away_km(record: EvalRecord, positions: Sequence[tuple[float, float]]) -> float:
    """Distance of the nearest of some positions from the truth; NaN: none."""
    return float(distance_km(record.truth, np.array(positions)).min()) if positions else float("nan")


def rows_of(records: Sequence[EvalRecord]) -> dict[str, Floats]:
    """Distances in km (n,) by what they are of."""
    looks = [looks_of(record) or [[]] for record in records]
    pairs = list(zip(records, looks, strict=True))
    return {
        "first place, first look": np.array([away_km(record, look[0][:1]) for record, look in pairs]),
        "first place, last look": np.array([away_km(record, look[-1][:1]) for record, look in pairs]),
        "belief": np.array([np.nan if r.distance_km is None else r.distance_km for r in records]),
        "the best of its places": np.array([away_km(record, look[-1]) for record, look in pairs]),
    }


def table(rows: dict[str, Floats], authors: Sequence[str], against: Floats | None) -> Iterator[str]:
    """Accuracy and GeoScore of each row, paired with the row before and with another run."""
    columns = [*(f"{km:g} km" for km in THRESHOLDS_KM), "GeoScore", "than the row before", "than the other run"]
    yield f"| | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    before: Floats | None = None
    for name, km in rows.items():
        within = " | ".join(f"{accuracy_interval(km, limit).estimate:.1%}" for limit in THRESHOLDS_KM)
        paired = f"{_paired(km, before, authors)} | {_paired(km, against, authors)}"
        yield f"| {name} | {within} | {geoscore(km).mean():,.0f} | {paired} |"
        before = km


def _paired(km: Floats, other_km: Floats | None, authors: Sequence[str]) -> str:
    if other_km is None:
        return ""
    found = clustered_bootstrap(geoscore(km) - geoscore(other_km), authors)
    return f"{found.estimate:+.0f} ({found.low:+.0f} to {found.high:+.0f})"


def main() -> None:
    """Print the table, and the photos that moved."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--against", type=Path)
    chosen = parser.parse_args()
    records = [record for run in chosen.runs for record in read_records(run)]
    rows = rows_of(records)
    others = {r.photo: r.distance_km for r in read_records(chosen.against)} if chosen.against else {}
    against = np.array([others.get(r.photo) or np.nan for r in records]) if others else None
    for line in table(rows, [record.author or record.photo for record in records], against):
        print(line)
    for index, record in enumerate(records):
        steps = [float(rows[name][index]) for name in rows if not name.startswith("the best")]
        if np.ptp(steps) > MOVED_KM:
            print(f"{record.photo}: {' → '.join(f'{km:,.1f}' for km in steps)} km")


if __name__ == "__main__":
    main()
