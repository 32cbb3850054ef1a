"""Which places share a batch: neighbours on the ground at first, then those that the network finds similar.

After Sample4Geo (arXiv 2303.11851): with every place that is drawn, some of its neighbours come into the batch; half of
them are its nearest, half are drawn from the next. GPS neighbours are used in the first epochs, when the network knows
nothing; later the tiles most similar to a place's photos, measured anew every few epochs.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geo.sphere import Floats, unit_vectors
from retrieval.training.crossview.config import SamplingConfig

ROWS_AT_ONCE = 1024
NO_NEIGHBOUR = -1
"""In the place of neighbours that are not known, as pictures cannot be read; it is no place, so it is skipped."""

Rows = NDArray[np.int64]


def most_similar(queries: Tensor, references: Tensor, own: Tensor, count: int) -> Tensor:
    """Rows (n, count) of the references most similar to each query, its own left out, the most similar first.

    Args:
        queries: (n, dim).
        references: (m, dim).
        own: (n,), the row of each query's own reference.
        count: fewer where there are not so many.
    """
    kept = min(count, len(references) - 1)
    found = []
    for start in range(0, len(queries), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        similarity = queries[rows] @ references.T
        similarity.scatter_(1, own[rows, None], -torch.inf)
        found.append(similarity.topk(kept, dim=1).indices)
    return torch.cat(found)


def nearest_places(lat_lon_deg: Floats, count: int) -> Tensor:
    """Rows (n, count) of the nearest other places on the ground, the nearest first."""
    unit = torch.from_numpy(unit_vectors(lat_lon_deg))
    return most_similar(unit, unit, torch.arange(len(unit)), count)


def hard_order(
    place: Rows, neighbours: Rows | None, batch: int, sampling: SamplingConfig, rng: np.random.Generator
) -> Rows:
    """The groups of an epoch, each at most once, so that batches hold places that are hard to tell apart.

    A batch holds a place once as long as others are left.

    Args:
        place: (n,), of each group of photos.
        neighbours: (places, k), the hardest first, `NO_NEIGHBOUR` where there is none; None: none are known.
        batch: groups a step; fewer than a batch are left out at the end.
    """
    order = rng.permutation(len(place))
    if neighbours is None or not sampling.neighbours:
        return order[: len(order) // batch * batch]
    waiting: dict[int, list[int]] = {}
    for group in order.tolist():
        waiting.setdefault(int(place[group]), []).append(group)
    queue, batches = list(dict.fromkeys(place[order].tolist())), []
    while waiting:
        chosen = _batch(queue, waiting, neighbours, batch, sampling, rng)
        queue = [one for one in queue if one in waiting]
        batches.append(chosen)
    full = [one for one in batches if len(one) == batch]
    return np.array([group for one in full for group in one], dtype=np.int64)


def _batch(
    queue: list[int],
    waiting: dict[int, list[int]],
    neighbours: Rows,
    batch: int,
    sampling: SamplingConfig,
    rng: np.random.Generator,
) -> list[int]:
    """One batch; its groups are taken out of `waiting`. A place is there twice only where too few others wait."""
    chosen: list[int] = []
    with_neighbours = True
    while waiting and len(chosen) < batch:
        inside: set[int] = set()
        for start in queue:
            for one in (start, *_drawn(neighbours[start], sampling, rng)) if with_neighbours else (start,):
                if one in waiting and one not in inside and len(chosen) < batch:
                    inside.add(one)
                    chosen.append(waiting[one].pop())
                    if not waiting[one]:
                        del waiting[one]
            if len(chosen) == batch:
                break
        with_neighbours = False
    return chosen


def _drawn(neighbours: Rows, sampling: SamplingConfig, rng: np.random.Generator) -> list[int]:
    """Half of the wanted number are the first neighbours, half are drawn from the next."""
    half = sampling.neighbours // 2
    nearest, further = neighbours[:half], neighbours[half : sampling.among]
    return [*nearest.tolist(), *rng.permutation(further)[: sampling.neighbours - half].tolist()]
