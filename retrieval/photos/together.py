"""Several photos of one place as one query: how many there may be, and how the set of them is named."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from core.errors import UserError

MOST_TOGETHER = 8
"""Photos of one query, set by hand: a model is shown every photo with every request."""


def check_together(names: Sequence[str], sha256s: Sequence[str | None]) -> None:
    """Refuse photos that are no set of one place's.

    Args:
        names: what people call them.
        sha256s: of their files; None of one that cannot be read.

    Raises:
        UserError: more than eight, or one of them twice.
    """
    if len(names) > MOST_TOGETHER:
        raise UserError(
            f"{len(names)} photos of one place: at most {MOST_TOGETHER} are taken as one query; leave some out"
        )
    first: dict[str, str] = {}
    for name, sha256 in zip(names, sha256s, strict=True):
        if sha256 in first:
            raise UserError(f"{name} is the same file as {first[sha256]}: give each photo of the place once")
        if sha256 is not None:
            first[sha256] = name


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
