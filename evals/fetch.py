"""Fetch a benchmark: `python -m evals.fetch im2gps`. What has no address for programs is named, with where to put it.

Run it again after a kill, or after putting files there by hand: it goes on where it was, unpacks, and reports what
is complete. Exit status: 0 complete; 1 files are missing; 2 something the user can mend.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from core.download import DownloadError, Progress, download
from evals.benchmarks.archives import unpack
from evals.benchmarks.loading import load_benchmark
from evals.benchmarks.registry import BENCHMARKS, Benchmark, SourceFile, find_benchmark
from evals.command import command_parser, run_command
from graphs.settings import make_settings

TIMEOUT_S = 60.0
AGENT = "GeoSleuth evals.fetch"


def fetch(benchmark: Benchmark, folder: Path, client: httpx.Client, bars: Bars, pause_s: float = 1.0) -> list[str]:
    """Fetch and unpack what can be; returns what a person has to do, a line a file.

    Raises:
        UserError: an archive is damaged, or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [line for source in benchmark.files for line in _fetch_one(source, folder, client, bars, pause_s)]


def _fetch_one(source: SourceFile, folder: Path, client: httpx.Client, bars: Bars, pause_s: float) -> list[str]:
    target = folder / source.file
    mark = target.with_name(target.name + ".unpacked")
    if mark.exists() or (target.exists() and source.unpack_to is None):
        return []
    problems = [] if target.exists() else _try_addresses(source, target, client, bars, pause_s)
    if not target.exists():
        return [_by_hand(source, target, problems)]
    if source.unpack_to is not None:
        taken = unpack(target, folder / source.unpack_to)
        mark.write_text(f"{taken} files\n", encoding="utf-8")
        sys.stderr.write(f"{target.name}: {taken} files unpacked; the archive may be deleted now\n")
    return []


def _try_addresses(source: SourceFile, target: Path, client: httpx.Client, bars: Bars, pause_s: float) -> list[str]:
    """What went wrong at each address; empty once one of them gave the file."""
    problems: list[str] = []
    for url in source.urls:
        bar = bars.add_task(source.file, total=None)
        try:
            md5 = _md5(source.md5_url, client) if source.md5_url else None
            download(url, target, client, _shown(bars, bar), sha256=source.sha256, md5=md5, pause_s=pause_s)
            return []
        except (DownloadError, httpx.HTTPError) as error:
            problems.append(str(error) or type(error).__name__)
            bars.remove_task(bar)
    return problems


def _shown(bars: Bars, bar: TaskID) -> Progress:
    def show(done: int, total: int | None) -> None:
        bars.update(bar, completed=done, total=total)

    return show


def _md5(url: str, client: httpx.Client) -> str:
    words = client.get(url).raise_for_status().text.split()
    if not words or len(words[0]) != 32:
        raise DownloadError(f"{url}: holds no MD5")
    return words[0]


def _by_hand(source: SourceFile, target: Path, problems: Sequence[str]) -> str:
    why = "".join(f"\n    ({problem})" for problem in problems)
    where = f"  put {source.file} (about {source.megabytes:g} MB) at {target}"
    return f"{where}\n    from {source.page}{why}\n    {source.origin}"


def report(benchmark: Benchmark, folder: Path, to_do: Sequence[str], *, swap_lat_lon: bool = False) -> tuple[str, bool]:
    """What is there, in words, and whether that is all.

    Raises:
        UserError: a table that cannot be used.
    """
    lines = [
        f"{benchmark.name}: {benchmark.summary}",
        f"  licence: {benchmark.licence}",
        f"  cite: {benchmark.citation}",
    ]
    lines += [f"  note: {note}" for note in benchmark.notes]
    if to_do:
        lines += [
            "These files have no address that a program may use (or it failed); put them there, then run this again:"
        ]
        return "\n".join([*lines, *to_do]), False
    data = load_benchmark(benchmark, folder, swap_lat_lon=swap_lat_lon)
    state = "complete" if data.is_complete else "NOT COMPLETE"
    return "\n".join([*lines, f"  {state}: {data.shortfall()}"]), data.is_complete


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch; returns the exit status."""
    parser = command_parser("evals.fetch", __doc__)
    parser.add_argument("benchmark", choices=[name for name, one in BENCHMARKS.items() if one.files])
    parser.add_argument("--data", type=Path, help="the benchmark's folder (default: HOME/benchmarks/NAME)")
    parser.add_argument("--home", type=Path, help="as for geosleuth")
    parser.add_argument("--swap-lat-lon", action="store_true", help="the table's headers LAT and LON are exchanged")
    return run_command(parser, _fetch, argv)


def _fetch(chosen: argparse.Namespace) -> int:
    benchmark = find_benchmark(chosen.benchmark)
    folder = chosen.data or make_settings(home=chosen.home).home / "benchmarks" / benchmark.name
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with (
        httpx.Client(timeout=TIMEOUT_S, follow_redirects=True, headers={"User-Agent": AGENT}) as client,
        Bars(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars,
    ):
        to_do = fetch(benchmark, folder, client, bars)
    text, is_complete = report(benchmark, folder, to_do, swap_lat_lon=chosen.swap_lat_lon)
    sys.stdout.write(text + "\n")
    return 0 if is_complete else 1


if __name__ == "__main__":
    sys.exit(main())
