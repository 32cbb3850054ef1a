"""How fast an answer comes: cold, warm, and for a folder.

python -m benchmarks.speed.locate --photos ../shared/data/im2gps3k_dev/images --count 40
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.dev_photos import DEFAULT_DATA
from graphs.settings import make_settings
from graphs.system import GeoSleuth
from retrieval.photos.photo import load_photo, photo_paths


def build_seconds(home: Path) -> float:
    """The first opening, which builds the default atlas."""
    begin = time.perf_counter()
    GeoSleuth.open(make_settings(home=home)).close()
    return time.perf_counter() - begin


def warm_seconds(home: Path, photos: Sequence[Path], read_signs: bool) -> float:
    """Median time of one photo, decoding included, in a process that has answered before."""
    taken = []
    with GeoSleuth.open(make_settings(home=home, read_signs=read_signs)) as sleuth:
        sleuth.locate(load_photo(photos[0]))
        for path in photos:
            begin = time.perf_counter()
            sleuth.locate(load_photo(path))
            taken.append(time.perf_counter() - begin)
    return float(np.median(taken))


def command_seconds(*arguments: str | Path) -> float:
    """One run of the command line, from start to exit."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "apps.cli", "locate", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own command
    return time.perf_counter() - begin


def folder_rate(home: Path, photos: Sequence[Path], scratch: Path) -> float:
    """Photos a second of a folder run without sign reading, its start included."""
    folder = scratch / "photos"
    folder.mkdir()
    for path in photos:
        (folder / path.name).symlink_to(path.resolve())
    return len(photos) / command_seconds(folder, "--no-signs", "--home", home, "--jsonl", scratch / "rows.jsonl")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=DEFAULT_DATA / "im2gps3k_dev" / "images")
    parser.add_argument(
        "--count", type=int, default=40, help="photos for each measurement; the folder takes four times as many"
    )
    chosen = parser.parse_args()
    photos = photo_paths([chosen.photos])
    few = photos[:: max(1, len(photos) // chosen.count)][: chosen.count]
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        home = scratch / "home"
        print(f"first opening, atlas built       {build_seconds(home):6.2f} s")
        print(f"cold start to answer             {command_seconds(few[0], '--home', home):6.2f} s")
        print(f"cold start to answer, no signs   {command_seconds(few[0], '--no-signs', '--home', home):6.2f} s")
        print(f"warm, median, no signs           {warm_seconds(home, few, read_signs=False):6.3f} s")
        print(f"warm, median, with signs         {warm_seconds(home, few, read_signs=True):6.3f} s")
        print(
            f"folder, no signs                 {folder_rate(home, photos[: 4 * chosen.count], scratch):6.1f} photos/s"
        )


if __name__ == "__main__":
    main()
