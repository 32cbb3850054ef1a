"""Nearest of many fixed positions on the sphere, for many queries at once, with NumPy alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geo.sphere import EARTH_RADIUS_KM, Floats, unit_vectors

Indices = NDArray[np.int64]

_BRANCHES = 8
_MOST_ROOTS = 64
_QUERIES_AT_ONCE = 4096
_SLACK = 1e-12
"""Of a chord, in Earth radii (6 micrometres): more than rounding, less than any two positions are apart."""


class _Level(NamedTuple):
    """Balls of a tree level; ball i holds balls (at the lowest level: positions) 8i to 8i + 7 of the level below."""

    centres: Floats
    radii: Floats


def _balanced_order(vectors: Floats) -> Indices:
    """Numbers of n vectors, padded with the first to a power of two, so that neighbours in order are near.

    A balanced k-d tree (Bentley 1975): halved at the median along the widest axis, again and again; halves are not
    sorted inside, and the axes are kept apart, as whole columns are faster to compare and to move.
    """
    slots = max(_BRANCHES, 1 << (len(vectors) - 1).bit_length())
    order = np.concatenate([np.arange(len(vectors)), np.zeros(slots - len(vectors), np.int64)])
    axes = np.ascontiguousarray(vectors[order].T)
    for size in (slots >> halvings for halvings in range(slots.bit_length() - _BRANCHES.bit_length() + 1)):
        cells = axes.reshape(3, -1, size)
        widest = np.argmax(np.ptp(cells, axis=2), axis=0)
        along = cells[widest, np.arange(cells.shape[1])]
        first_of_cell = np.arange(0, slots, size)[:, None]
        halved = (np.argpartition(along, size // 2, axis=1) + first_of_cell).ravel()
        order, axes = order[halved], np.take(axes, halved, axis=1)
    return order


def _level_above(centres: Floats, radii: Floats) -> _Level:
    """Balls around each eight balls."""
    inner = centres.reshape(-1, _BRANCHES, 3)
    outer = inner.mean(axis=1)
    reach = np.linalg.norm(inner - outer[:, None, :], axis=2) + radii.reshape(-1, _BRANCHES)
    return _Level(outer, reach.max(axis=1))


class NearestIndex:
    """Exact nearest neighbours on the sphere among n positions (n, 2) in degrees; the first one on a tie.

    A tree of balls over the positions (Omohundro 1989), searched breadth first for thousands of queries at once.

    >>> index, distance_km = NearestIndex([(0.0, 0.0), (0.0, 90.0)]).query([(0.0, 46.0), (1.0, 0.0)])
    >>> index.tolist(), distance_km.round(1).tolist()
    ([1, 0], [4892.6, 111.2])

    Raises:
        ValueError: no position.
    """

    def __init__(self, lat_lon_deg: ArrayLike) -> None:
        vectors = unit_vectors(np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2))
        if not len(vectors):
            raise ValueError("an index of no positions has no nearest one")
        self._order = _balanced_order(vectors)
        self._levels = [_Level(vectors[self._order], np.zeros(len(self._order)))]
        while len(self._levels[-1].radii) > _MOST_ROOTS:
            self._levels.append(_level_above(*self._levels[-1]))

    def query(self, lat_lon_deg: ArrayLike) -> tuple[Indices, Floats]:
        """Indices (m,) of the positions nearest to m queries (m, 2), and their distances (m,) in km."""
        queries = unit_vectors(np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2))
        nearest, chords = np.zeros(len(queries), np.int64), np.zeros(len(queries))
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            part = slice(start, start + _QUERIES_AT_ONCE)
            nearest[part], chords[part] = self._search(queries[part])
        return nearest, 2.0 * EARTH_RADIUS_KM * np.arcsin(np.clip(chords / 2.0, 0.0, 1.0))

    def _search(self, queries: Floats) -> tuple[Indices, Floats]:
        """Nearest position and chord (m,) of m unit vectors: whatever lies within the first reach, then the best."""
        reach = self._first_reach(queries)
        gaps = _distances(queries, self._levels[-1].centres[None])
        rows, nodes = np.nonzero(gaps - self._levels[-1].radii <= reach[:, None])
        for level in self._levels[-2::-1]:
            gaps = _distances(queries[rows], level.centres.reshape(-1, _BRANCHES, 3)[nodes])
            radii = level.radii.reshape(-1, _BRANCHES)[nodes]
            surely = np.minimum.reduceat((gaps + radii).min(axis=1), _first_of_each(rows, len(queries)))
            reach = np.minimum(reach, surely + _SLACK)
            parents, children = np.nonzero(gaps - radii <= reach[rows, None])
            rows, nodes = rows[parents], nodes[parents] * _BRANCHES + children
        return self._best(queries, rows, nodes)

    def _first_reach(self, queries: Floats) -> Floats:
        """A chord (m,) within which each query has a position: the end of a walk down the nearest balls."""
        gaps = _distances(queries, self._levels[-1].centres[None])
        nodes = gaps.argmin(axis=1)
        for level in self._levels[-2::-1]:
            gaps = _distances(queries, level.centres.reshape(-1, _BRANCHES, 3)[nodes])
            nodes = nodes * _BRANCHES + gaps.argmin(axis=1)
        return np.asarray(gaps.min(axis=1) + _SLACK)

    def _best(self, queries: Floats, rows: Indices, slots: Indices) -> tuple[Indices, Floats]:
        """The nearest of each query's slots, and its chord; rows ascend and none is missing."""
        chords = _distances(queries[rows], self._levels[0].centres[slots, None])[:, 0]
        best = np.minimum.reduceat(chords, _first_of_each(rows, len(queries)))
        winners = np.flatnonzero(chords <= best[rows])
        nearest = np.full(len(queries), len(self._order), np.int64)
        np.minimum.at(nearest, rows[winners], self._order[slots[winners]])
        return nearest, best


def _distances(queries: Floats, centres: Floats) -> Floats:
    """Straight distances (m, k) of m queries (m, 3) to k centres each, (m or 1, k, 3)."""
    apart = centres - queries[:, None, :]
    return np.asarray(np.sqrt(np.einsum("mki,mki->mk", apart, apart)))


def _first_of_each(rows: Indices, count: int) -> Indices:
    """Where each of the row numbers below `count` starts in ascending `rows`."""
    return np.asarray(np.searchsorted(rows, np.arange(count)))
