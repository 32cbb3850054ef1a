"""Is an atlas built on Ray, killed again and again, the one of a plain build? And how much faster is it, not killed?

    python -m benchmarks.kills.atlas_ray --data ../shared/data/im2gps3k_dev --photos 80 --kills 20
    python -m benchmarks.kills.atlas_ray --data ../shared/data/im2gps3k_dev --pairs 3 --copies 3
    python -m benchmarks.kills.atlas_ray --data ../shared/data/im2gps3k_dev --pairs 2 --copies 12 --plain-cores 1

The real command in processes of its own. `--kills`: SIGKILL at random times to workers of Ray and, one time in four, to
the build itself, which is then started again; atlases are built until so many kills are done, and each is compared
with the plain one. `--pairs`: plain builds and builds on Ray in turn, timed; `--copies 3` lists each photo three times,
`--plain-cores 1` gives plain builds one core: without it, they use all that there are, as Ray does.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks.dev_photos import DEFAULT_DATA
from retrieval.atlas.failures import read_failures
from retrieval.atlas.manifest import read_manifest
from retrieval.atlas.sources import photos_from_table

DRIVER_SHARE = 0.25


class Kills(NamedTuple):
    """How many processes were killed."""

    workers: int
    drivers: int


def write_photos(data: Path, folder: Path, limit: int | None, copies: int) -> None:
    """Link the first photos, each so many times under other names, and list them in a table."""
    items = photos_from_table(data / "im2gps3k_dev.csv", data / "images")[:limit]
    (folder / "images").mkdir()
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["IMG_ID", "LAT", "LON"])
        for copy in range(copies):
            for item in items:
                name = f"{copy}-{item.path.name}"
                (folder / "images" / name).symlink_to(item.path.resolve())
                table.writerow([name, *((item.point.lat, item.point.lon) if item.point else ("", ""))])


def command(folder: Path, name: str, engine: str, encoder: str) -> list[str]:
    """A build."""
    made = [sys.executable, "-m", "geosleuth", "atlas", "build", name, "--engine", engine, "--encoder", encoder]
    made += ["--photos", str(folder / "images"), "--table", str(folder / "table.csv")]
    return [*made, "--home", str(folder / "home")]


def worker_pids(driver: int) -> list[int]:
    """Processes below the build's in which Ray encodes; not those that still load the encoder."""
    parents: dict[int, int] = {}
    found: list[int] = []
    for pid, words in processes():
        parents[pid] = int(words[1])
        if words[2].startswith("ray::") and "MapWorker" in words[2] and "__init__" not in words[2]:
            found.append(pid)
    return [pid for pid in found if driver in _ancestors(pid, parents)]


def processes() -> Iterator[tuple[int, list[str]]]:
    """Process ids, each with its own and its parent's id and its title, as `ps` prints them."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True)  # noqa: S607 - the `ps` of the path
    for line in listed.stdout.splitlines():
        words = line.split(maxsplit=2)
        if len(words) == 3:
            yield int(words[0]), words


def _ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while pid in parents:
        pid = parents[pid]
        yield pid


def build_and_kill(run: list[str], rng: random.Random, every_s: float, at_most: int) -> Kills:
    """Build one atlas, however often it takes; at most so many kills."""
    workers = drivers = 0
    while True:
        with subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as build:  # noqa: S603 - ours
            while build.poll() is None:
                time.sleep(rng.random() * every_s)
                pids = worker_pids(build.pid)
                if workers + drivers >= at_most or not pids:
                    continue
                driver = rng.random() < DRIVER_SHARE
                with suppress(ProcessLookupError):
                    os.kill(build.pid if driver else rng.choice(pids), signal.SIGKILL)
                    workers += not driver
                if driver:
                    drivers += build.wait() == -signal.SIGKILL
            if build.returncode not in (0, -signal.SIGKILL):
                raise SystemExit(build.stderr.read() if build.stderr else f"ended with {build.returncode}")
        if build.returncode == 0:
            return Kills(workers, drivers)


def same_atlas(left: Path, right: Path) -> bool:
    """Whether manifests, with the checksums of every item and vector, and lists of failures are the same."""
    named = read_manifest(left).model_copy(update={"name": right.name})
    return named == read_manifest(right) and read_failures(left) == read_failures(right)


def measure_kills(folder: Path, chosen: argparse.Namespace) -> str:
    """Build plainly, then on Ray with kills."""
    subprocess.run(command(folder, "plain", "local", chosen.encoder), check=True, capture_output=True)  # noqa: S603 - ours
    atlases, rng = folder / "home" / "atlases", random.Random(chosen.seed)  # noqa: S311 - chance, no secret
    made: list[Kills] = []
    while (left := chosen.kills - sum(map(sum, made))) > 0:
        name = f"killed-{len(made)}"
        made.append(build_and_kill(command(folder, name, "ray", chosen.encoder), rng, chosen.every_s, left))
        print(f"{name}: {made[-1]}", flush=True)
    same = sum(same_atlas(atlases / "plain", atlases / f"killed-{i}") for i in range(len(made)))
    workers, drivers = (sum(kills) for kills in zip(*made, strict=True))
    manifest = read_manifest(atlases / "plain")
    return (
        f"{manifest.total} photos ({manifest.failed} failed): {workers} workers and {drivers} builds killed at random;"
        f" {same} of {len(made)} atlases are that of the plain build"
    )


@contextmanager
def on_cores(count: int | None) -> Iterator[None]:
    """Processes that are started inside have so many cores; None: all."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


def measure_pairs(folder: Path, chosen: argparse.Namespace) -> str:
    """Time builds of both engines in turn."""
    taken: dict[str, list[float]] = {"local": [], "ray": []}
    for pair in range(chosen.pairs):
        for engine, seconds in taken.items():
            cores = chosen.plain_cores if engine == "local" else None
            start = time.perf_counter()
            with on_cores(cores):
                subprocess.run(  # noqa: S603 - ours
                    command(folder, f"{engine}-{pair}", engine, chosen.encoder), check=True, capture_output=True
                )
            seconds.append(time.perf_counter() - start)
            print(f"{engine}: {seconds[-1]:.1f} s", flush=True)
    atlases = folder / "home" / "atlases"
    same = sum(same_atlas(atlases / f"local-{i}", atlases / f"ray-{i}") for i in range(chosen.pairs))
    ratio = statistics.median(a / b for a, b in zip(*taken.values(), strict=True))
    total = read_manifest(atlases / "local-0").total
    return f"{total} photos: Ray is {ratio:.2f} times as fast, median of {chosen.pairs}; {same} pairs of the same atlas"


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA / "im2gps3k_dev")
    parser.add_argument("--encoder", default="compact")
    parser.add_argument("--photos", type=int, help="Only so many of the photos.")
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--every-s", type=float, default=2.0, help="Longest pause between two kills.")
    parser.add_argument("--pairs", type=int, default=0, help="Time so many pairs of builds, and kill nothing.")
    parser.add_argument("--plain-cores", type=int, help="Cores of plain builds that are timed; all by default.")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        write_photos(chosen.data, Path(made), chosen.photos, chosen.copies)
        print((measure_pairs if chosen.pairs else measure_kills)(Path(made), chosen))


if __name__ == "__main__":
    main()
