"""What a model's first reading of a picture is worth: how far the places it names lie from the truth.

A model's words are evidence only as far as its record shows. `sight.json` holds, for a few models and for
any other, the share of photos whose true place lies within rings around the place the model gave first, and how
often a photo from anywhere lies there. `python -m benchmarks.accuracy.recorded_ledger fit` measured both on calibration
photos. From that, a reading is a distribution over the Earth: `SightReading` says how much of it a hypothesis
holds, and how much likelier than usual it makes a position.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from agents.schemas import Frozen, Hypothesis
from core.files import read_model
from geo.sphere import HALF_CIRCUMFERENCE_KM, distance_km, lat_lon_array
from graphs.state import Position

Floats = NDArray[np.float64]

RINGS_KM = (25.0, 200.0, 750.0, 2500.0, HALF_CIRCUMFERENCE_KM)
"""Outer edges of the rings; the usual thresholds of geolocation."""

_KNOTS_LOG_KM = np.log([10.0, 70.0, 390.0, 1370.0, 6000.0])
"""Where between its edges a ring's value is taken to hold; between these it is interpolated in log distance."""

MIN_LEFT = 0.02
"""Elsewhere always keeps a share: no reading is beyond doubt."""

ANY_MODEL = "any"

Rings = tuple[float, float, float, float, float]


class SightRecord(Frozen):
    """How far a model's positions lie from the truth, and how well it reads what tools show it."""

    fitted_on: str
    share: Rings = Field(description="of photos whose truth lies in each ring around the model's position; sums to 1")
    judgement_accuracy: float | None = Field(
        None,
        gt=0.0,
        lt=1.0,
        description="balanced accuracy of saying that a tool's result fits a place; None: not measured",
    )

    @model_validator(mode="after")
    def _is_distribution(self) -> Self:
        if min(self.share) <= 0.0 or abs(sum(self.share) - 1.0) > 1e-6:
            raise ValueError("shares must be above 0 and sum to 1")
        return self

    @property
    def judgement_nats(self) -> float:
        """The most that one of its judgements may weigh in nats: the log-odds of its accuracy, nothing below half."""
        right = self.judgement_accuracy
        return math.inf if right is None else max(0.0, math.log(right / (1.0 - right)))


class SightParameters(Frozen):
    """Records of models, by a part of their name, and what is usual."""

    usual_share: Rings = Field(description="of photos from anywhere in each ring around a model's position; sums to 1")
    models: dict[str, SightRecord]

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if min(self.usual_share) <= 0.0 or abs(sum(self.usual_share) - 1.0) > 1e-6:
            raise ValueError("usual shares must be above 0 and sum to 1")
        if ANY_MODEL not in self.models:
            raise ValueError(f"a record for models without one of their own is missing: {ANY_MODEL!r}")
        return self

    def of(self, model: str) -> SightRecord:
        """The record of the model whose name holds the longest known part, or any model's."""
        known = sorted((part for part in self.models if part in model), key=len)
        return self.models[known[-1] if known else ANY_MODEL]


@cache
def default_sight() -> SightParameters:
    """The parameters that come with the package."""
    text = resources.files("graphs.inference").joinpath("sight.json").read_text(encoding="utf-8")
    return SightParameters.model_validate(json.loads(text))


def load_sight(path: Path) -> SightParameters:
    """Records from a file, such as `python -m evals.model_record` writes.

    Raises:
        UserError: no such file, or not records.
    """
    return read_model(path, SightParameters, "file of model records", "make it with `python -m evals.model_record`")


class SightReading(NamedTuple):
    """A first reading: positions (n, 2) in degrees with weights (n,) that sum to 1, and how far to trust them."""

    lat_lon_deg: Floats
    weight: Floats
    share: Rings
    usual_share: Rings

    def ratio(self, lat_lon_deg: ArrayLike) -> Floats:
        """How much likelier than usual each position (k, 2) is by this reading: shape (k,), about 1 on average."""
        away = distance_km(np.asarray(lat_lon_deg)[:, None, :], self.lat_lon_deg[None, :, :])
        return np.asarray(self._ratio_at(away) @ self.weight)

    def _ratio_at(self, away_km: Floats) -> Floats:
        nats = np.log(np.asarray(self.share) / np.asarray(self.usual_share))
        return np.asarray(np.exp(np.interp(np.log(np.maximum(away_km, 1.0)), _KNOTS_LOG_KM, nats)))

    def held(self, hypotheses: Sequence[Hypothesis], prior: float) -> Floats:
        """Share of the reading's probability that each of n hypotheses holds, (n,).

        Around a read position a hypothesis holds what lies within its radius, less what a finer one there holds; any
        other holds its prior, made likelier or less likely by how far it is.
        """
        mass = np.zeros(len(hypotheses))
        if hypotheses:
            away = distance_km(self.lat_lon_deg[:, None, :], lat_lon_array(h.point for h in hypotheses)[None, :, :])
            radius_km = np.array([max(1.0, h.radius_km) for h in hypotheses])
            for weight, away_km in zip(self.weight, away, strict=True):
                mass += weight * self._held_around(away_km, radius_km, prior)
        return mass

    def _held_around(self, away_km: Floats, radius_km: Floats, prior: float) -> Floats:
        held = prior * self._ratio_at(away_km)
        around = sorted(np.flatnonzero(away_km <= radius_km).tolist(), key=lambda i: radius_km[i])
        reached = [0.0, *(self.within(radius_km[i]) for i in around)]
        for i, (inner, outer) in zip(around, pairwise(reached), strict=True):
            held[i] = outer - inner
        return held

    def within(self, radius_km: float) -> float:
        """Probability that the truth lies within a radius of a read position."""
        edges = np.log([1.0, *RINGS_KM])
        reached = np.concatenate([[0.0], np.cumsum(self.share)])
        return float(np.interp(np.log(max(radius_km, 1.0)), edges, reached))

    def radius_km(self, share: float) -> float:
        """Radius around a read position that holds a share of the probability."""
        edges = np.log([1.0, *RINGS_KM])
        return float(np.exp(np.interp(share, np.concatenate([[0.0], np.cumsum(self.share)]), edges)))


def said_weights(confidences: Sequence[float | None]) -> Floats:
    """Weights (n,) of the places of a reading, summing to 1: the model's confidences, or 1, 1/2, 1/3, ... without."""
    said = [1.0 / (rank + 1) if own is None else max(own, 1e-3) for rank, own in enumerate(confidences)]
    return np.array(said) / sum(said)


def sight_reading(positions: Sequence[Position], model: str, parameters: SightParameters) -> SightReading | None:
    """The reading that a model's first positions make; None where it gave none.

    Several positions share the weight as `said_weights` has it.
    """
    if not positions:
        return None
    weight = said_weights([position.confidence for position in positions])
    record = parameters.of(model)
    return SightReading(lat_lon_array(p.point for p in positions), weight, record.share, parameters.usual_share)
