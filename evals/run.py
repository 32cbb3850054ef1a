"""Run a benchmark: `python -m evals.run im2gps3k --strategy retrieval,refine --concurrency 8`.

Writes `run.json` and `records.jsonl` into a folder that `python -m evals.compare`, `evals.calibrate` and
`evals.report` read. Exit status: 0 complete; 1 stopped for money, errors or a dead model (the same command goes on);
2 something the user can mend; 130 interrupted (the same command goes on).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from evals import options
from evals.clean.gap import beside_published
from evals.command import run_command
from evals.runs.cost import estimate, estimate_text
from evals.runs.evaluated_systems import EvaluatedSystems, open_systems
from evals.runs.folder import RunFolder
from evals.runs.progress import RunProgress
from evals.runs.provenance import run_info
from evals.runs.records import RecordStatus
from evals.runs.runner import Ended, RunPlan, RunSession, run_queries
from evals.runs.sample_selection import RunPhotos, load_photos
from evals.scores.arrays import load_systems
from evals.scores.score_tables import accuracy_table
from evals.scores.scoring import score
from evals.scores.tables import markdown

EXIT = {Ended.COMPLETE: 0, Ended.MONEY: 1, Ended.ERRORS: 1, Ended.MODEL: 1, Ended.INTERRUPTED: 130}


def main(argv: Sequence[str] | None = None) -> int:
    """Run by the command line; returns the exit status."""
    return run_command(options.parser(), run, argv)


def run(chosen: argparse.Namespace) -> int:
    """Load the photos, open the systems, run, score and write; returns the exit status.

    Raises:
        UserError: something the user can mend; raised before any photo is run, wherever that can be known.
    """
    settings = options.settings_of(chosen)
    out = options.run_folder(chosen, settings)
    with ExitStack() as opened:
        photos = load_photos(chosen, settings)
        systems = opened.enter_context(open_systems(chosen, settings, photos, out))
        print_estimate(systems, photos, out.parent)
        if chosen.estimate:
            return 0
        fresh = options.names(chosen.fresh_strategy)
        folder = opened.enter_context(RunFolder(out, run_info(chosen, settings, photos, systems), fresh))
        print_replaced(folder, fresh)
        session = run_photos(chosen, photos, systems, folder)
        if session.ended is Ended.COMPLETE:
            print_results(out)
        else:
            print_stopped(session, folder)
        if session.has_abandoned_queries:
            os._exit(EXIT[Ended.INTERRUPTED])  # abandoned threads would keep the process alive
    return EXIT[session.ended]


def run_photos(
    chosen: argparse.Namespace, photos: RunPhotos, systems: EvaluatedSystems, folder: RunFolder
) -> RunSession:
    """Locate the photos that have no record yet, or whose model failed; a record each is appended to the folder.

    Raises:
        UserError: the folder cannot be written.
    """
    systems.budget.start_from(folder.info.spent_usd)
    folder.forget(lambda record: record.model_failed)
    if chosen.retry_errors:
        folder.forget(lambda record: record.status is RecordStatus.ERROR)
    queries = photos.queries(tuple(systems.by_strategy))
    plan = RunPlan(systems.locate, systems.error_record, lambda: systems.budget.spent_usd)
    with RunProgress(len(queries), folder.scores.values(), plan.spent_usd) as progress:
        session = run_queries(
            queries, plan, folder, progress.add, concurrency=chosen.concurrency, max_errors=chosen.max_errors
        )
    if session.ended is Ended.COMPLETE:
        folder.finish([query.key for query in queries], plan.spent_usd())
    return session


def print_estimate(systems: EvaluatedSystems, photos: RunPhotos, earlier: Path) -> None:
    """Print what the run will cost, going by `earlier` runs where there are any."""
    if systems.have_paid_calls:
        prices = [model.price for model in systems.models]
        estimates = estimate(systems.strategies, systems.description.model, prices, earlier)
        sys.stderr.write(estimate_text(estimates, len(photos.samples)) + "\n")


def print_replaced(folder: RunFolder, fresh: Sequence[str]) -> None:
    """Print where the records of strategies that are asked again are kept."""
    aside = [one for one in folder.info.replaced if one.strategy in fresh]
    for one in aside:
        sys.stderr.write(
            f"{one.records} records of {one.strategy}, asked otherwise, are in {folder.folder / one.file}\n"
        )
    for name in sorted(set(fresh) - {one.strategy for one in aside}):
        sys.stderr.write(f"{name}: what it asks has not changed, so nothing is asked again\n")


def print_results(run: Path) -> None:
    """Score a finished run and print its tables."""
    systems = load_systems([run])
    sys.stdout.write(markdown(accuracy_table([score(system) for system in systems])) + "\n")
    gap = beside_published(run)
    if gap:
        sys.stdout.write(f"\n{gap}\n")
    sys.stderr.write(
        f"Records are in {run}; `python -m evals.report {run} --out {run}/report.html` makes a page of them.\n"
    )


def print_stopped(session: RunSession, folder: RunFolder) -> None:
    """Print why a run stopped, and how it goes on."""
    total = folder.info.photos * len(folder.info.strategies)
    text = f"stopped: {session.ended.value}; {len(folder.scores)} of {total} records are in {folder.folder}"
    if session.ended is Ended.ERRORS:
        errors = [score for score in folder.scores.values() if score.status is RecordStatus.ERROR]
        kinds = Counter(score.error for score in errors)
        text += f"; the last one: {session.last_error}; {len(kinds)} different ones. Mend it, then --retry-errors"
    if session.ended is Ended.MODEL:
        text += f"; {session.last_error}"
    if session.ended is Ended.MONEY:
        text += f"; US$ {folder.info.spent_usd:.4f} are spent. A higher --max-usd goes on"
    sys.stderr.write(f"evals.run: {text}. The same command goes on where this ended.\n")


if __name__ == "__main__":
    sys.exit(main())
