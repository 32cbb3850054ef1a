"""How much better the published protocol looks than the clean one:

    python -m evals.clean.gap PUBLISHED_RUN CLEAN_RUN

The runs must be of the same photos by the same system.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.errors import UserError
from evals.command import command_parser, run_command
from evals.runs.records import INFO_FILE, Protocol, RecordError, RunInfo, read_info
from evals.scores import distance
from evals.scores.arrays import System, load_systems
from evals.scores.distance import THRESHOLDS_KM, Interval
from evals.scores.tables import Table, km_label, markdown


def gap_table(published: Path, clean: Path) -> Table:
    """Accuracy under both protocols and the paired difference, intervals over photographers.

    Raises:
        UserError: the runs are not of the same photos, model, encoder and atlases under the two protocols.
    """
    _check(read_info(published), read_info(clean))
    theirs = {system.strategy: system for system in load_systems([published])}
    rows = [
        row for ours in load_systems([clean]) if ours.strategy in theirs for row in _rows(theirs[ours.strategy], ours)
    ]
    heads = ["strategy", "protocol", *(km_label(threshold) for threshold in THRESHOLDS_KM)]
    return Table(f"What the clean protocol takes away. {read_info(clean).heading()}", heads, rows)


def beside_published(run: Path) -> str | None:
    """The gap between a clean run and the published one beside it; None where there is no such pair."""
    info = read_info(run)
    for other in sorted(run.parent.glob(f"*/{INFO_FILE}")):
        try:
            found = read_info(other.parent)
            if found.finished_at and info.finished_at and found.protocol is not info.protocol:
                pair = (other.parent, run) if info.protocol is Protocol.CLEAN else (run, other.parent)
                return markdown(gap_table(*pair))
        except UserError:
            continue  # not the same photos or system: no pair
    return None


def _check(published: RunInfo, clean: RunInfo) -> None:
    if (published.protocol, clean.protocol) != (Protocol.PUBLISHED, Protocol.CLEAN):
        raise RecordError("the gap is between a run with --protocol published and one with --protocol clean")
    for name in ("benchmark", "photos_sha256", "model", "encoder", "atlases", "settings_sha256"):
        if getattr(published, name) != getattr(clean, name):
            raise RecordError(f"the two runs differ in {name}: run one of them again")


def _rows(published: System, clean: System) -> list[list[str]]:
    shares, gaps = [], []
    for threshold in THRESHOLDS_KM:
        before = distance.hits(published.arrays.distance_km, threshold)
        after = distance.hits(clean.arrays.distance_km, threshold)
        change = 100.0 * (after.astype(np.float64) - before)
        gaps.append(distance.clustered_bootstrap(change, clean.arrays.author))
        shares.append((100.0 * before.mean(), 100.0 * after.mean()))
    return [
        [published.strategy, "published", *(f"{before:.1f}" for before, _ in shares)],
        [published.strategy, "clean", *(f"{after:.1f}" for _, after in shares)],
        [published.strategy, "gap", *(_points(one) for one in gaps)],
    ]


def _points(change: Interval) -> str:
    return f"{change.estimate:+.1f} ({change.low:+.1f} to {change.high:+.1f})"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; returns the exit status."""
    parser = command_parser("evals.clean.gap", __doc__)
    parser.add_argument("published", type=Path, help="folder of a run with --protocol published")
    parser.add_argument("clean", type=Path, help="folder of a run with --protocol clean")
    return run_command(parser, _print_gap, argv)


def _print_gap(chosen: argparse.Namespace) -> int:
    sys.stdout.write(markdown(gap_table(chosen.published, chosen.clean)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
