"""The list of hypotheses: places raised by models, people or the belief itself; what is open, one place, or closed.

Adding, merging and rejecting change what is listed, never what is believed: probabilities are read off the belief.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import fsum

from agents.schemas import Hypothesis, HypothesisStatus
from geo.sphere import point_distance_km

FINER = 0.5
SAME_SPOT_KM = 0.1


def open_hypotheses(hypotheses: Iterable[Hypothesis]) -> list[Hypothesis]:
    """Those still open, most probable first, ties by id."""
    still_open = (h for h in hypotheses if h.status is HypothesisStatus.OPEN)
    return sorted(still_open, key=lambda h: (-h.probability, h.id))


def elsewhere(hypotheses: Iterable[Hypothesis]) -> float:
    """Probability that the photo was taken at none of the open hypotheses."""
    return max(0.0, 1.0 - fsum(h.probability for h in open_hypotheses(hypotheses)))


def add(hypotheses: Sequence[Hypothesis], new: Hypothesis) -> list[Hypothesis]:
    """Add a hypothesis, unless an open one is the same place; then that one stays open, or the new one if it is finer.

    It is finer with less than half of the radius: models list the likeliest first, and a small difference in radius
    says nothing against the first.

    Two hypotheses are one place when their points lie within the smaller of their radii.
    A coarse hypothesis around a fine one is not the same: it is the rest of that area.
    """
    known = next((h for h in open_hypotheses(hypotheses) if same_place(h, new)), None)
    if known is None:
        return [*hypotheses, new]
    if new.radius_km >= FINER * known.radius_km:
        return list(hypotheses)
    return merge([*hypotheses, new], keep=new.id, absorb=known.id)


def same_place(a: Hypothesis, b: Hypothesis) -> bool:
    """Whether two hypotheses lie within the smaller of their radii."""
    return point_distance_km(a.point, b.point) <= max(SAME_SPOT_KM, min(a.radius_km, b.radius_km))


def merge(hypotheses: Sequence[Hypothesis], keep: str, absorb: str) -> list[Hypothesis]:
    """Close one hypothesis in favour of another that is the same place.

    Raises:
        KeyError: one of the ids is not an open hypothesis.
    """
    _require_open(hypotheses, keep)
    return _with_status(hypotheses, absorb, HypothesisStatus.MERGED)


def reject(hypotheses: Sequence[Hypothesis], hypothesis_id: str) -> list[Hypothesis]:
    """Close a hypothesis; what the belief holds there counts as elsewhere.

    Raises:
        KeyError: not an open hypothesis.
    """
    return _with_status(hypotheses, hypothesis_id, HypothesisStatus.REJECTED)


def _with_status(hypotheses: Sequence[Hypothesis], key: str, status: HypothesisStatus) -> list[Hypothesis]:
    _require_open(hypotheses, key)
    closed = {"status": status, "probability": 0.0}
    return [h.model_copy(update=closed) if h.id == key else h for h in hypotheses]


def _require_open(hypotheses: Sequence[Hypothesis], key: str) -> None:
    if not any(h.id == key and h.status is HypothesisStatus.OPEN for h in hypotheses):
        raise KeyError(key)
