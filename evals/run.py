"""Run a benchmark: `python -m evals.run im2gps3k --strategy retrieval,refine --concurrency 8`.

Writes `run.json` and `records.jsonl` into a folder that `python -m evals.compare`, `evals.calibrate` and
`evals.report` read. Exit status: 0 complete; 1 stopped for money or errors (the same command goes on); 2 something
the user can mend; 130 interrupted (the same command goes on).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from agents.chat_models.registry import LoadedModel, ModelOptions, load_model
from core.errors import UserError
from evals import options
from evals.benchmarks.loading import BenchmarkData, Sample, load_benchmark
from evals.benchmarks.registry import find_benchmark
from evals.clean.gap import beside_published
from evals.clean.perceptual_hash import fingerprints_of
from evals.clean.protocol import (
    CleanExclusion,
    check_known,
    describe,
    exclude_references,
    flags,
    read_reference_table,
    references,
)
from evals.runs import sample_selection
from evals.runs.cost import CostBudget, call_usd, estimate, told
from evals.runs.evaluated_systems import EvaluatedSystems, open_evaluated_systems
from evals.runs.folder import RunFolder, now
from evals.runs.progress import RunProgress
from evals.runs.recording import EvalQuery
from evals.runs.records import Flag, Partial, PlaceNames, Protocol, RecordStatus, RunInfo
from evals.runs.reply_cache import ReplyCache
from evals.runs.runner import Ended, RunPlan, RunSession, photo_by_photo, run_queries
from evals.scores.arrays import load_systems
from evals.scores.scoring import score
from evals.scores.tables import accuracy_table, markdown
from geo.places.gazetteer import Gazetteer
from geo.sphere import lat_lon_array
from graphs.inference.calibration import parameters_digest
from graphs.settings import Settings
from retrieval.atlas.atlas import open_atlas
from retrieval.candidate import AtlasKind
from retrieval.encoders.registry import load_encoder
from retrieval.stores.base import StoredItem

EXIT = {Ended.COMPLETE: 0, Ended.MONEY: 1, Ended.ERRORS: 1, Ended.INTERRUPTED: 130}


class RunPhotos(NamedTuple):
    """The photos of a run, and what only the scorer knows of them; rows correspond."""

    holding: BenchmarkData
    items: Sequence[Sample]
    places: Sequence[PlaceNames | None]
    flags: Sequence[tuple[Flag, ...]]
    partial: Partial | None
    exclusion: CleanExclusion | None
    hidden: str


class PreparedRun(NamedTuple):
    """A run that can start."""

    chosen: argparse.Namespace
    settings: Settings
    photos: RunPhotos
    model: LoadedModel
    systems: EvaluatedSystems
    out: Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    chosen = options.parser().parse_args(argv)
    try:
        return run(chosen)
    except UserError as error:
        sys.stderr.write(f"evals.run: error: {error}\n")
        return 2


def run(chosen: argparse.Namespace) -> int:
    """Run what was chosen; returns the exit status.

    Raises:
        UserError: something the user can mend; told before photos are spent, wherever that can be known.
    """
    with ExitStack() as opened:
        ready = prepare(chosen, opened)
        _say_estimate(ready)
        return 0 if chosen.estimate else EXIT[run_session(ready, opened).ended]


def prepare(chosen: argparse.Namespace, opened: ExitStack) -> PreparedRun:
    """Check and open everything that a run needs; closed with `opened`.

    Raises:
        UserError: something the user can mend.
    """
    strategies = options.names(chosen.strategy)
    if not strategies:
        raise UserError("--strategy names no strategy")
    settings = options.settings_of(chosen, strategies)
    protocol = Protocol(chosen.protocol)
    out = chosen.out or sample_selection.default_out(
        chosen.benchmark, protocol, settings.model, strategies, chosen.only
    )
    settings = settings.model_copy(update={"audit_log": out / "audit.jsonl"})
    photos = _photos(chosen, settings, protocol)
    cost_budget, model = _model(chosen, settings, out, opened)
    name = photos.holding.benchmark.name
    systems = open_evaluated_systems(
        settings, strategies, model, benchmark=name, exclusion=photos.exclusion, cost_budget=cost_budget
    )
    opened.callback(systems.close)
    return PreparedRun(chosen, settings, photos, model, systems, out)


def run_session(ready: PreparedRun, opened: ExitStack) -> RunSession:
    """Do what is not done yet, and say what came of it.

    Raises:
        UserError: the folder holds another run, or cannot be written.
    """
    chosen, systems = ready.chosen, ready.systems
    folder = opened.enter_context(RunFolder(ready.out, _info(ready)))
    systems.cost_budget.start_from(folder.info.spent_usd)
    if chosen.retry_errors:
        folder.forget(lambda record: record.status is RecordStatus.ERROR)
    queries = list(photo_by_photo(systems.by_strategy, lambda strategy: _queries(strategy, ready.photos)))
    work = RunPlan(systems.locate, systems.broken, lambda: systems.cost_budget.spent_usd)
    with RunProgress(len(queries), folder.scores.values(), work.spent_usd) as progress:
        sitting = run_queries(
            queries, work, folder, progress, concurrency=chosen.concurrency, max_errors=chosen.max_errors
        )
    if sitting.ended is Ended.COMPLETE:
        folder.finish([query.key for query in queries], systems.cost_budget.spent_usd)
        _say_results(folder.folder)
    else:
        _say_stopped(sitting, folder, len(queries))
    return sitting


def _photos(chosen: argparse.Namespace, settings: Settings, protocol: Protocol) -> RunPhotos:
    benchmark = find_benchmark(chosen.benchmark)
    holding = load_benchmark(benchmark, chosen.data or settings.home / "benchmarks" / benchmark.name)
    items, partial = sample_selection.choose_items(
        holding,
        allow_partial=chosen.allow_partial,
        part=chosen.only,
        listed=chosen.listed,
        limit=chosen.limit,
        seed=chosen.seed,
    )
    places = [PlaceNames.of(p) for p in Gazetteer().places_at(lat_lon_array(item.truth for item in items))]
    seen = fingerprints_of([item.path for item in items], settings.threads)
    exclusion, hidden = None, ""
    if protocol is Protocol.CLEAN:
        table = read_reference_table(chosen.reference_table) if chosen.reference_table else {}
        stored = list(_stored(settings))
        known = references(stored, table)
        check_known(known, settings.atlases)
        exclusion = exclude_references(items, seen, known, chosen.twin_similarity)
        hidden = describe(items, known, exclusion)
    return RunPhotos(holding, items, places, flags(items, seen), partial, exclusion, hidden)


def _stored(settings: Settings) -> Iterator[StoredItem]:
    """Items of all photo atlases."""
    encoder = load_encoder(settings.encoder, settings.threads)
    for name in settings.atlases:
        folder = settings.atlas_folder / name
        if folder.is_dir():
            with open_atlas(folder, encoder) as atlas:
                if atlas.kind is AtlasKind.PHOTO:
                    yield from atlas.items()


def _model(
    chosen: argparse.Namespace, settings: Settings, out: Path, opened: ExitStack
) -> tuple[CostBudget, LoadedModel]:
    """The model with its cache, and the purse that both share."""
    bare = ModelOptions(
        timeout_s=chosen.timeout,
        max_retries=chosen.retries,
        concurrency=chosen.concurrency,
        temperature=chosen.temperature,
        max_output_tokens=chosen.max_output_tokens,
        prices=chosen.prices,
    )
    priced = load_model(settings.model, bare)
    price = priced.price
    if chosen.max_usd is not None and price is None:
        raise UserError(f"--max-usd needs to know what {settings.model} costs: give its price with --prices")
    cost_budget = CostBudget(chosen.max_usd, assumed_usd=call_usd(price) or 0.0)
    if not priced.kind.is_served:
        return cost_budget, priced
    file = None if chosen.no_cache else chosen.cache or settings.home / "replies.sqlite"
    cache = ReplyCache(file, cost_budget, priced.usd, str(out.resolve()))
    opened.callback(cache.close)
    cost_budget.start_from(cache.spent_usd())
    return cost_budget, load_model(settings.model, bare.model_copy(update={"cache": cache}))


def _say_estimate(ready: PreparedRun) -> None:
    systems, model = ready.systems, ready.model
    if model.kind.is_served and any(strategy.uses_model for strategy in systems.strategies):
        estimates = estimate(systems.strategies, model.name, model.price, ready.out.parent)
        sys.stderr.write(told(estimates, dict.fromkeys(systems.by_strategy, len(ready.photos.items))) + "\n")


def _info(ready: PreparedRun) -> RunInfo:
    chosen, settings, systems, photos = ready.chosen, ready.settings, ready.systems, ready.photos
    benchmark = photos.holding.benchmark
    return RunInfo(
        benchmark=benchmark.name,
        protocol=systems.description.protocol,
        strategies=tuple(systems.by_strategy),
        model=systems.description.model,
        encoder=systems.description.encoder,
        atlases=settings.atlases,
        expected=photos.holding.expected,
        photos=len(photos.items),
        photos_sha256=sample_selection.ids_sha256(photos.items),
        partial=photos.partial,
        thresholds_km=benchmark.thresholds_km,
        limit=chosen.limit,
        seed=chosen.seed,
        arguments=options.as_given(chosen),
        settings_sha256=sample_selection.settings_sha256(
            settings, {"temperature": chosen.temperature, "max_output_tokens": chosen.max_output_tokens}
        ),
        posterior=parameters_digest(systems.parameters, systems.description.model),
        commit=sample_selection.commit(),
        versions=sample_selection.versions(),
        citation=benchmark.citation,
        licence=benchmark.licence,
        started_at=now(),
        excluded_reference=photos.hidden,
    )


def _queries(strategy: str, photos: RunPhotos) -> list[EvalQuery]:
    rows = zip(photos.items, photos.places, photos.flags, strict=True)
    return [EvalQuery(item=item, strategy=strategy, truth_place=place, flags=odd) for item, place, odd in rows]


def _say_results(run: Path) -> None:
    systems = load_systems([run])
    sys.stdout.write(markdown(accuracy_table([score(system) for system in systems])) + "\n")
    gap = beside_published(run)
    if gap:
        sys.stdout.write(f"\n{gap}\n")
    sys.stderr.write(
        f"Records are in {run}; `python -m evals.report {run} --out {run}/report.html` makes a page of them.\n"
    )


def _say_stopped(sitting: RunSession, folder: RunFolder, total: int) -> None:
    said = f"stopped: {sitting.ended.value}; {len(folder.scores)} of {total} records are in {folder.folder}"
    if sitting.ended is Ended.ERRORS:
        kinds = Counter(score.error for score in folder.scores.values() if score.error)
        said += f"; the last one: {sitting.last_error}; {len(kinds)} different ones. Mend it, then --retry-errors"
    if sitting.ended is Ended.MONEY:
        said += f"; US$ {folder.info.spent_usd:.4f} are spent. A higher --max-usd goes on"
    sys.stderr.write(f"evals.run: {said}. The same command goes on where this ended.\n")


if __name__ == "__main__":
    sys.exit(main())
