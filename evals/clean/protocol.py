"""The clean protocol: what a query must not find among the reference photos.

    python -m evals.clean.protocol TABLE.csv PHOTOS_FOLDER --out reference.csv

writes a reference table (item_id, author, hash) for `python -m evals.run … --protocol clean --reference-table`.
Authors that were given when an atlas was built are known without it; the hashes of its photos are not.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.errors import UserError
from evals.benchmarks.loading import Sample
from evals.clean.perceptual_hash import (
    COPIES,
    NEAR_DUPLICATE_BITS,
    PLAIN_SHARE,
    Bits,
    Fingerprint,
    fingerprints_of,
    near_duplicates,
)
from evals.command import command_parser, run_command
from evals.runs.records import Flag
from retrieval.atlas.sources import photos_from_table
from retrieval.stores.base import StoredItem
from retrieval.stores.filters import Exclude

NEAR_DUPLICATE_SIMILARITY = 0.98
"""Of the compact encoder: no two of 1,001 photos by different people reach it; a recompressed copy always does."""

COLUMNS = ("item_id", "author", "hash")


class Reference(NamedTuple):
    """What is known of a reference item."""

    item_id: str
    author: str | None
    hash: Bits | None


@dataclass
class CleanExclusion:
    """Hides, from each query, reference photos by its photographer, its near duplicates, and the photo itself.

    Implements `ReferenceExclusion`. Safe between threads: each query writes its own entry only.

    Attributes:
        near_duplicate_similarity: from this similarity to the whole photo on, a reference photo is a near duplicate.
        known: ids of the reference items that are hidden from the start, by query.
        near_duplicates: ids of those that searches found by their embedding, by query.
    """

    near_duplicate_similarity: float = NEAR_DUPLICATE_SIMILARITY
    known: dict[str, frozenset[str]] = field(default_factory=dict)
    near_duplicates: dict[str, frozenset[str]] = field(default_factory=dict)

    def exclude(self, photo_id: str) -> Exclude:
        """Values to leave out, by field."""
        return {"item_id": self.known[photo_id]} if photo_id in self.known else {}

    def record_near_duplicates(self, photo_id: str, item_ids: Collection[str]) -> None:
        """Keep which near duplicates a search left out."""
        self.near_duplicates[photo_id] = self.near_duplicates.get(photo_id, frozenset()) | frozenset(item_ids)

    def excluded(self, photo_ids: Iterable[str]) -> int:
        """How many reference items a query of these photos could not see."""
        hidden = [found.get(key, frozenset()) for key in photo_ids for found in (self.known, self.near_duplicates)]
        return len(frozenset[str]().union(*hidden))


def references(items: Iterable[StoredItem], table: Mapping[str, Reference]) -> list[Reference]:
    """What is known of each item of an atlas: first from the table, then from the atlas."""
    return [
        Reference(
            item.item_id,
            (table[item.item_id].author if item.item_id in table else None) or item.extra.get("author"),
            table[item.item_id].hash if item.item_id in table else None,
        )
        for item in items
    ]


def exclude_references(
    queries: Sequence[Sample],
    fingerprints: Sequence[Fingerprint | None],
    known: Sequence[Reference],
    near_duplicate_similarity: float = NEAR_DUPLICATE_SIMILARITY,
) -> CleanExclusion:
    """What each query must not find.

    Args:
        fingerprints: of the photos; None where the file is unusable.
        known: reference items of all photo atlases.
    """
    by_author: dict[str, set[str]] = defaultdict(set)
    for item in known:
        if item.author:
            by_author[item.author].add(item.item_id)
    hashed = [item for item in known if item.hash is not None]
    hashes = np.stack([item.hash for item in hashed if item.hash is not None]) if hashed else None
    exclusion = CleanExclusion(near_duplicate_similarity)
    names = {item.item_id for item in known}
    for query, fingerprint in zip(queries, fingerprints, strict=True):
        if fingerprint is None:
            continue
        ids = {query.photo} & names
        if hashes is not None:
            ids |= {hashed[i].item_id for i in near_duplicates(hashes, fingerprint.hash)}
        own = by_author.get(query.author, set()) if query.author else set()
        exclusion.known[fingerprint.photo_id] = frozenset(ids | own)
    return exclusion


def flags(queries: Sequence[Sample], fingerprints: Sequence[Fingerprint | None]) -> list[tuple[Flag, ...]]:
    """What is odd about each photo of a benchmark."""
    usable = [(query, one) for query, one in zip(queries, fingerprints, strict=True) if one is not None]
    hashes = np.stack([fingerprint.hash for _, fingerprint in usable]) if usable else np.zeros((0, 32), np.uint8)
    found: dict[str, tuple[Flag, ...]] = {}
    for query, fingerprint in usable:
        alike = near_duplicates(hashes, fingerprint.hash)
        is_copied = len({usable[i][0].photographer for i in alike}) >= COPIES
        is_placeholder = fingerprint.plain >= PLAIN_SHARE or is_copied
        found[query.photo] = (Flag.PLACEHOLDER,) * is_placeholder + (Flag.NEAR_DUPLICATE,) * (len(alike) > 1)
    return [found.get(query.photo, ()) for query in queries]


def describe(queries: Sequence[Sample], known: Sequence[Reference], exclusion: CleanExclusion) -> str:
    """In words, for the head of every table: what was hidden and what could not be known."""
    authors = sum(item.author is not None for item in known)
    hashes = sum(item.hash is not None for item in known)
    nameless = sum(query.author is None for query in queries)
    return (
        f"hidden from each query: reference photos by its photographer (known for {authors} of {len(known)};"
        f" {nameless} queries have none), within {NEAR_DUPLICATE_BITS} of 256 bits of its perceptual hash"
        f" (known for {hashes}), or at least {exclusion.near_duplicate_similarity:g} similar to it"
    )


def check_known(known: Sequence[Reference], atlases: Sequence[str]) -> None:
    """Refuse a clean run that cannot be clean.

    Raises:
        UserError: no photographer of the reference photos is known.
    """
    if known and not any(item.author for item in known):
        raise UserError(
            f"the clean protocol has to know who took the photos of {', '.join(atlases)}: build the atlas from a table"
            " with an AUTHOR column, or give --reference-table"
        )


def read_reference_table(file: Path) -> dict[str, Reference]:
    """A table written by this module, or by hand with the columns item_id and author.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
        return {row["item_id"]: Reference(row["item_id"], row.get("author") or None, _hash(row)) for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, ValueError) as error:
        raise UserError(f"reference table {file}: {error}; it needs the columns {', '.join(COLUMNS)}") from error


def _hash(row: Mapping[str, str]) -> Bits | None:
    text = row.get("hash") or ""
    if text and len(text) != 64:
        raise ValueError(f"the hash {text[:70]!r} has not 64 hex digits")
    return np.frombuffer(bytes.fromhex(text), np.uint8) if text else None


def write_reference_table(table: Path, photos: Path, out: Path) -> Counter[str]:
    """Write the hash of every photo of a table; returns how many were seen, and how many were unusable.

    Raises:
        UserError: the table cannot be used.
    """
    items = photos_from_table(table, photos)
    fingerprints = fingerprints_of([item.path for item in items])
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for item, fingerprint in zip(items, fingerprints, strict=True):
            writer.writerow([item.item_id, item.author or "", fingerprint.hash.tobytes().hex() if fingerprint else ""])
    return Counter("seen" if fingerprint else "unusable" for fingerprint in fingerprints)


def main(argv: Sequence[str] | None = None) -> int:
    """Write a reference table; returns the exit status."""
    parser = command_parser("evals.clean.protocol", __doc__)
    parser.add_argument("table", type=Path, help="CSV that an atlas was built from (IMG_ID, AUTHOR)")
    parser.add_argument("photos", type=Path, help="folder of its photos")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    return run_command(parser, _write_table, argv)


def _write_table(chosen: argparse.Namespace) -> int:
    counts = write_reference_table(chosen.table, chosen.photos, chosen.out)
    sys.stderr.write(f"{counts['seen']} photos seen, {counts['unusable']} unusable\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
