"""The machine as an evaluation sees it: opened once, lent to every strategy, shown pixels and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agents.chat_models.registry import LoadedModel
from agents.strategies import Strategy
from core.files import sha256_if_readable
from evals.clean.protocol import CleanExclusion
from evals.runs.cost import CostBudget
from evals.runs.recording import EvalQuery, SystemDescription, answered, broken
from evals.runs.records import EvalRecord, Protocol
from evals.runs.reply_cache import one_answer
from evals.runs.reply_recorder import listening
from graphs.inference.posterior import PosteriorParameters
from graphs.settings import Settings
from graphs.system import GeoSleuth
from retrieval.photos.photo import Photo, load_photo

NAMELESS = "photo"
"""The name of every photo of an evaluation: a file's own may say where it was taken."""


@dataclass(frozen=True, kw_only=True)
class EvaluatedSystems:
    """An open system for all strategies of a run. Close it, or use it as a context manager.

    Attributes:
        description: what every record says of the system.
        by_strategy: by strategy; they share model, atlases, encoder, and the vectors of photos.
        exclusion: what searches do not see; None: nothing is hidden.
        cost_budget: of the run.
    """

    description: SystemDescription
    by_strategy: dict[str, GeoSleuth]
    exclusion: CleanExclusion | None
    cost_budget: CostBudget

    @property
    def strategies(self) -> list[Strategy]:
        """The run's strategies, as data."""
        return [system.context.strategy for system in self.by_strategy.values()]

    @property
    def parameters(self) -> PosteriorParameters:
        """The posterior's, which all strategies share."""
        return next(iter(self.by_strategy.values())).context.parameters

    def locate(self, query: EvalQuery) -> EvalRecord:
        """Locate a photo by one strategy. Safe between threads.

        Raises:
            PhotoError: the file cannot be used.
            MoneySpentError: a call of the model could exceed the limit.
        """
        system = self.by_strategy[query.strategy]
        photo = only_pixels(load_photo(query.item.path))
        with system.photo_store.holding(photo), one_answer(), listening() as heard:
            answer = system.locate(photo)
        # Replies from the cache cost this run nothing; the answer's price is what anybody else would pay for it.
        cost = answer.cost.model_copy(update={"usd": heard.list_usd(system.context.model.price)})
        answer = answer.model_copy(update={"cost": cost})
        # Samples are asked for side by side: which was first is chance, and chance has no place in a record.
        replies = tuple(sorted(heard.texts())) if system.context.strategy.samples > 1 else heard.texts()
        excluded = self.exclusion.excluded(photo.id) if self.exclusion else 0
        return answered(self.description, query, answer, excluded, replies)

    def broken(self, query: EvalQuery, error: BaseException) -> EvalRecord:
        """The record of a query that raised."""
        return broken(self.description, query, sha256_if_readable(query.item.path), error)

    def close(self) -> None:
        """Let go of everything."""
        next(iter(self.by_strategy.values())).close()


def open_evaluated_systems(
    settings: Settings,
    strategies: Sequence[str],
    model: LoadedModel,
    *,
    benchmark: str,
    exclusion: CleanExclusion | None,
    cost_budget: CostBudget,
) -> EvaluatedSystems:
    """Open the system of a run.

    Raises:
        UserError: an unknown strategy, or something missing that the user can mend.
    """
    first = GeoSleuth.open(settings.model_copy(update={"strategy": strategies[0]}), model=model, exclusion=exclusion)
    try:
        by_strategy = {name: first if name == strategies[0] else first.with_strategy(name) for name in strategies}
    except BaseException:
        first.close()
        raise
    versions = first.context.versions
    protocol = Protocol.CLEAN if exclusion else Protocol.PUBLISHED
    description = SystemDescription(benchmark=benchmark, protocol=protocol, model=model.name, encoder=versions.encoder)
    return EvaluatedSystems(
        description=description, by_strategy=by_strategy, exclusion=exclusion, cost_budget=cost_budget
    )


def only_pixels(photo: Photo) -> Photo:
    """The photo without its name and without anything its file says about itself."""
    return replace(photo, name=NAMELESS, metadata=None)
