"""The context of a run: models, tools, data and settings that the nodes use beside the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from langchain_core.tools import BaseTool

from agents.chat_models.registry import LoadedModel
from agents.messages import image_block
from agents.schemas import Versions
from agents.strategies import Step, Strategy
from belief.decision import Aim
from belief.parameters import Parameters
from belief.witnesses.retrieval import candidate_weights
from belief.witnesses.satellite import Covers
from geo.place import Place
from geo.point import Point
from geo.sphere import Floats
from graphs.assessment.calibration import Corrections
from graphs.budgets import Budgets
from retrieval.candidate import Candidate, Region
from retrieval.photos.store import PhotoStore
from retrieval.photos.together import MOST_TOGETHER
from tools.services.tile_matching import TilePicture

Places = Callable[[Sequence[Point]], Sequence[Place | None]]
"""A function from points to the populated place nearest to each; None far from any."""

CountryCodes = Callable[[Floats], Sequence[str | None]]
"""A function from positions (n, 2) in degrees to the ISO 3166-1 alpha-2 code of the country of each."""

Dissimilar = Callable[[Sequence[str], int], Sequence[Candidate]]
"""A function from the ids of photos of one place and a number n to the n least similar items of each atlas."""

SEARCH_TOOL = "search_photos"
"""The tool that retrieves; there is none without an atlas."""

Clusterer = Callable[[Sequence[Candidate]], Sequence[Region]]
"""A function from candidates to their regions, the best first."""


def nothing_dissimilar(_photo_ids: Sequence[str], _limit: int) -> Sequence[Candidate]:
    """The least similar items where no atlas is open."""
    return ()


@dataclass(frozen=True, kw_only=True)
class GeolocateContext:
    """Models, tools, data and settings of a run.

    Attributes:
        models: the chat models: each gives a first reading, and the first one investigates and revises.
        tools: by name; the model may call those that the strategy offers. Without an atlas none searches one.
        photo_store: where the tools find the photo.
        places: names positions; offline and fast.
        country_codes: countries of many positions at once.
        cluster: the geographic reranker.
        dissimilar: the least similar items, for strategies that contrast.
        strategy: which steps run.
        budgets: what a run may spend.
        parameters: of the belief.
        aim: what the point is chosen for (`belief.decision.AIMS`).
        min_confidence: the machine abstains where the chance within the wanted distance is less.
        read_signs: whether to read the text in the photo.
        recall_limit: candidates asked of each atlas.
        versions: what an answer says it was made with.
        corrections: the calibration that was fitted for this system, if any.
        match: compares the photo with tiles of a satellite atlas; None where none is open.
        tile_covers: which positions lie on one of its tiles; None where none is open.
        tile_picture: pictures of its tiles, for the answer; None where they are not at hand.
        picture_px: long side of the photo that models are shown; None: as each model's provider has it.
    """

    models: tuple[LoadedModel, ...]
    tools: Mapping[str, BaseTool]
    photo_store: PhotoStore
    places: Places
    country_codes: CountryCodes
    cluster: Clusterer
    dissimilar: Dissimilar
    strategy: Strategy
    budgets: Budgets
    parameters: Parameters
    aim: Aim
    min_confidence: float
    read_signs: bool
    recall_limit: int
    versions: Versions
    corrections: Corrections = Corrections()  # noqa: RUF009 - immutable
    match: BaseTool | None = None
    tile_covers: Covers | None = None
    tile_picture: TilePicture | None = None
    picture_px: int | None = None

    @property
    def model(self) -> LoadedModel:
        """The chat model that investigates: of a jury the first."""
        return self.models[0]

    @property
    def retrieves(self) -> bool:
        """Whether similar places are retrieved: the strategy does so, and there is an atlas to search."""
        return self.strategy.runs(Step.RECALL) and SEARCH_TOOL in self.tools

    @property
    def matches(self) -> bool:
        """Whether the photo is compared with satellite tiles: there are some, and the belief chooses the point."""
        return self.match is not None and self.strategy.commits_by_belief

    @property
    def judgement_accuracy(self) -> float:
        """How often the model that investigates is right about what a tool's result says of a place."""
        measured = self.parameters.records.of(self.model.name).judgement_accuracy
        return self.parameters.judgement_accuracy if measured is None else measured

    @property
    def judgement_correlation(self) -> float:
        """How alike its errors about one place are; where that was not measured, as alike as several models'."""
        measured = self.parameters.records.of(self.model.name).judgement_correlation
        return self.parameters.agreement.correlation if measured is None else measured

    def candidate_weights(self, candidates: Sequence[Candidate]) -> Floats:
        """Weights (n,) of retrieved candidates, summing to 1."""
        return candidate_weights(candidates, self.parameters, self.versions.encoder)

    def image(self, photo_id: str, model: LoadedModel | None = None) -> dict[str, Any] | None:
        """The photo as a content block for a model (None: the one that investigates); None where it has no pixels."""
        shown_to = (model or self.model).kind
        return _image(self.photo_store, photo_id, self.picture_px or shown_to.picture_px, shown_to.picture_detail)

    def countries(self, points: Sequence[Point]) -> list[str | None]:
        """Country code at each point; None far from any place."""
        return [place.country_code if place else None for place in self.places(points)]


@lru_cache(maxsize=4 * MOST_TOGETHER)
def _image(photo_store: PhotoStore, photo_id: str, long_side_px: int, detail: str | None) -> dict[str, Any] | None:
    """The encoded photo, cached: it takes up to 0.2 s, and a run needs it several times, the models of a jury each."""
    photo = photo_store.get(photo_id)
    return image_block(photo.scaled(long_side_px), long_side_px, detail) if photo.has_pixels else None
