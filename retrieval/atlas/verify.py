"""Check an atlas against its manifest: count, checksum, lengths of vectors, and a sample that must find itself."""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

import numpy as np

from retrieval.atlas.manifest import AtlasManifest
from retrieval.encoders.base import Vectors
from retrieval.stores.base import StoredItem, VectorStore

SAMPLE = 64
_MODULUS = 2**256


class Check(NamedTuple):
    """The result of one check."""

    name: str
    ok: bool
    detail: str


class Verification(NamedTuple):
    """The results of all checks."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)


class _Scan(NamedTuple):
    """What one pass over a store found."""

    items: int
    checksum: str
    worst_length_error: float
    sample: list[tuple[StoredItem, Vectors]]


def store_checksum(store: VectorStore) -> str:
    """A digest of every item with its vector, in hex, whatever their order.

    The sum of the items' SHA-256 modulo 2**256 (AdHash, Bellare & Micciancio 1997): it finds damage; against
    forgery it is no proof.
    """
    return _scan(store, every=1 << 62).checksum


def verify_store(manifest: AtlasManifest, store: VectorStore) -> Verification:
    """Check a store against its manifest. Reads everything once."""
    found = _scan(store, every=max(1, manifest.count // SAMPLE))
    lost = [item.item_id for item, vector in found.sample if not _finds_itself(store, vector)]
    return Verification(
        (
            Check("count", found.items == manifest.count, f"{found.items} of {manifest.count} items"),
            Check("checksum", found.checksum == manifest.checksum, f"{found.checksum[:16]}"),
            Check(
                "vectors normalised", found.worst_length_error < 1e-3, f"off by {found.worst_length_error:.1e} at most"
            ),
            Check("self-search", not lost, f"{len(found.sample) - len(lost)} of {len(found.sample)} find themselves"),
        )
    )


def _scan(store: VectorStore, every: int) -> _Scan:
    total, count, worst = 0, 0, 0.0
    sample: list[tuple[StoredItem, Vectors]] = []
    for page in store.scroll():
        rows = zip(page.items, page.vectors, strict=True)
        total = (total + sum(_item_digest(item, vector) for item, vector in rows)) % _MODULUS
        errors = np.abs(np.linalg.norm(page.vectors, axis=1) - 1.0)
        worst = max(worst, float(errors.max()))
        picks = range(-count % every, len(page.items), every)
        sample += [(page.items[i], page.vectors[i]) for i in picks]
        count += len(page.items)
    return _Scan(count, f"{total:064x}", worst, sample)


def _item_digest(item: StoredItem, vector: Vectors) -> int:
    named = [item.id, item.item_id, item.point.lat, item.point.lon, sorted(item.extra.items())]
    digest = hashlib.sha256(json.dumps(named).encode())
    digest.update(np.ascontiguousarray(vector, dtype="<f4").tobytes())
    return int.from_bytes(digest.digest(), "big")


def _finds_itself(store: VectorStore, vector: Vectors) -> bool:
    """Whether the best hit is as similar as a vector is to itself: neighbours with the same vector may come first."""
    hits = store.search(vector, 1)
    return bool(hits) and hits[0].similarity > 1.0 - 1e-4
