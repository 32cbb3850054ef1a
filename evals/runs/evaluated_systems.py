"""The systems that a run evaluates: opened once, shared by every strategy, shown pixels and nothing else."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from agents.chat_models.registry import LoadedModel, load_model
from agents.chat_models.spec import ModelOptions, find_jury, split_jury
from agents.fingerprint import asked_parts, combined_digest, digests
from agents.schemas import Answer
from agents.strategies import Strategy
from belief.parameters import Parameters
from core.errors import UserError
from core.files import sha256_if_readable
from evals import options
from evals.benchmarks.loading import Sample
from evals.benchmarks.registry import Benchmark
from evals.clean.protocol import CleanExclusion
from evals.runs.cost import BudgetedReplies, CostBudget, call_usd
from evals.runs.recording import EvalQuery, SystemDescription, answer_record, error_record
from evals.runs.records import EvalRecord, Protocol
from evals.runs.reply_cache import ReplyCache, calls_about_one_photo
from evals.runs.reply_recorder import ReplyRecorder, record_replies
from evals.runs.sample_selection import RunPhotos
from graphs.context import GeolocateContext
from graphs.nodes.investigate import offered_tools
from graphs.settings import Settings
from graphs.state import GeolocateState
from graphs.system import GeoSleuth
from retrieval.photos.photo import Photo, load_photo, name_sha256

BELIEF = "the parameters of the belief"
NEUTRAL_NAME = "photo"
"""The name of every photo of an evaluation: a file's own may name the place."""


@dataclass(frozen=True, kw_only=True)
class EvaluatedSystems:
    """The open systems of a run, one a strategy.

    Attributes:
        models: the chat model, or those of a jury.
        by_strategy: by strategy; they share models, atlases, encoder, and the vectors of photos.
        asked: by strategy, the text of each part of what it asks, by the part's name.
        exclusion: what searches do not see; None: nothing is hidden.
    """

    description: SystemDescription
    models: tuple[LoadedModel, ...]
    by_strategy: dict[str, GeoSleuth]
    asked: dict[str, dict[str, str]]
    exclusion: CleanExclusion | None
    budget: CostBudget

    @property
    def strategies(self) -> list[Strategy]:
        """The run's strategies, as data."""
        return [system.context.strategy for system in self.by_strategy.values()]

    @property
    def parameters(self) -> Parameters:
        """The posterior's, which all strategies share."""
        return next(iter(self.by_strategy.values())).context.parameters

    @property
    def have_paid_calls(self) -> bool:
        """Whether the run asks a model that may cost money."""
        is_served = any(model.kind.is_served for model in self.models)
        return is_served and any(strategy.uses_model for strategy in self.strategies)

    def locate(self, query: EvalQuery) -> EvalRecord:
        """Locate a photo, or the photos of a place, by one strategy. Safe between threads.

        Raises:
            PhotoError: the file cannot be used.
            MoneySpentError: a call of the model could exceed the limit.
        """
        system = self.by_strategy[query.strategy]
        photo, *more = _shown(query.sample)
        with system.photo_store.holding(photo, *more), calls_about_one_photo(), record_replies() as recorder:
            answer, belief = system.locate_with_belief(photo, more=more)
        excluded = self.exclusion.excluded(one.id for one in (photo, *more)) if self.exclusion else 0
        answer, replies = _at_list_price(answer, system.context, recorder), _replies(system.context, recorder)
        return answer_record(
            self.description,
            query,
            answer,
            belief,
            excluded,
            replies,
            unreachable=recorder.unreachable(),
            calls=recorder.calls(),
        )

    def error_record(self, query: EvalQuery, error: BaseException) -> EvalRecord:
        """The record of a query that raised."""
        path = query.sample.path
        sha256 = sha256_if_readable(path) if path else name_sha256(query.sample.photo)
        return error_record(self.description, query, sha256, error)


def _at_list_price(answer: Answer, context: GeolocateContext, recorder: ReplyRecorder) -> Answer:
    """The answer with what anybody else would pay for it; replies from the cache cost this run nothing."""
    is_jury = len(context.models) > 1
    usd = {model.name: recorder.list_usd(model.price, model.name if is_jury else None) for model in context.models}
    spent = answer.cost_by_model.items()
    by_model = {name: cost.model_copy(update={"usd": usd.get(name, 0.0)}) for name, cost in spent}
    cost = answer.cost.model_copy(update={"usd": math.fsum(usd.values())})
    return answer.model_copy(update={"cost": cost, "cost_by_model": by_model})


def _replies(context: GeolocateContext, recorder: ReplyRecorder) -> tuple[str, ...]:
    """What was replied, in an order without chance: samples, and models, are asked side by side."""
    if context.strategy.samples > 1:
        return tuple(sorted(recorder.texts()))
    if len(context.models) > 1:
        return tuple(text for model in context.models for text in recorder.texts(model.name))
    return recorder.texts()


@contextmanager
def open_systems(
    chosen: argparse.Namespace, settings: Settings, photos: RunPhotos, out: Path
) -> Iterator[EvaluatedSystems]:
    """Open the systems of a run, and the models that they share.

    Args:
        chosen: the command line: strategies, how the model is asked, the limit of money, the cache.
        photos: of the run, with what searches must not see.
        out: the run's folder: the cache knows by it what the run has spent.

    Raises:
        UserError: an unknown strategy or model, or something missing that the user can mend.
    """
    with ExitStack() as opened:
        models, budget = _open_models(chosen, settings, photos.data.benchmark, out, opened)
        first = opened.enter_context(
            GeoSleuth.open(settings, model=models, exclusion=photos.exclusion, at_once=chosen.concurrency)
        )
        others = {name: first.with_strategy(name) for name in options.strategies(chosen)[1:]}
        by_strategy = {settings.strategy: first, **others}
        asked = {name: _asked(system) for name, system in by_strategy.items()}
        description = SystemDescription(
            benchmark=photos.data.benchmark.name,
            protocol=Protocol.CLEAN if photos.exclusion else Protocol.PUBLISHED,
            model=first.context.versions.model,
            encoder=first.context.versions.encoder,
            asked={name: combined_digest(digests(parts)) for name, parts in asked.items()},
        )
        yield EvaluatedSystems(
            description=description,
            models=models,
            by_strategy=by_strategy,
            asked=asked,
            exclusion=photos.exclusion,
            budget=budget,
        )


def _asked(system: GeoSleuth) -> dict[str, str]:
    """What the system's strategy asks, and the belief that its answers are read off."""
    context, folder = system.context, system.settings.strategies_folder
    tools = offered_tools(context, cast(GeolocateState, {}))  # nobody says when a photo was taken
    parts = asked_parts(context.strategy, tools, context.model.options, folder.name if folder else "")
    kinds = [model.kind for model in context.models]
    pictures = ", ".join(f"{context.picture_px or kind.picture_px} px {kind.picture_detail or ''}" for kind in kinds)
    if not context.strategy.uses_model:
        return {**parts, BELIEF: context.parameters.model_dump_json()}
    return {**parts, "the size of pictures": pictures, BELIEF: context.parameters.model_dump_json()}


def _open_models(
    chosen: argparse.Namespace, settings: Settings, benchmark: Benchmark, out: Path, opened: ExitStack
) -> tuple[tuple[LoadedModel, ...], CostBudget]:
    """The models with their cache of replies, and the budget of all their calls."""
    asked = ModelOptions.chosen(
        timeout_s=chosen.timeout,
        max_retries=chosen.retries,
        concurrency=chosen.concurrency,
        temperature=chosen.temperature,
        max_output_tokens=chosen.max_output_tokens,
        prices=chosen.prices,
        load_s=settings.budgets.seconds,
        has_photos=benchmark.has_photos,
    )
    check_photos_suffice(benchmark, settings, options.strategies(chosen))
    recorded = next((model.name for model in find_jury(settings.model) if model.is_recorded), None)
    if chosen.together and recorded:
        raise UserError(f"{recorded} answers about one photo each: --together needs a model that is asked now")
    pasted = next((model.name for model in find_jury(settings.model) if model.needs_terminal), None)
    if pasted:
        raise UserError(f"the model {pasted} is for one photo at a terminal: use mailbox:FOLDER in evaluations")
    models = [load_model(spec, asked) for spec in split_jury(settings.model)]
    unknown = next((model.name for model in models if model.price is None), None)
    if chosen.max_usd is not None and unknown is not None:
        raise UserError(f"--max-usd needs to know what {unknown} costs: give its price with --prices")
    budget = CostBudget(chosen.max_usd)
    file = None if chosen.no_cache else chosen.cache or settings.home / "replies.sqlite"
    return tuple(_with_cache(model, file, budget, out, opened) for model in models), budget


def check_photos_suffice(benchmark: Benchmark, settings: Settings, strategies: Sequence[str]) -> None:
    """Refuse what cannot be done on a benchmark without photos.

    Raises:
        UserError: a model that would have to be shown a photo, or a strategy one of whose steps looks at its pixels.
    """
    if benchmark.has_photos:
        return
    live = [model.name for model in find_jury(settings.model) if not model.is_recorded]
    if live:
        raise UserError(
            f"the benchmark {benchmark.name} has no photos to show to {live[0]}: name recorded models,"
            " --model recorded:FILE"
        )
    looking = [name for name in strategies if settings.find_strategy(name).needs_pixels]
    if looking:
        raise UserError(
            f"the benchmark {benchmark.name} has no photos, and {looking[0]} looks at their pixels: use strategies that"
            " only ask, such as jury, zero_shot, chain_of_thought, self_consistency"
        )


def _with_cache(model: LoadedModel, file: Path | None, budget: CostBudget, out: Path, opened: ExitStack) -> LoadedModel:
    """A model whose replies are kept and charged, if it is one that is served."""
    if not model.kind.is_served:
        return model
    budget.assume(model.name, call_usd(model.price) or 0.0)
    cache = ReplyCache(file, model.usd, str(out.resolve()))
    opened.callback(cache.close)
    budget.start_from(cache.spent_usd())
    replies = BudgetedReplies(cache, budget, model.name)
    return load_model(model.name, model.options.model_copy(update={"cache": replies}))


def _shown(sample: Sample) -> list[Photo]:
    """The photos of a query, of several equal files one."""
    photos = [only_pixels(load_photo(one.path)) if one.path else Photo.by_name(one.photo) for one in sample.photos]
    return list({photo.sha256: photo for photo in photos}.values())


def only_pixels(photo: Photo) -> Photo:
    """The photo without its name and without the metadata of its file."""
    return replace(photo, name=NEUTRAL_NAME, metadata=None)
