"""The machine as an evaluation sees it: opened once, lent to every strategy, shown pixels and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agents.chat_models.registry import LoadedModel
from agents.strategies import Strategy
from evals.clean.perceptual_hash import file_sha256
from evals.clean.protocol import ReferenceHiding
from evals.runs.cost import Spending
from evals.runs.recording import Bench, Query, answered, broken
from evals.runs.records import Protocol, Record
from evals.runs.reply_cache import one_answer
from evals.runs.reply_recorder import listening
from graphs.inference.posterior import PosteriorParameters
from graphs.settings import Settings
from graphs.system import GeoSleuth
from retrieval.photos.photo import Photo, load_photo

NAMELESS = "photo"
"""The name of every photo of an evaluation: a file's own may say where it was taken."""


@dataclass(frozen=True, kw_only=True)
class Lab:
    """An open system for all strategies of a run. Close it, or use it as a context manager.

    Attributes:
        bench: what every record says of the system.
        sleuths: by strategy; they share model, atlases, encoder, and the vectors of photos.
        hiding: what searches do not see; None: nothing is hidden.
        spending: of the run.
    """

    bench: Bench
    sleuths: dict[str, GeoSleuth]
    hiding: ReferenceHiding | None
    spending: Spending

    @property
    def strategies(self) -> list[Strategy]:
        """The run's strategies, as data."""
        return [sleuth.bench.strategy for sleuth in self.sleuths.values()]

    @property
    def parameters(self) -> PosteriorParameters:
        """The posterior's, which all strategies share."""
        return next(iter(self.sleuths.values())).bench.parameters

    def locate(self, query: Query) -> Record:
        """Locate a photo by one strategy. Safe between threads.

        Raises:
            PhotoError: the file cannot be used.
            MoneySpentError: a call of the model could exceed the limit.
        """
        sleuth = self.sleuths[query.strategy]
        photo = only_pixels(load_photo(query.item.path))
        with sleuth.shelf.holding(photo), one_answer(), listening() as heard:
            answer = sleuth.locate(photo)
        # Replies from the cache cost this run nothing; the answer's price is what anybody else would pay for it.
        cost = answer.cost.model_copy(update={"usd": heard.list_usd(sleuth.bench.model.price)})
        answer = answer.model_copy(update={"cost": cost})
        # Samples are asked for side by side: which was first is chance, and chance has no place in a record.
        replies = tuple(sorted(heard.texts())) if sleuth.bench.strategy.samples > 1 else heard.texts()
        excluded = self.hiding.excluded(photo.id) if self.hiding else 0
        return answered(self.bench, query, answer, excluded, replies)

    def broken(self, query: Query, error: BaseException) -> Record:
        """The record of a query that raised."""
        return broken(self.bench, query, file_sha256(query.item.path), error)

    def close(self) -> None:
        """Let go of everything."""
        next(iter(self.sleuths.values())).close()


def open_lab(
    settings: Settings,
    strategies: Sequence[str],
    model: LoadedModel,
    *,
    benchmark: str,
    hiding: ReferenceHiding | None,
    spending: Spending,
) -> Lab:
    """Open the system of a run.

    Raises:
        UserError: an unknown strategy, or something missing that the user can mend.
    """
    first = GeoSleuth.open(settings.model_copy(update={"strategy": strategies[0]}), model=model, hiding=hiding)
    try:
        sleuths = {name: first if name == strategies[0] else first.with_strategy(name) for name in strategies}
    except BaseException:
        first.close()
        raise
    versions = first.bench.versions
    protocol = Protocol.CLEAN if hiding else Protocol.PUBLISHED
    bench = Bench(benchmark=benchmark, protocol=protocol, model=model.name, encoder=versions.encoder)
    return Lab(bench=bench, sleuths=sleuths, hiding=hiding, spending=spending)


def only_pixels(photo: Photo) -> Photo:
    """The photo without its name and without anything its file says about itself."""
    return replace(photo, name=NAMELESS, metadata=None)
