"""Retrieved candidates as a witness: places that look alike, worth what retrieval from such an atlas has been worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from belief.kernels import SCALES_KM
from belief.parameters import Parameters
from belief.support import Support
from belief.witnesses.reports import mixture_ratio, similarity_weights
from geo.sphere import Floats, lat_lon_array
from retrieval.candidate import AtlasKind, Candidate

PINNED = 5
"""The most similar candidates of each kind of atlas get a support of their own: a photo may be of the very place."""


def candidate_weights(candidates: Sequence[Candidate], parameters: Parameters, encoder: str) -> Floats:
    """Weights (n,) that sum to 1: a softmax of similarity within each kind of atlas, kinds counting alike.

    >>> from belief.parameters import default_parameters
    >>> from geo.point import Point
    >>> kinds = (AtlasKind.PHOTO, AtlasKind.PHOTO, AtlasKind.GPS)
    >>> made = [
    ...     Candidate(point=Point(lat=0.0, lon=0.0), similarity=0.5, atlas="a", kind=kind, item_id=str(n), rank=n)
    ...     for n, kind in enumerate(kinds)
    ... ]
    >>> candidate_weights(made, default_parameters(), "compact").tolist()
    [0.25, 0.25, 0.5]
    """
    weights = np.zeros(len(candidates))
    kinds = _kinds(candidates)
    for kind in kinds:
        rows = [i for i, candidate in enumerate(candidates) if candidate.kind is kind]
        similarity = np.array([candidates[i].similarity for i in rows])
        temperature = parameters.retrieval_of(kind, encoder).temperature
        weights[rows] = similarity_weights(similarity, temperature) / len(kinds)
    return weights


def retrieval_log_ratio(
    support: Support, candidates: Sequence[Candidate], parameters: Parameters, encoder: str
) -> Floats:
    """Log likelihood ratio (n,) in nats of what was retrieved; kinds of atlas are independent witnesses."""
    weights = candidate_weights(candidates, parameters, encoder)
    nats = np.zeros(len(support.prior_mass))
    kinds = _kinds(candidates)
    for kind in kinds:
        rows = [i for i, candidate in enumerate(candidates) if candidate.kind is kind]
        at = lat_lon_array(candidates[i].point for i in rows)
        shares = parameters.retrieval_of(kind, encoder).record.shares
        nats += np.log(mixture_ratio(support, at, weights[rows] * len(kinds), SCALES_KM, shares))
    return nats


def pinned(candidates: Sequence[Candidate]) -> list[tuple[float, float]]:
    """Positions in degrees of the most similar candidates of each kind."""
    return [
        (candidate.point.lat, candidate.point.lon)
        for kind in _kinds(candidates)
        for candidate in sorted((c for c in candidates if c.kind is kind), key=lambda c: c.rank)[:PINNED]
    ]


def _kinds(candidates: Sequence[Candidate]) -> list[AtlasKind]:
    return [kind for kind in AtlasKind if any(candidate.kind is kind for candidate in candidates)]
