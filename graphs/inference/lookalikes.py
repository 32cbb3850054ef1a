"""What a crop's look-alikes, or a search near a point, say beyond the whole photo's search.

Both look at the same pixels again, so only what is new counts, and little of it. A crop's weight is the change it
brings: if it finds what the whole photo found, it says nothing. A near search counts only for a hypothesis that no
retrieved candidate lies in: how much weight its best find would have had, had the whole photo's search gone deeper.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agents.schemas import Hypothesis
from geo.sphere import lat_lon_array
from graphs.inference.ledger import PRIOR_NATS
from graphs.inference.posterior import (
    Floats,
    Indices,
    PosteriorParameters,
    candidate_weights,
    finest_containing,
    positions,
)
from graphs.state import ToolRecord
from retrieval.candidate import Candidate
from tools.results import PhotoMatches

CROP_FACTOR = 0.1
"""Share of the log change a crop brings that counts; chosen on calibration photos (docs/results.md)."""

Nats = dict[str, float]


def from_lookalikes(
    hypotheses: Sequence[Hypothesis],
    owner: Indices,
    candidates: Sequence[Candidate],
    parameters: PosteriorParameters,
    record: ToolRecord,
) -> tuple[str, Nats]:
    """A claim and its nats for each hypothesis; no nats where the search says nothing new."""
    found = PhotoMatches.model_validate(record.result)
    if not found.candidates or not candidates or not hypotheses:
        return "", {}
    whole = _mass(candidate_weights(candidates, parameters), owner, len(hypotheses))
    if found.near is None:
        return _crop(hypotheses, found.candidates, parameters, whole)
    return _near(hypotheses, found.candidates, candidates, parameters, whole)


def _mass(weight: Floats, owner: Indices, count: int) -> Floats:
    return np.array([float(weight[owner == i].sum()) for i in range(count)])


def _owners(hypotheses: Sequence[Hypothesis], found: Sequence[Candidate]) -> Indices:
    centres = lat_lon_array(h.point for h in hypotheses)
    radius_km = np.array([h.radius_km for h in hypotheses], dtype=np.float64)
    return finest_containing(positions(found), centres, radius_km)


def _crop(
    hypotheses: Sequence[Hypothesis], found: Sequence[Candidate], parameters: PosteriorParameters, whole: Floats
) -> tuple[str, Nats]:
    part = _mass(candidate_weights(found, parameters), _owners(hypotheses, found), len(hypotheses))
    # The prior of a hypothesis keeps a weight of 0 from saying "impossible".
    least = np.exp(PRIOR_NATS)
    nats = CROP_FACTOR * np.log((part + least) / (whole + least))
    claim = f"{part.sum():.0%} of the weight of {len(found)} places that resemble the crop lies in these hypotheses"
    return claim, {h.id: float(value) for h, value in zip(hypotheses, nats, strict=True)}


def _near(
    hypotheses: Sequence[Hypothesis],
    found: Sequence[Candidate],
    candidates: Sequence[Candidate],
    parameters: PosteriorParameters,
    whole: Floats,
) -> tuple[str, Nats]:
    owner = _owners(hypotheses, found)
    weight = candidate_weights([*candidates, *found], parameters)[len(candidates) :]
    least = np.exp(PRIOR_NATS)
    nats: Nats = {}
    for index, hypothesis in enumerate(hypotheses):
        inside = weight[owner == index]
        if len(inside) and whole[index] == 0.0:
            best = (1.0 - parameters.prior_share) * float(inside.max())
            nats[hypothesis.id] = float(np.log((least + best) / least))
    return f"the best of {len(found)} look-alikes found near there resembles the photo that much", nats
