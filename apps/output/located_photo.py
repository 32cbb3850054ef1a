"""A photo with its answer: what every renderer draws."""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.schemas import Answer


@dataclass(frozen=True)
class LocatedPhoto:
    """An answer, the photo's name as the user knows it, and a picture of it if one is to be shown.

    `thumbnail_jpeg` is made from decoded pixels: it carries no metadata of the file.
    """

    name: str
    answer: Answer
    thumbnail_jpeg: bytes | None = field(default=None, repr=False)
