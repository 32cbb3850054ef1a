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
from evals.benchmarks.loading import Holding, Item, load_benchmark
from evals.benchmarks.registry import find_benchmark
from evals.clean.gap import beside_published
from evals.clean.perceptual_hash import glances
from evals.clean.protocol import (
    ReferenceHiding,
    check_known,
    describe,
    flags,
    hide_references,
    read_reference_table,
    references,
)
from evals.runs import sample_selection
from evals.runs.cost import Spending, call_usd, estimate, told
from evals.runs.evaluated_systems import Lab, open_lab
from evals.runs.folder import RunFolder, now
from evals.runs.progress import RunProgress
from evals.runs.recording import Query
from evals.runs.records import Flag, Outcome, Partial, PlaceNames, Protocol, RunInfo
from evals.runs.reply_cache import ReplyCache
from evals.runs.runner import Ended, Sitting, Work, photo_by_photo, run_queries
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

FREE_KINDS = {"offline", "recorded"}
"""Models that answer at once and for nothing: their replies need no cache."""
EXIT = {Ended.COMPLETE: 0, Ended.MONEY: 1, Ended.ERRORS: 1, Ended.INTERRUPTED: 130}


class Photos(NamedTuple):
    """The photos of a run, and what only the scorer knows of them; rows correspond."""

    holding: Holding
    items: Sequence[Item]
    places: Sequence[PlaceNames | None]
    flags: Sequence[tuple[Flag, ...]]
    partial: Partial | None
    hiding: ReferenceHiding | None
    hidden: str


class Ready(NamedTuple):
    """A run that can start."""

    chosen: argparse.Namespace
    settings: Settings
    photos: Photos
    model: LoadedModel
    lab: Lab
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
        return 0 if chosen.estimate else EXIT[sit(ready, opened).ended]


def prepare(chosen: argparse.Namespace, opened: ExitStack) -> Ready:
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
    spending, model = _model(chosen, settings, out, opened)
    name = photos.holding.benchmark.name
    lab = open_lab(settings, strategies, model, benchmark=name, hiding=photos.hiding, spending=spending)
    opened.callback(lab.close)
    return Ready(chosen, settings, photos, model, lab, out)


def sit(ready: Ready, opened: ExitStack) -> Sitting:
    """Do what is not done yet, and say what came of it.

    Raises:
        UserError: the folder holds another run, or cannot be written.
    """
    chosen, lab = ready.chosen, ready.lab
    folder = opened.enter_context(RunFolder(ready.out, _info(ready)))
    lab.spending.start_from(folder.info.spent_usd)
    if chosen.retry_errors:
        folder.forget(lambda record: record.status is Outcome.ERROR)
    queries = list(photo_by_photo(lab.sleuths, lambda strategy: _queries(strategy, ready.photos)))
    work = Work(lab.locate, lab.broken, lambda: lab.spending.spent_usd)
    with RunProgress(len(queries), folder.scores.values(), work.spent_usd) as progress:
        sitting = run_queries(
            queries, work, folder, progress, concurrency=chosen.concurrency, max_errors=chosen.max_errors
        )
    if sitting.ended is Ended.COMPLETE:
        folder.finish([query.key for query in queries], lab.spending.spent_usd)
        _say_results(folder.folder)
    else:
        _say_stopped(sitting, folder, len(queries))
    return sitting


def _photos(chosen: argparse.Namespace, settings: Settings, protocol: Protocol) -> Photos:
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
    seen = glances([item.path for item in items], settings.threads)
    hiding, hidden = None, ""
    if protocol is Protocol.CLEAN:
        table = read_reference_table(chosen.reference_table) if chosen.reference_table else {}
        stored = list(_stored(settings))
        known = references(stored, table)
        check_known(known, settings.atlases)
        hiding = hide_references(items, seen, known, chosen.twin_similarity)
        hidden = describe(items, known, hiding)
    return Photos(holding, items, places, flags(items, seen), partial, hiding, hidden)


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
) -> tuple[Spending, LoadedModel]:
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
    spending = Spending(chosen.max_usd, assumed_usd=call_usd(price) or 0.0)
    if settings.model.partition(":")[0] in FREE_KINDS:
        return spending, priced
    file = None if chosen.no_cache else chosen.cache or settings.home / "replies.sqlite"
    cache = ReplyCache(file, spending, priced.usd, str(out.resolve()))
    opened.callback(cache.close)
    spending.start_from(cache.spent_usd())
    return spending, load_model(settings.model, bare.model_copy(update={"cache": cache}))


def _say_estimate(ready: Ready) -> None:
    lab, model = ready.lab, ready.model
    if any(strategy.uses_model for strategy in lab.strategies) and model.name.partition(":")[0] not in FREE_KINDS:
        estimates = estimate(lab.strategies, model.name, model.price, ready.out.parent)
        sys.stderr.write(told(estimates, dict.fromkeys(lab.sleuths, len(ready.photos.items))) + "\n")


def _info(ready: Ready) -> RunInfo:
    chosen, settings, lab, photos = ready.chosen, ready.settings, ready.lab, ready.photos
    benchmark = photos.holding.benchmark
    return RunInfo(
        benchmark=benchmark.name,
        protocol=lab.bench.protocol,
        strategies=tuple(lab.sleuths),
        model=lab.bench.model,
        encoder=lab.bench.encoder,
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
        posterior=parameters_digest(lab.parameters, lab.bench.model),
        commit=sample_selection.commit(),
        versions=sample_selection.versions(),
        citation=benchmark.citation,
        licence=benchmark.licence,
        started_at=now(),
        excluded_reference=photos.hidden,
    )


def _queries(strategy: str, photos: Photos) -> list[Query]:
    rows = zip(photos.items, photos.places, photos.flags, strict=True)
    return [Query(item=item, strategy=strategy, truth_place=place, flags=odd) for item, place, odd in rows]


def _say_results(run: Path) -> None:
    systems = load_systems([run])
    sys.stdout.write(markdown(accuracy_table([score(system) for system in systems])) + "\n")
    gap = beside_published(run)
    if gap:
        sys.stdout.write(f"\n{gap}\n")
    sys.stderr.write(
        f"Records are in {run}; `python -m evals.report {run} --out {run}/report.html` makes a page of them.\n"
    )


def _say_stopped(sitting: Sitting, folder: RunFolder, total: int) -> None:
    said = f"stopped: {sitting.ended.value}; {len(folder.scores)} of {total} records are in {folder.folder}"
    if sitting.ended is Ended.ERRORS:
        kinds = Counter(score.error for score in folder.scores.values() if score.error)
        said += f"; the last one: {sitting.last_error}; {len(kinds)} different ones. Mend it, then --retry-errors"
    if sitting.ended is Ended.MONEY:
        said += f"; US$ {folder.info.spent_usd:.4f} are spent. A higher --max-usd goes on"
    sys.stderr.write(f"evals.run: {said}. The same command goes on where this ended.\n")


if __name__ == "__main__":
    sys.exit(main())
