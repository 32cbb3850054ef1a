"""What others have published, beside what was run here.

    python -m evals.leaderboard im2gps3k [RUN …]

`leaderboard.csv` holds the published numbers, each with its source; what runs say of their own uncertainty, which is
not published of others, follows in tables of its own. "Second-hand" means that others quote
them and the original was not checked. None was rerun here, and protocols differ: photos, crops, reference
photos that share photographers with the benchmark, failures dropped. The order is by accuracy within 25 km and is no
ranking: only paired runs on the same photos can be ranked (`python -m evals.compare`).
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from core.errors import UserError
from evals.benchmarks.registry import BENCHMARKS
from evals.command import command_parser, run_command
from evals.scores.arrays import load_systems
from evals.scores.distance import THRESHOLDS_KM
from evals.scores.score_tables import uncertainty_tables
from evals.scores.scoring import Score, score
from evals.scores.tables import DASH, Table, km_label, markdown, percent

RETRIEVAL = {"r_1": "R@1", "r_5": "R@5", "r_10": "R@10", "r_25": "R@25", "map_1k": "mAP@1k"}
"""Columns of retrieval, and their heads."""


class Published(NamedTuple):
    """One row of a published paper, README or list."""

    benchmark: str
    system: str
    accuracy: dict[float, float | None]
    """Percent by threshold in km; None: not given."""
    retrieval: tuple[float | None, ...]
    """R@1, 5, 10, 25 and mAP@1k in percent, of photos that are compared with tiles."""
    source: str
    second_hand: bool
    """Quoted by others, and not checked against the original."""
    note: str


@cache
def published() -> tuple[Published, ...]:
    """Every published row."""
    text = resources.files("evals").joinpath("leaderboard.csv").read_text(encoding="utf-8")
    return tuple(_published(row) for row in csv.DictReader(text.splitlines()))


def _published(row: dict[str, str]) -> Published:
    accuracy = {km: float(row[f"km_{km:g}"]) if row[f"km_{km:g}"] else None for km in THRESHOLDS_KM}
    second_hand = {"yes": True, "no": False}[row["second_hand"]]
    retrieval = tuple(float(row[name]) if row[name] else None for name in RETRIEVAL)
    return Published(row["benchmark"], row["system"], accuracy, retrieval, row["source"], second_hand, row["note"])


def leaderboard_table(benchmark: str, scores: Sequence[Score] = ()) -> Table:
    """Published rows and those of runs, by accuracy within 25 km."""
    run_here = [
        (s.accuracy[25.0].estimate * 100.0, [s.label, *_own_cells(s), "run here: " + s.heading, "no"]) for s in scores
    ]
    elsewhere = [
        (row.accuracy[25.0] or 0.0, _published_row(row, row.accuracy.values()))
        for row in published()
        if row.benchmark == benchmark and any(value is not None for value in row.accuracy.values())
    ]
    rows = [cells for _, cells in sorted([*elsewhere, *run_here], key=lambda row: -row[0])]
    head = ["system", *map(km_label, THRESHOLDS_KM), "source", "second-hand"]
    return Table(f"Published accuracy on {benchmark} in %: other protocols, not rerun here, no ranking", head, rows)


def _own_cells(s: Score) -> list[str]:
    return [percent(s.accuracy[km]) if km in s.accuracy else DASH for km in THRESHOLDS_KM]


def published_retrieval_table(benchmark: str) -> Table | None:
    """Published rows of photos that are compared with tiles, by R@10; None where there is none."""
    listed = [row for row in published() if row.benchmark == benchmark and any(row.retrieval)]
    ordered = sorted(listed, key=lambda row: -(row.retrieval[2] or 0.0))
    rows = [_published_row(row, row.retrieval) for row in ordered]
    head = ["system", *RETRIEVAL.values(), "source", "second-hand"]
    title = f"Published retrieval of tiles on {benchmark} in %: other protocols, not rerun here, no ranking"
    return Table(title, head, rows) if rows else None


def _published_row(row: Published, values: Iterable[float | None]) -> list[str]:
    cells = [DASH if value is None else f"{value:g}" for value in values]
    return [row.system, *cells, _source(row), "yes" if row.second_hand else "no"]


def _source(row: Published) -> str:
    return f"{row.source} ({row.note})" if row.note else row.source


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = command_parser("evals.leaderboard", __doc__)
    parser.add_argument("benchmark", choices=sorted(BENCHMARKS), help="whose numbers")
    parser.add_argument("runs", type=Path, nargs="*", help="folders of runs of this benchmark to put beside them")
    return run_command(parser, _print_table, arguments)


def _print_table(chosen: argparse.Namespace) -> int:
    systems = load_systems(chosen.runs)
    if any(system.info.benchmark != chosen.benchmark for system in systems):
        runs = ", ".join(map(str, chosen.runs))
        raise UserError(f"not all of {runs} are runs of {chosen.benchmark}: leave the others out")
    scores = [score(system) for system in systems]
    retrieval = published_retrieval_table(chosen.benchmark)
    tables = [leaderboard_table(chosen.benchmark, scores), *([retrieval] if retrieval else [])]
    tables += uncertainty_tables(scores) if scores else []
    sys.stdout.write("\n\n".join(map(markdown, tables)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
