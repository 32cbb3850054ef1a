"""The errors of a scripted LMM: what it proposes for a photo, and how well it reads what tools return.

This is a simulation. The error model knows where each photo was taken and makes mistakes at known rates, drawn from a
seed, the photo and what is being decided, and from nothing else: every strategy meets the same guesses and the same
readings, in any order and on any number of threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np

from evals.fitting.judgements import RIGHT_WITHIN_KM
from geo.places.gazetteer import Gazetteer, PlaceCoordinates
from geo.point import Point
from geo.sphere import destination, distance_km, point_distance_km

DECOYS = 2_000
"""Wrong places are drawn from the most populous of the world, where LMMs guess, too."""


class Guess(NamedTuple):
    """A place that the model thinks of, and whether it is the right one."""

    name: str
    point: Point
    right: bool


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How often a scripted LMM is right.

    Attributes:
        first: probability that its first guess is right.
        listed: probability that the right place is among its guesses at all; at least `first`.
        reading: probability that it reads a tool's result rightly: 0.5 is a coin, 1 never errs.
        noise_km: median distance of a right guess from the truth.
        guesses: distinct places it thinks of for a photo.
        keeps_score: whether it adds up its readings, or believes the last one.
        small_signs: share of photos with a sign that names the place and can be read only enlarged.
    """

    first: float = 0.35
    listed: float = 0.65
    reading: float = 0.8
    noise_km: float = 20.0
    guesses: int = 4
    keeps_score: bool = True
    small_signs: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.first <= self.listed <= 1.0 or not 0.0 <= self.reading <= 1.0 or self.guesses < 2:
            raise ValueError(f"rates need 0 ≤ first ≤ listed ≤ 1, 0 ≤ reading ≤ 1, at least 2 guesses: {self}")

    def but(self, **changed: float | bool) -> Rates:
        """These rates with some changed."""
        return replace(self, **changed)  # type: ignore[arg-type]  # replace() checks the names at run time


@dataclass(frozen=True)
class ErrorModel:
    """The guesses and readings of a scripted LMM, right and wrong at known rates.

    Attributes:
        rates: how often it is right.
        truth: where each photo was taken, by photo id.
        seed: of all its mistakes.
    """

    rates: Rates
    truth: Mapping[str, Point]
    seed: int = 0

    def guesses(self, photo_id: str) -> list[Guess]:
        """Distinct places for a photo, the likeliest first; always the same for the same photo."""
        rng = self._rng("guesses", photo_id)
        luck = rng.random()
        places = self._decoys(photo_id, rng)
        if luck < self.rates.listed:
            rank = 0 if luck < self.rates.first else int(rng.integers(1, self.rates.guesses))
            places[rank] = Guess("the right place", self._near(self.truth[photo_id], rng), True)
        return places

    def closer_guesses(self, photo_id: str) -> list[Guess]:
        """Its guesses once it has seen the photo's parts enlarged: a sign that it reads rightly names the place."""
        guesses, rng = self.guesses(photo_id), self._rng("sign", photo_id)
        if rng.random() >= self.rates.small_signs or not self._reads_rightly(photo_id, "the sign"):
            return guesses
        named = Guess("the place on the sign", self._near(self.truth[photo_id], rng), True)
        return [named, *(guess for guess in guesses if not guess.right)][: self.rates.guesses]

    def fits(self, photo_id: str, point: Point, result: str) -> bool:
        """Whether a tool's result seems to show that the photo was taken around a point.

        Args:
            photo_id: of the photo.
            point: the hypothesis that the result is about.
            result: names the result, such as tool and arguments; the same result is always read the same way.
        """
        right = point_distance_km(point, self.truth[photo_id]) <= RIGHT_WITHIN_KM
        return right == self._reads_rightly(photo_id, f"{point.lat:.3f} {point.lon:.3f} {result}")

    def recognised(self, photo_id: str, shown: Sequence[Point]) -> Point | None:
        """Which of the places it was shown it takes for the photo's, if it believes one of them."""
        if not shown:
            return None
        truth = self.truth[photo_id]
        nearest = min(shown, key=lambda point: point_distance_km(point, truth))
        there = point_distance_km(nearest, truth) <= RIGHT_WITHIN_KM
        if self._reads_rightly(photo_id, "the places it was shown"):
            return nearest if there else None
        return shown[int(self._rng("misread", photo_id).integers(len(shown)))]

    def _reads_rightly(self, photo_id: str, what: str) -> bool:
        return bool(self._rng("reading", photo_id, what).random() < self.rates.reading)

    def _decoys(self, photo_id: str, rng: np.random.Generator) -> list[Guess]:
        """Wrong places, all of them farther than the right one may be, and from one another."""
        taken = [self.truth[photo_id]]
        found: list[Guess] = []
        places = _places()
        for row in rng.permutation(DECOYS):
            lat, lon = (float(degrees) for degrees in places.lat_lon_deg[row])
            away_km = distance_km((lat, lon), np.array([[point.lat, point.lon] for point in taken]))
            if float(away_km.min()) > 3 * RIGHT_WITHIN_KM:
                taken.append(Point(lat=lat, lon=lon))
                found.append(Guess(f"place {places.ids[row]}", taken[-1], False))
            if len(found) == self.rates.guesses:
                break
        return found

    def _near(self, truth: Point, rng: np.random.Generator) -> Point:
        """A point around the truth: log-normal distance, uniform bearing."""
        away_km = min(RIGHT_WITHIN_KM * 0.9, self.rates.noise_km * float(np.exp(rng.normal())))
        return destination(truth, float(rng.uniform(0.0, 360.0)), away_km)

    def _rng(self, *key: str) -> np.random.Generator:
        digest = hashlib.sha256("\0".join([str(self.seed), *key]).encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big"))


@cache
def _places() -> PlaceCoordinates:
    return Gazetteer().coordinates()
