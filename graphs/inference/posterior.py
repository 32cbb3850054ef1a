"""Where the photo may be, as a weighted set of positions; graphs/inference/choosing.py says which of them is answered.

The posterior is a mixture: each open hypothesis spreads its probability over
the retrieved candidates inside it and its own point; elsewhere spreads over
the other candidates and a coarse prior of where photos are taken. The answer
is the position of the mixture with the greatest expected utility, where the
utility of an error of d km is a sum of exponentials, sum of a_s * exp(-d / s):
the small scales reward being near, the largest is GeoScore's. Every number is
in graphs/inference/posterior.json, which `python -m evals.fitting.posterior_fit` writes.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.schemas import Frozen
from geo.sphere import distance_km, lat_lon_array
from graphs.inference.sight import SightParameters, default_sight
from retrieval.candidate import AtlasKind, Candidate

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

ELSEWHERE = -1
PRIOR = -2
"""Owners of a position that belongs to no hypothesis: a retrieved candidate, a position of the prior."""


@cache
def photo_prior() -> tuple[tuple[float, float, float], ...]:
    """Thirty-five cities weighted by how many photos of the web come from around them: set by hand, not fitted."""
    table = resources.files("graphs.inference").joinpath("photo_prior.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(table.splitlines())
    return tuple((float(row["lat"]), float(row["lon"]), float(row["weight"])) for row in rows)


class PosteriorParameters(Frozen):
    """Every number of the posterior and of the choice of a point."""

    fitted_on: str = Field(description="what the numbers were fitted on")
    temperature: dict[AtlasKind, float] = Field(description="cosine differences are divided by it, by kind of atlas")
    atlas_share: dict[AtlasKind, float] = Field(description="weight of a kind of atlas where both kinds answered")
    prior_share: float = Field(ge=0.0, le=1.0, description="share of the prior within elsewhere's probability")
    candidate_spread_km: dict[AtlasKind, float] = Field(
        description="how far from a candidate its photos lie, typically"
    )
    density_scale_km: float = Field(gt=0.0, description="kernel width when comparing retrieval with the prior")
    utility: dict[float, float] = Field(description="weight a_s of each scale s in km")
    prior_lat_lon_weight: tuple[tuple[float, float, float], ...] = Field(
        default_factory=photo_prior,
        description="where photos are taken, coarsely: degrees, degrees, weight; graphs/inference/photo_prior.csv",
    )

    sight: SightParameters = Field(
        default_factory=default_sight, description="what models' first readings are worth; graphs/inference/sight.json"
    )

    @property
    def prior_lat_lon_deg(self) -> Floats:
        """Positions (m, 2) of the prior, in degrees."""
        return np.array([row[:2] for row in self.prior_lat_lon_weight], dtype=np.float64).reshape(-1, 2)

    @property
    def prior_weights(self) -> Floats:
        """Weights (m,) of the prior, summing to 1."""
        weights = np.array([row[2] for row in self.prior_lat_lon_weight], dtype=np.float64)
        return np.asarray(weights / weights.sum())


@cache
def default_parameters() -> PosteriorParameters:
    """The parameters that come with the package."""
    text = resources.files("graphs.inference").joinpath("posterior.json").read_text(encoding="utf-8")
    return PosteriorParameters.model_validate_json(text)


class Support(NamedTuple):
    """The posterior: n positions with their weight, spread and owner.

    Attributes:
        lat_lon_deg: (n, 2).
        weight: (n,), summing to 1.
        spread_km: (n,), how far from the position the truth lies if this is the one.
        owner: (n,), index of the hypothesis in the list given, or ELSEWHERE, or PRIOR.
    """

    lat_lon_deg: Floats
    weight: Floats
    spread_km: Floats
    owner: Indices


def candidate_weights(candidates: Sequence[Candidate], parameters: PosteriorParameters) -> Floats:
    """Weights (n,) of candidates, summing to 1: a softmax of similarity within each kind of atlas, then a mix."""
    weights = np.zeros(len(candidates))
    kinds = [kind for kind in AtlasKind if any(c.kind is kind for c in candidates)]
    total_share = sum(parameters.atlas_share[kind] for kind in kinds)
    for kind in kinds:
        rows = np.array([i for i, c in enumerate(candidates) if c.kind is kind])
        similarity = np.array([candidates[i].similarity for i in rows])
        share = parameters.atlas_share[kind] / total_share
        weights[rows] = share * softmax(similarity / parameters.temperature[kind])
    return weights


def softmax(nats: Floats) -> Floats:
    """Exponentials (n,) normalised to sum 1."""
    scaled = np.exp(nats - nats.max())
    return np.asarray(scaled / scaled.sum())


def finest_containing(lat_lon_deg: Floats, centres_deg: Floats, radius_km: Floats) -> Indices:
    """For each of n positions, the hypothesis of least radius that contains it, or ELSEWHERE: shape (n,)."""
    if not len(centres_deg) or not len(lat_lon_deg):
        return np.full(len(lat_lon_deg), ELSEWHERE, dtype=np.intp)
    inside = distance_km(lat_lon_deg[:, None, :], centres_deg[None, :, :]) <= radius_km[None, :] + 1.0
    size = np.where(inside, radius_km[None, :], np.inf)
    return np.where(inside.any(axis=1), size.argmin(axis=1), ELSEWHERE).astype(np.intp)


def density(at: Floats, positions_deg: Floats, weights: Floats, scale_km: float) -> Floats:
    """Weight near each of k positions (k, 2): the sum of weights of (n, 2) positions fading with distance, (k,)."""
    return np.asarray(np.exp(-distance_km(at[:, None, :], positions_deg[None, :, :]) / scale_km) @ weights)


def positions(candidates: Sequence[Candidate]) -> Floats:
    """Positions (n, 2) of candidates, in degrees."""
    return lat_lon_array(c.point for c in candidates)
