"""What real models' recorded answers are worth by themselves: parsed, refused, unparsable, and how far off.

Run: python -m benchmarks.accuracy.recorded_models --answers FOLDER --truth CSV

FOLDER holds JSONL files of {"photo": NAME, "response": TEXT}, CSV the photos' true positions (IMG_ID, LAT, LON).
The denominator is every row of a file: what gives no position is a miss at every distance. Beside it stands the loose
regular expression that much published code uses, over the same rows.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.chat_models.recorded import RecordedRow, read_rows
from agents.structured_output.position import ReplyStatus, parse_position
from evals.scores.distance import THRESHOLDS_KM, geoscore
from geo.sphere import distance_km

LOOSE = re.compile(r'"latitude"\s*:\s*"?(-?[\d.]+)"?.*?"longitude"\s*:\s*"?(-?[\d.]+)"?', re.DOTALL)

Position = tuple[float, float]
Reader = Callable[[str], tuple[str, Position | None]]


class Result(NamedTuple):
    """Of one file read in one way: counts by status, and the distance of each row's answer (inf: none)."""

    counts: Counter[str]
    km: NDArray[np.float64]


def ours(text: str) -> tuple[str, Position | None]:
    """As GeoSleuth parses replies."""
    read = parse_position(text)
    is_found = read.status is ReplyStatus.OK
    return read.status.value, (read.place["lat"], read.place["lon"]) if is_found else None


def loose(text: str) -> tuple[str, Position | None]:
    """The first two numbers behind "latitude" and "longitude"."""
    found = LOOSE.search(text)
    if not found:
        return ReplyStatus.UNPARSABLE.value, None
    return ReplyStatus.OK.value, (float(found[1]), float(found[2]))


def result(rows: Sequence[RecordedRow], truth: dict[str, Position], read: Reader) -> Result:
    """Read every row."""
    counts: Counter[str] = Counter()
    km = np.full(len(rows), np.inf)
    for index, row in enumerate(rows):
        status, position = read(row.response or "")
        counts[status] += 1
        if position:
            km[index] = float(distance_km(position, truth[row.photo or ""]))
    return Result(counts, km)


def line(name: str, found: Result) -> str:
    """One row of the table; GeoScore is the mean over all rows, 0 for a miss."""
    accuracy = " / ".join(f"{100.0 * float((found.km <= limit).mean()):.1f}" for limit in THRESHOLDS_KM)
    counts = " / ".join(str(found.counts[status]) for status in ("ok", "refused", "unparsable"))
    return f"| {name} | {len(found.km)} | {counts} | {accuracy} | {float(geoscore(found.km).mean()):.0f} |"


def read_truth(path: Path) -> dict[str, Position]:
    """Latitude and longitude by file name."""
    with path.open(encoding="utf-8", newline="") as stream:
        return {row["IMG_ID"]: (float(row["LAT"]), float(row["LON"])) for row in csv.DictReader(stream)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=Path, required=True, help="folder of JSONL files")
    parser.add_argument("--truth", type=Path, required=True, help="CSV with IMG_ID, LAT, LON")
    chosen = parser.parse_args()
    truth = read_truth(chosen.truth)
    print("| model | photos | parsed / refused / unparsable | % within 1 / 25 / 200 / 750 / 2500 km | GeoScore |")
    print("|---|---|---|---|---|")
    for path in sorted(chosen.answers.glob("*.jsonl")):
        rows = read_rows(path)
        print(line(path.stem, result(rows, truth, ours)))
        print(line(f"{path.stem}, loose regular expression", result(rows, truth, loose)))


if __name__ == "__main__":
    main()
