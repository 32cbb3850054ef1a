"""Scores of retrieval from a gallery of tiles or positions: R@k, mean average precision, distance of what is found.

A query that has no vector, as its photo cannot be read, is a miss everywhere. Of items that are as similar as a right
one, the wrong ones come first: an encoder whose vectors are all alike finds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evals.scores.distance import THRESHOLDS_KM, Interval, clustered_bootstrap, hits, median_km
from evals.scores.tables import DASH, Table, km_label, percent
from geo.sphere import Floats, distance_km
from retrieval.encoders.base import Vectors

RECALL_AT = (1, 5, 10, 25)
PRECISION_AT = 1000
"""Right items further down count as not found, as in MMLandmarks' and ILIAS' mAP@1k."""
NO_LANDMARK = -1

Rows = NDArray[np.int64]

_QUERIES_AT_ONCE = 128


class RetrievalGallery(NamedTuple):
    """What is searched.

    Attributes:
        vectors: (m, dim), L2-normalised.
        lat_lon_deg: (m, 2).
        landmark: (m,), whose item it is; `NO_LANDMARK` where it is no query's.
    """

    vectors: Vectors
    lat_lon_deg: Floats
    landmark: Rows

    def taken(self, rows: NDArray[np.bool_]) -> RetrievalGallery:
        """Some of the items."""
        return RetrievalGallery(self.vectors[rows], self.lat_lon_deg[rows], self.landmark[rows])


class Queries(NamedTuple):
    """What is looked for.

    Attributes:
        vectors: (n, dim), L2-normalised; NaN where there is none.
        lat_lon_deg: (n, 2), where it truly is.
        landmark: (n,).
    """

    vectors: Vectors
    lat_lon_deg: Floats
    landmark: Rows


class Retrieved(NamedTuple):
    """What was found for n queries.

    Attributes:
        rank: of the first right item, from 1; infinite where the gallery has none.
        precision: average precision, of the first `PRECISION_AT`.
        error_km: of the most similar item's position; NaN without a vector.
    """

    rank: Floats
    precision: Floats
    error_km: Floats


def retrieve(queries: Queries, gallery: RetrievalGallery) -> Retrieved:
    """Rank a gallery for each query by the cosine of their vectors."""
    own = {landmark: np.flatnonzero(gallery.landmark == landmark) for landmark in np.unique(queries.landmark).tolist()}
    rank, precision = np.full(len(queries.landmark), np.inf), np.zeros(len(queries.landmark))
    first, missing = np.zeros(len(rank), dtype=np.intp), has_nan(queries.vectors)
    for start in range(0, len(rank), _QUERIES_AT_ONCE):
        similarity = np.nan_to_num(queries.vectors[start : start + _QUERIES_AT_ONCE]) @ gallery.vectors.T
        first[start : start + len(similarity)] = similarity.argmax(axis=1)
        for row, of_query in enumerate(similarity, start):
            right = own[int(queries.landmark[row])]
            if len(right) and not missing[row]:
                ranks = ranks_of(of_query, right)
                rank[row], precision[row] = ranks[0], average_precision(ranks)
    error_km = distance_km(gallery.lat_lon_deg[first], queries.lat_lon_deg)
    return Retrieved(rank, precision, np.where(missing, np.nan, error_km))


def has_nan(vectors: Vectors) -> NDArray[np.bool_]:
    """Which rows (n,) of vectors (n, dim) are no vectors."""
    return np.asarray(np.isnan(vectors).any(axis=1))


def ranks_of(similarity: Vectors, right: NDArray[np.intp]) -> Rows:
    """Ranks, from 1 and rising, of the right items of a gallery (m,); wrong ones that are as similar come before them.

    >>> ranks_of(np.array([0.9, 0.5, 0.7, 0.5], dtype=np.float32), np.array([0, 1])).tolist()
    [1, 4]
    """
    own = np.sort(similarity[right])[::-1]
    wrong = np.array([np.count_nonzero(similarity >= one) - np.count_nonzero(own >= one) for one in own])
    return np.asarray(wrong + np.arange(1, len(own) + 1), dtype=np.int64)


def average_precision(ranks: Rows, cut: int = PRECISION_AT) -> float:
    """Mean, over the right items, of the precision at each one's rank; 0 for those after the cut.

    >>> average_precision(np.array([1, 4]))  # (1/1 + 2/4) / 2
    0.75
    """
    precision = np.arange(1, len(ranks) + 1) / ranks
    return float(np.where(ranks <= cut, precision, 0.0).mean())


class RetrievalScore(NamedTuple):
    """Scores of some queries against some gallery, with 95 % intervals over landmarks.

    Attributes:
        recall: by k; empty where the gallery has none of the queries' own items.
        precision: mean average precision; None likewise.
        accuracy: by distance in km.
    """

    queries: str
    gallery: str
    recall: dict[int, Interval]
    precision: Interval | None
    accuracy: dict[float, Interval]
    median_km: float


def score_retrieval(queries: Queries, gallery: RetrievalGallery, named: tuple[str, str]) -> RetrievalScore:
    """Scores of queries against a gallery; both are named for the table."""
    found = retrieve(queries, gallery)

    def mean(values: NDArray[np.bool_] | Floats) -> Interval:
        return clustered_bootstrap(values, queries.landmark)

    has_own = bool(np.isin(gallery.landmark, queries.landmark).any())
    return RetrievalScore(
        f"{named[0]} ({len(queries.landmark):,})",
        f"{named[1]} ({len(gallery.landmark):,})",
        {k: mean(found.rank <= k) for k in RECALL_AT} if has_own else {},
        mean(found.precision) if has_own else None,
        {km: mean(hits(found.error_km, km)) for km in THRESHOLDS_KM},
        median_km(found.error_km),
    )


def retrieval_table(title: str, scores: Sequence[RetrievalScore]) -> Table:
    """A row for each kind of queries and gallery, in percent."""
    head = ["queries", "gallery", *(f"R@{k}" for k in RECALL_AT), "mAP@1k", *map(km_label, THRESHOLDS_KM), "median km"]
    return Table(title, head, [_row(one) for one in scores])


def _row(score: RetrievalScore) -> list[str]:
    recall = [percent(score.recall[k]) if score.recall else DASH for k in RECALL_AT]
    precision = DASH if score.precision is None else percent(score.precision)
    accuracy = [percent(score.accuracy[km]) for km in THRESHOLDS_KM]
    return [score.queries, score.gallery, *recall, precision, *accuracy, f"{score.median_km:,.1f}"]
