"""How much better the published protocol looks than the clean one:

    python -m evals.clean.gap PUBLISHED_RUN CLEAN_RUN

The runs must be of the same photos by the same system.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import UserError
from evals.command import command_parser, run_command
from evals.runs.records import INFO_FILE, Protocol, RecordError, RunInfo, read_info
from evals.scores import distance
from evals.scores.arrays import System, load_systems
from evals.scores.distance import THRESHOLDS_KM
from evals.scores.tables import Table, km_label, markdown, signed


def gap_table(published: Path, clean: Path) -> Table:
    """Accuracy under both protocols and the paired difference, intervals over photographers.

    Raises:
        UserError: the runs are not of the same photos, model, encoder and atlases under the two protocols.
    """
    _check(read_info(published), read_info(clean))
    clean_by_strategy = {system.strategy: system for system in load_systems([clean])}
    rows = [
        row
        for system in load_systems([published])
        if system.strategy in clean_by_strategy
        for row in _rows(system, clean_by_strategy[system.strategy])
    ]
    heads = ["strategy", "protocol", *(km_label(threshold) for threshold in THRESHOLDS_KM)]
    return Table(f"Accuracy under both protocols. {read_info(clean).heading()}", heads, rows)


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
    """Accuracies in percent under both protocols, and clean minus published in points."""
    published_hits, clean_hits = (
        [100.0 * distance.hits(system.arrays.distance_km, km) for km in THRESHOLDS_KM] for system in (published, clean)
    )
    gaps = [
        distance.clustered_bootstrap(after - before, clean.arrays.author)
        for before, after in zip(published_hits, clean_hits, strict=True)
    ]
    return [
        [published.strategy, "published", *(f"{hits.mean():.1f}" for hits in published_hits)],
        [published.strategy, "clean", *(f"{hits.mean():.1f}" for hits in clean_hits)],
        [published.strategy, "gap", *(signed(gap, 1) for gap in gaps)],
    ]


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
