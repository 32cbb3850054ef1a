"""The systems that a run evaluates: opened once, shared by every strategy, shown pixels and nothing else."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from agents.chat_models.registry import LoadedModel, load_model
from agents.chat_models.spec import ModelOptions
from agents.strategies import Strategy
from core.errors import UserError
from core.files import sha256_if_readable
from evals import options
from evals.clean.protocol import CleanExclusion
from evals.runs.cost import BudgetedReplies, CostBudget, call_usd
from evals.runs.recording import EvalQuery, SystemDescription, answer_record, error_record
from evals.runs.records import EvalRecord, Protocol
from evals.runs.reply_cache import ReplyCache, calls_about_one_photo
from evals.runs.reply_recorder import record_replies
from evals.runs.sample_selection import RunPhotos
from graphs.inference.posterior import PosteriorParameters
from graphs.settings import Settings
from graphs.system import GeoSleuth
from retrieval.photos.photo import Photo, load_photo

NEUTRAL_NAME = "photo"
"""The name of every photo of an evaluation: a file's own may name the place."""


@dataclass(frozen=True, kw_only=True)
class EvaluatedSystems:
    """The open systems of a run, one a strategy.

    Attributes:
        by_strategy: by strategy; they share model, atlases, encoder, and the vectors of photos.
        exclusion: what searches do not see; None: nothing is hidden.
    """

    description: SystemDescription
    model: LoadedModel
    by_strategy: dict[str, GeoSleuth]
    exclusion: CleanExclusion | None
    budget: CostBudget

    @property
    def strategies(self) -> list[Strategy]:
        """The run's strategies, as data."""
        return [system.context.strategy for system in self.by_strategy.values()]

    @property
    def parameters(self) -> PosteriorParameters:
        """The posterior's, which all strategies share."""
        return next(iter(self.by_strategy.values())).context.parameters

    @property
    def have_paid_calls(self) -> bool:
        """Whether the run asks a model that may cost money."""
        return self.model.kind.is_served and any(strategy.uses_model for strategy in self.strategies)

    def locate(self, query: EvalQuery) -> EvalRecord:
        """Locate a photo by one strategy. Safe between threads.

        Raises:
            PhotoError: the file cannot be used.
            MoneySpentError: a call of the model could exceed the limit.
        """
        system = self.by_strategy[query.strategy]
        photo = only_pixels(load_photo(query.sample.path))
        with system.photo_store.holding(photo), calls_about_one_photo(), record_replies() as recorder:
            answer = system.locate(photo)
        # Replies from the cache cost this run nothing; the answer's price is what anybody else would pay for it.
        cost = answer.cost.model_copy(update={"usd": recorder.list_usd(system.context.model.price)})
        # Samples are asked for side by side: which was first is chance, and chance has no place in a record.
        replies = recorder.texts() if system.context.strategy.samples == 1 else tuple(sorted(recorder.texts()))
        excluded = self.exclusion.excluded(photo.id) if self.exclusion else 0
        return answer_record(self.description, query, answer.model_copy(update={"cost": cost}), excluded, replies)

    def error_record(self, query: EvalQuery, error: BaseException) -> EvalRecord:
        """The record of a query that raised."""
        return error_record(self.description, query, sha256_if_readable(query.sample.path), error)


@contextmanager
def open_systems(
    chosen: argparse.Namespace, settings: Settings, photos: RunPhotos, out: Path
) -> Iterator[EvaluatedSystems]:
    """Open the systems of a run, and the model that they share.

    Args:
        chosen: the command line: strategies, how the model is asked, the limit of money, the cache.
        photos: of the run, with what searches must not see.
        out: the run's folder: the cache knows by it what the run has spent.

    Raises:
        UserError: an unknown strategy or model, or something missing that the user can mend.
    """
    with ExitStack() as opened:
        model, budget = _open_model(chosen, settings, out, opened)
        first = opened.enter_context(GeoSleuth.open(settings, model=model, exclusion=photos.exclusion))
        others = {name: first.with_strategy(name) for name in options.strategies(chosen)[1:]}
        description = SystemDescription(
            benchmark=photos.data.benchmark.name,
            protocol=Protocol.CLEAN if photos.exclusion else Protocol.PUBLISHED,
            model=model.name,
            encoder=first.context.versions.encoder,
        )
        yield EvaluatedSystems(
            description=description,
            model=model,
            by_strategy={settings.strategy: first, **others},
            exclusion=photos.exclusion,
            budget=budget,
        )


def _open_model(
    chosen: argparse.Namespace, settings: Settings, out: Path, opened: ExitStack
) -> tuple[LoadedModel, CostBudget]:
    """The model with its cache of replies, and the budget of its calls."""
    asked = ModelOptions(
        timeout_s=chosen.timeout,
        max_retries=chosen.retries,
        concurrency=chosen.concurrency,
        temperature=chosen.temperature,
        max_output_tokens=chosen.max_output_tokens,
        prices=chosen.prices,
    )
    model = load_model(settings.model, asked)
    if chosen.max_usd is not None and model.price is None:
        raise UserError(f"--max-usd needs to know what {settings.model} costs: give its price with --prices")
    budget = CostBudget(chosen.max_usd, assumed_usd=call_usd(model.price) or 0.0)
    if not model.kind.is_served:
        return model, budget
    file = None if chosen.no_cache else chosen.cache or settings.home / "replies.sqlite"
    cache = ReplyCache(file, model.usd, str(out.resolve()))
    opened.callback(cache.close)
    budget.start_from(cache.spent_usd())
    replies = BudgetedReplies(cache, budget)
    return load_model(settings.model, model.options.model_copy(update={"cache": replies})), budget


def only_pixels(photo: Photo) -> Photo:
    """The photo without its name and without the metadata of its file."""
    return replace(photo, name=NEUTRAL_NAME, metadata=None)
