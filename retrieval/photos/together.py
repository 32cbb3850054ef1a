"""Several photos of one place as one query: how many there may be, and how the set of them is named."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from core.errors import UserError
from retrieval.photos.photo import Photo

MOST_TOGETHER = 8
"""Photos of one query, set by hand: a model is shown every photo with every request."""


def check_together(photos: Sequence[Photo]) -> None:
    """Refuse photos that are no set of one place's: too many, or one of them twice.

    Raises:
        UserError: more than eight, or two with the same file.
    """
    check_count(len(photos))
    first: dict[str, str] = {}
    for photo in photos:
        if photo.sha256 in first:
            raise UserError(
                f"{photo.name} is the same file as {first[photo.sha256]}: give each photo of the place once"
            )
        first[photo.sha256] = photo.name


def check_count(count: int) -> None:
    """Refuse more photos than one query may have.

    Raises:
        UserError: more than eight.
    """
    if count > MOST_TOGETHER:
        raise UserError(f"{count} photos of one place: at most {MOST_TOGETHER} are taken as one query; leave some out")


def joined_name(names: Sequence[str]) -> str:
    """What people read for the set.

    >>> joined_name(["a.jpg", "b.jpg", "c.jpg"])
    'a.jpg + b.jpg + c.jpg'
    """
    return " + ".join(names)


def joined_sha256(sha256s: Sequence[str]) -> str:
    """What stands for the hash of a file where a query has several; of one photo its own.

    The order of the photos does not matter, except that the first names the set elsewhere.

    >>> joined_sha256(["ab", "cd"]) == joined_sha256(["cd", "ab"]) != joined_sha256(["ab"]) == "ab"
    True
    """
    if len(sha256s) == 1:
        return sha256s[0]
    return hashlib.sha256("\n".join(sorted(sha256s)).encode()).hexdigest()
