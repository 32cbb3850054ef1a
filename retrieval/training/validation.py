"""Validation scores: accuracy of nearest neighbours among photos or positions, without clustering."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from geo.sphere import distance_km
from retrieval.encoders.base import Vectors

THRESHOLDS_KM = (1.0, 25.0, 200.0, 750.0, 2500.0)
Scores = dict[str, float]
Positions = NDArray[np.float64]


def nearest_scores(queries: Vectors, wanted_deg: Positions, references: Vectors, places_deg: Positions) -> Scores:
    """Scores of answering each query with the position of its most similar reference.

    Args:
        queries: (q, dim), L2-normalised.
        wanted_deg: (q, 2), true positions, latitude first.
        references: (r, dim), L2-normalised.
        places_deg: (r, 2), positions of the references.
    """
    best = np.argmax(queries @ references.T, axis=1)
    return accuracy(distance_km(wanted_deg, places_deg[best]))


def within_top(queries: Vectors, wanted_deg: Positions, references: Vectors, places_deg: Positions, k: int) -> Scores:
    """Scores of answering each query with the nearest to its true position of the k most similar references."""
    top = np.argsort(-(queries @ references.T), axis=1, kind="stable")[:, :k]
    return accuracy(distance_km(wanted_deg[:, None], places_deg[top]).min(axis=1))


def accuracy(errors_km: NDArray[np.float64]) -> Scores:
    """Share of all queries within each threshold, the median error, and the mean GeoScore (5000 exp(-km / 1492.7)).

    Args:
        errors_km: (q,).
    """
    scores = {f"@{limit:g}km": float(np.mean(errors_km <= limit)) for limit in THRESHOLDS_KM}
    geoscore = float(np.mean(5000.0 * np.exp(-errors_km / 1492.7)))
    return scores | {"median_km": float(np.median(errors_km)), "geoscore": geoscore}


def markdown_table(rows: Mapping[str, Scores]) -> str:
    """A Markdown table of scores, shares in per cent."""
    columns = list(next(iter(rows.values())))
    lines = ["| method | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, scores in rows.items():
        cells = [f"{100 * value:.1f}" if "@" in key else f"{value:.0f}" for key, value in scores.items()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
