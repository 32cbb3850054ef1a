"""Deterministic splits of a photo collection by author.

Photos of one author share places, cameras and habits, so a split by photo
leaks. Authors are ordered by the SHA-256 of a fixed salt and their name and
fill the parts one after the other until each part's share of photos is
reached. The salts were fixed before any result was seen.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

SALT = "geosleuth-split-1"
INNER_SALT = "geosleuth-inner-1"

SHARES: Mapping[str, float] = {"train": 0.60, "validation": 0.25, "calibration": 0.15}
INNER_SHARES: Mapping[str, float] = {"inner_train": 0.80, "inner_validation": 0.20}


def split_by_author(authors: Sequence[str], shares: Mapping[str, float] = SHARES, salt: str = SALT) -> list[str]:
    """The part each photo belongs to, given the author of each photo, in the order given.

    Raises:
        ValueError: shares that do not sum to 1.
    """
    if abs(sum(shares.values()) - 1.0) > 1e-9:
        raise ValueError(f"shares must sum to 1, got {dict(shares)}")
    part_of = _assign(Counter(authors), shares, salt)
    return [part_of[author] for author in authors]


def part_indices(authors: Sequence[str], part: str) -> list[int]:
    """Positions of the photos of one part of the standard split: train, validation or calibration.

    Raises:
        ValueError: a part that does not exist.
    """
    if part not in SHARES:
        raise ValueError(f"no part {part!r}; the parts are {', '.join(SHARES)}")
    return [i for i, name in enumerate(split_by_author(authors)) if name == part]


def inner_split(train_authors: Sequence[str]) -> list[str]:
    """`inner_train` or `inner_validation` for each training photo; every model choice is made on this split."""
    return split_by_author(train_authors, INNER_SHARES, INNER_SALT)


def _assign(photos_by: Counter[str], shares: Mapping[str, float], salt: str) -> dict[str, str]:
    parts = list(shares)
    bounds = [sum(list(shares.values())[: i + 1]) * photos_by.total() for i in range(len(parts))]
    part_of, placed, current = {}, 0, 0
    for author in sorted(photos_by, key=lambda name: hashlib.sha256(f"{salt}:{name}".encode()).hexdigest()):
        # Float sums of shares can fall a hair short of a whole number of photos.
        while current < len(parts) - 1 and placed >= bounds[current] - 1e-6:
            current += 1
        part_of[author] = parts[current]
        placed += photos_by[author]
    return part_of
