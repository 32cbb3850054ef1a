"""A photo with its answer, and the parts of an answer that every renderer shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from agents.schemas import Answer, Hypothesis
from geo.point import Point


@dataclass(frozen=True)
class LocatedPhoto:
    """An answer, the photo's name on the command line, and a small picture of it if one is to be shown.

    `thumbnail_jpeg` is made from decoded pixels: it carries no metadata of the file.
    """

    name: str
    answer: Answer
    thumbnail_jpeg: bytes | None = field(default=None, repr=False)


class CredibleCircle(NamedTuple):
    """A circle around the answer that holds the true position with a probability of `share`."""

    centre: Point
    share: float
    radius_km: float


def credible_circles(answer: Answer) -> list[CredibleCircle]:
    """The 90 % and the 50 % circle, largest first; none without a position."""
    if answer.point is None:
        return []
    radii_km = ((0.9, answer.radius_90_km), (0.5, answer.radius_50_km))
    return [CredibleCircle(answer.point, share, radius) for share, radius in radii_km if radius is not None]


def alternatives(answer: Answer, count: int = 3) -> list[tuple[int, Hypothesis]]:
    """The best hypotheses that the answer did not choose, each with its number among all of them."""
    first = 0 if answer.point is None else 1
    return list(enumerate(answer.hypotheses[first : first + count], first + 1))
