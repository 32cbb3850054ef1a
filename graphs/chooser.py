"""A learned choice among the positions that a run came to: retrieved places, hypotheses, and the machine's own choice.

Each position gets a few features (how much of what was retrieved lies around it at several scales, the best rank
near it, how far the hypotheses and the machine's own choice agree, how many photos are taken around there) and a
score, their weighted sum. The position with the greatest score is answered. `python -m evals.chooser_fit` fits the
weights on photos whose place is known; docs/scoring.md says what it gains.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from agents.schemas import Frozen
from geo.errors import UserError
from geo.sphere import Floats, distance_km
from graphs.calibration import Subject, told_difference
from graphs.fitted_files import read_fitted
from graphs.posterior import PosteriorParameters, density
from retrieval.candidate import AtlasKind
from retrieval.regions import vote_weights

CANDIDATES_OF_EACH_ATLAS = 20
"""As many as records keep, so that fitting sees what committing sees."""

SCALES_KM = (25.0, 200.0, 750.0, 2500.0)
AGREEMENT_KM = 200.0
SAME_KM = 1.0
FEATURES = (
    *(f"photos within {km:g} km" for km in SCALES_KM),
    *(f"places within {km:g} km" for km in SCALES_KM),
    "best photo rank nearby",
    "best place rank nearby",
    *(f"hypotheses within {km:g} km" for km in SCALES_KM),
    "agrees with the machine's choice",
    "is the machine's choice",
    "is a hypothesis",
    "where photos are taken",
)


class Found(NamedTuple):
    """What a run came to, as columns.

    Attributes:
        candidates_deg: (n, 2) positions, the 20 best of each atlas.
        similarity: (n,).
        rank: (n,), 0 the most similar of its atlas.
        is_photo: (n,), whether the atlas is one of photos.
        hypotheses_deg: (h, 2), the committed one first.
        probability: (h,).
        choice_deg: (2,), what the machine would answer.
    """

    candidates_deg: Floats
    similarity: Floats
    rank: Floats
    is_photo: np.ndarray[tuple[int], np.dtype[np.bool_]]
    hypotheses_deg: Floats
    probability: Floats
    choice_deg: Floats

    @staticmethod
    def keeps(rank: int) -> bool:
        """Whether a candidate of this rank is an option: as many as records keep."""
        return rank < CANDIDATES_OF_EACH_ATLAS

    @property
    def options_deg(self) -> Floats:
        """Every position that may be answered: the machine's choice, then candidates, then hypotheses."""
        return np.concatenate([self.choice_deg[None], self.candidates_deg, self.hypotheses_deg])


def features(found: Found, parameters: PosteriorParameters) -> Floats:
    """Features (options, len(FEATURES)) of every option."""
    options = found.options_deg
    to_candidates = distance_km(options[:, None], found.candidates_deg[None])
    to_hypotheses = distance_km(options[:, None], found.hypotheses_deg[None])
    to_choice = distance_km(options, found.choice_deg)
    votes = [_votes(found, photo) for photo in (True, False)]
    prior = density(options, parameters.prior_lat_lon_deg, parameters.prior_weights, parameters.density_scale_km)
    columns = [np.exp(-to_candidates / km) @ weight for weight in votes for km in SCALES_KM]
    columns += [_best_rank(found, to_candidates, photo) for photo in (True, False)]
    columns += [np.exp(-to_hypotheses / km) @ found.probability for km in SCALES_KM]
    columns += [np.exp(-to_choice / AGREEMENT_KM), (to_choice <= SAME_KM).astype(np.float64)]
    is_hypothesis = (np.arange(len(options)) > len(found.candidates_deg)).astype(np.float64)
    columns += [is_hypothesis, np.log(prior + 1e-3)]
    return np.stack(columns, axis=1)


def _votes(found: Found, photo: bool) -> Floats:
    """Weights (n,) of the candidates of one kind of atlas, summing to 1; 0 where there are none."""
    weight = np.zeros(len(found.similarity))
    own = np.flatnonzero(found.is_photo == photo)
    if len(own):
        votes = vote_weights(found.similarity[own])
        weight[own] = votes / votes.sum()
    return weight


def _best_rank(found: Found, to_candidates: Floats, photo: bool) -> Floats:
    """1 / (1 + the best rank within 25 km) among one kind of atlas; 0 for none."""
    own = found.is_photo == photo
    near = (to_candidates <= SCALES_KM[0]) & own[None]
    return np.asarray(np.where(near, 1.0 / (1.0 + found.rank[None]), 0.0).max(axis=1, initial=0.0))


class Chooser(Frozen):
    """A fitted chooser. JSON, never code."""

    format: int = Field(1, ge=1, le=1)
    subject: Subject
    fitted_on: str
    measured: str = Field(description="what it gained on photographers it was not fitted on")
    features: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weight: tuple[float, ...] = Field(description="of each standardised feature")

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.features != FEATURES:
            raise ValueError("it was fitted with other features than this version computes")
        if not len(self.mean) == len(self.scale) == len(self.weight) == len(FEATURES) or min(self.scale) <= 0.0:
            raise ValueError("a chooser needs a mean, a positive scale and a weight for each feature")
        return self

    @property
    def digest(self) -> str:
        """Changes with every number."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def scores(self, found: Found, parameters: PosteriorParameters) -> Floats:
        """The score (options,) of every option."""
        standard = (features(found, parameters) - np.array(self.mean)) / np.array(self.scale)
        return np.asarray(standard @ np.array(self.weight))

    def choose(self, found: Found, parameters: PosteriorParameters) -> int:
        """The index of the best option; 0, the machine's own choice, on a tie."""
        scores = self.scores(found, parameters)
        return int(np.flatnonzero(scores >= scores.max() - 1e-9)[0])


def load_chooser(path: Path, subject: Subject) -> Chooser:
    """A chooser from its file.

    Raises:
        UserError: no such file, not a chooser, or fitted for another system.
    """
    chooser = read_fitted(path, Chooser, "chooser", "evals.chooser_fit")
    difference = told_difference(chooser.subject, subject)
    if difference:
        raise UserError(f"the chooser {path} was fitted for {difference}: fit one for this system, or leave it out")
    return chooser


def found_columns(
    candidates: Sequence[tuple[AtlasKind, int, float, tuple[float, float]]],
    hypotheses: Sequence[tuple[tuple[float, float], float]],
    choice: tuple[float, float],
) -> Found:
    """Columns from plain rows: (kind, rank, similarity, position) and (position, probability)."""
    kept = [row for row in candidates if Found.keeps(row[1])]
    return Found(
        candidates_deg=np.array([row[3] for row in kept], dtype=np.float64).reshape(-1, 2).round(6),
        similarity=np.array([row[2] for row in kept], dtype=np.float64).round(6),
        rank=np.array([row[1] for row in kept], dtype=np.float64),
        is_photo=np.array([row[0] is AtlasKind.PHOTO for row in kept], dtype=np.bool_),
        hypotheses_deg=np.array([at for at, _ in hypotheses], dtype=np.float64).reshape(-1, 2),
        probability=np.array([p for _, p in hypotheses], dtype=np.float64),
        choice_deg=np.array(choice, dtype=np.float64),
    )
