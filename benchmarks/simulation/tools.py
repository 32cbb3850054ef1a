"""Tools of the simulation: a search that is right at a known rate, and pictures that no model looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from benchmarks.simulation.error_model import ErrorModel, Rates
from geo.point import Point
from geo.sphere import destination, point_distance_km
from geo.tiles import km_per_pixel
from retrieval.candidate import AtlasKind, Candidate
from tools.results import Box, Circle
from tools.services.imagery import BundledImagery, ImageryView

FOUND = 20
TOGETHER = 10
TOGETHER_KM = 15.0
SIMILARITIES = tuple(0.9 - 0.005 * rank if rank < TOGETHER else 0.0 for rank in range(FOUND))
OTHER_SEED = 1
"""Retrieval's luck is not the model's."""


@dataclass(frozen=True)
class KnownRetrieval:
    """Half of what it finds lies together: at the right place at the known rate, else at a wrong one.

    Attributes:
        right: how often what lies together is the right place.
        truth: where each photo was taken, by photo id.
    """

    right: float
    truth: Mapping[str, Point]

    def candidates(
        self, photo_id: str, _box: Box | None, near: Circle | None, limit: int, _more: Sequence[str] = ()
    ) -> tuple[Candidate, ...]:
        """Candidates for a photo; a crop finds the same as the whole."""
        found = self._found(photo_id)
        if near is not None:
            found = [point for point in found if point_distance_km(point, near.centre) <= near.radius_km]
        return tuple(_candidate(rank, point) for rank, point in enumerate(found[:limit]))

    def _found(self, photo_id: str) -> list[Point]:
        errors = ErrorModel(
            Rates(first=self.right, listed=self.right, guesses=FOUND - TOGETHER + 1), self.truth, OTHER_SEED
        )
        first, *others = [guess.point for guess in errors.guesses(photo_id)]
        together = [destination(first, 137.5 * i, TOGETHER_KM * i / FOUND) for i in range(TOGETHER)]
        return [*together, *others]


def _candidate(rank: int, point: Point) -> Candidate:
    return Candidate(
        point=point,
        similarity=SIMILARITIES[rank],
        atlas="known",
        kind=AtlasKind.PHOTO,
        item_id=str(rank),
        rank=rank,
    )


class GreyImagery:
    """Grey pictures in place of the bundled map: the script cannot see, and drawing is most of a look's time."""

    zooms: ClassVar[range] = BundledImagery.zooms

    def view(self, _: Point, zoom: int, size_px: int) -> ImageryView:
        """A picture of the right size."""
        grey = np.full((size_px, size_px, 3), 127, dtype=np.uint8)
        return ImageryView(grey, km_per_pixel(0.0, zoom), km_per_pixel(0.0, zoom), "grey", "none")

    def view_of_width(self, point: Point, _: float, size_px: int) -> ImageryView:
        """The same at any width."""
        return self.view(point, self.zooms[-1], size_px)
