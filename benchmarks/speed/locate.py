"""How fast an answer comes: cold, warm, and for a folder; or what new processes of the command cost, by command.

python -m benchmarks.speed.locate --photos ../shared/data/im2gps3k_dev/images --count 40
python -m benchmarks.speed.locate --start-only --repeats 5 --beside ../before
python -m benchmarks.speed.locate --folder-only --repeats 3 --count 200 --beside ../before --workers 1 auto
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.dev_photos import DEFAULT_DATA
from graphs.settings import make_settings
from graphs.system import GeoSleuth
from retrieval.photos.photo import load_photo, photo_paths

_RUN_AND_MEASURE = """
import json, resource, subprocess, sys, time
begin = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
wall_s = time.perf_counter() - begin
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, wall_s, used.ru_maxrss / 1000]))
"""
"""Runs a command from a small process: a child's peak memory counts from that of the process that starts it."""


class ProcessCost(NamedTuple):
    """What one process cost, from start to exit; on Linux, where peaks are counted in kB."""

    cpu_s: float
    wall_s: float
    peak_mb: float


def process_cost(checkout: Path, *arguments: str | Path) -> ProcessCost:
    """Run `geosleuth` from the sources in a folder, compiled as an installed package is."""
    command = [sys.executable, "-c", _RUN_AND_MEASURE, sys.executable, "-m", "geosleuth", *map(str, arguments)]
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=checkout, env=variables)  # noqa: S603 - ours
    return ProcessCost(*json.loads(done.stdout))


def print_process_costs(checkouts: Sequence[Path], home: Path, photo: Path, repeats: int) -> None:
    """Medians by command and checkout; the checkouts take turns. The first round fills the caches and is left out."""
    commands: dict[str, list[str | Path]] = {
        "--version": ["--version"],
        "--help": ["--help"],
        "doctor": ["doctor", "--home", home],
        "locate --no-signs": ["locate", photo.resolve(), "--no-signs", "--home", home],
    }
    print(f"{'command':20}{'checkout':40}{'CPU s':>8}{'wall s':>8}{'peak MB':>9}")
    for name, arguments in commands.items():
        costs = [[process_cost(checkout, *arguments) for checkout in checkouts] for _ in range(repeats + 1)][1:]
        for checkout, column in zip(checkouts, zip(*costs, strict=True), strict=True):
            cpu_s, wall_s, peak_mb = np.median(np.asarray(column), axis=0)
            print(f"{name:20}{checkout!s:40}{cpu_s:8.2f}{wall_s:8.2f}{peak_mb:9.0f}")


def _compared(line: str) -> dict[str, Any]:
    """A row without times and without the corners of areas, which versions draw from different ones on."""
    row: dict[str, Any] = json.loads(line) | {"made_at": None}
    if row["answer"]:
        row["answer"]["cost"]["seconds"] = 0.0
        for area in row["answer"]["areas"]:
            del area["polygons"]
    return row


def print_folder_costs(
    checkouts: Sequence[Path], workers: Sequence[str], photos: Sequence[Path], options: Sequence[str], repeats: int
) -> None:
    """Runs over a folder, in turn: this checkout with each number of workers, other checkouts without one.

    Raises:
        SystemExit: rows that differ from those of the first run in more than times and corners of areas.
    """
    variants = [(checkout, ()) for checkout in checkouts] + [(Path.cwd(), ("--workers", one)) for one in workers]
    rows: list[dict[str, Any]] = []
    print(f"{'checkout':30}{'options':20}{'photos/s':>9}{'CPU s a photo':>15}{'wall s':>8}{'peak MB':>9}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "photos"
        folder.mkdir()
        for path in photos:
            (folder / path.name).symlink_to(path.resolve())
        for number in range(repeats):
            for checkout, chosen in variants:
                file = Path(name) / "rows.jsonl"
                file.unlink(missing_ok=True)
                cost = process_cost(checkout, "locate", folder, "--jsonl", file, *options, *chosen)
                found = [_compared(line) for line in file.read_text().splitlines()]
                rows = rows or found
                if found != rows:
                    raise SystemExit(f"{checkout} {' '.join(chosen)}: other rows than in the first run")
                rate, cpu_s = len(photos) / cost.wall_s, cost.cpu_s / len(photos)
                shown = f"{checkout!s:30}{' '.join(chosen):20}{rate:9.2f}{cpu_s:15.3f}"
                print(f"{shown}{cost.wall_s:8.1f}{cost.peak_mb:9.0f}  (round {number + 1})", flush=True)


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
    parser.add_argument("--start-only", action="store_true", help="only what new processes cost, by command")
    parser.add_argument("--folder-only", action="store_true", help="only folders with signs; `--options` go to each")
    parser.add_argument("--workers", nargs="*", default=["1", "auto"], help="of --folder-only")
    parser.add_argument("--options", nargs="*", default=[], help="of --folder-only, without their dashes: no-signs")
    parser.add_argument("--repeats", type=int, default=5, help="new processes of each command")
    parser.add_argument("--beside", type=Path, action="append", default=[], help="another checkout to run in turn")
    chosen = parser.parse_args()
    photos = photo_paths([chosen.photos])
    if chosen.start_only:
        with tempfile.TemporaryDirectory() as name:
            print_process_costs([*chosen.beside, Path.cwd()], Path(name), photos[0], chosen.repeats)
        return
    if chosen.folder_only:
        options = [f"--{option}" for option in chosen.options]
        print_folder_costs(chosen.beside, chosen.workers, photos[: chosen.count], options, chosen.repeats)
        return
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
