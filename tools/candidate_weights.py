"""How much each candidate counts: similarities of different atlases made comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from geo.sphere import Floats
from retrieval.candidate import AtlasKind, Candidate

DEFAULT_TEMPERATURES: Mapping[AtlasKind, float] = {AtlasKind.PHOTO: 0.05, AtlasKind.GPS: 0.05}
"""Cosine difference that multiplies a weight by e. To be fitted on validation photos for each encoder."""


def candidate_weights(
    candidates: Sequence[Candidate], temperatures: Mapping[AtlasKind, float] = DEFAULT_TEMPERATURES
) -> Floats:
    """Weights (n,) of n candidates, summing to 1: a softmax of similarity within each atlas, atlases alike.

    Cosines compare within one atlas only, so no atlas may outweigh another by its scale.
    """
    atlases = np.array([candidate.atlas for candidate in candidates])
    temperature = np.array([temperatures[candidate.kind] for candidate in candidates])
    scaled = np.array([candidate.similarity for candidate in candidates]) / temperature
    weights = np.zeros(len(candidates))
    for atlas in np.unique(atlases):
        rows = atlases == atlas
        share = np.exp(scaled[rows] - scaled[rows].max())
        weights[rows] = share / share.sum()
    return weights / weights.sum() if len(candidates) else weights
