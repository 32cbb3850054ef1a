"""Perceptual hashes of photos: which are nearly the same picture, and which show nothing.

Thresholds were chosen on the training and calibration photos, with copies made by recompressing, resizing,
brightening and cropping: see docs/evals.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from retrieval.photos.decoding import read_file
from retrieval.photos.photo import Photo, PhotoError, PhotoLimits, decode_photo

NEAR_DUPLICATE_BITS = 36
"""Pictures whose hashes differ in at most so many of 256 bits are nearly the same."""
PLAIN_SHARE = 0.90
"""A picture of which so much has nearly one shade is taken for a placeholder."""
COPIES = 3
"""So many photos of as many photographers that are one picture are a placeholder, whatever it shows."""

_SIDE = 16
_SMALL = PhotoLimits(long_side_px=256)

Bits = NDArray[np.uint8]


class Fingerprint(NamedTuple):
    """What is compared to find near duplicates and placeholders.

    Attributes:
        photo_id: its name in tool calls.
        hash: 256 bits as 32 bytes.
        plain: share of the picture that has nearly one shade.
    """

    photo_id: str
    sha256: str
    hash: Bits
    plain: float


def fingerprint(photo: Photo) -> Fingerprint:
    """The fingerprint of a decoded photo."""
    return Fingerprint(photo.id, photo.sha256, difference_hash(photo.rgb), plain_share(photo.rgb))


def fingerprint_of(path: Path) -> Fingerprint | None:
    """The fingerprint of a file, decoded small; None if it is no usable photo: locating it gives the reason."""
    try:
        return fingerprint(decode_photo(read_file(path, _SMALL.max_bytes), path.name, limits=_SMALL))
    except PhotoError:
        return None


def fingerprints_of(paths: Sequence[Path | None], threads: int = 2) -> list[Fingerprint | None]:
    """The fingerprints of many files; None where there is no file."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda path: fingerprint_of(path) if path else None, paths))


def difference_hash(rgb: NDArray[np.uint8]) -> Bits:
    """256 bits: whether each cell of a 16 × 16 grid is brighter than its right neighbour (Krawetz 2013), packed."""
    grey = Image.fromarray(rgb).convert("L").resize((_SIDE + 1, _SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    cells = np.asarray(grey, dtype=np.int16)
    return np.packbits(cells[:, :-1] > cells[:, 1:])


def plain_share(rgb: NDArray[np.uint8]) -> float:
    """The largest share of a 64 × 64 grid whose grey values lie within 8 of each other."""
    grey = np.asarray(Image.fromarray(rgb).convert("L").resize((64, 64), Image.Resampling.BOX))
    counts = np.convolve(np.bincount(grey.ravel(), minlength=256), np.ones(8, dtype=int))
    return float(counts.max() / grey.size)


def bits_apart(hashes: Bits, other: Bits) -> NDArray[np.int64]:
    """In how many bits n hashes (n, 32) differ from one (32,)."""
    return np.asarray(np.bitwise_count(hashes ^ other).sum(axis=1, dtype=np.int64))


def near_duplicates(hashes: Bits, other: Bits) -> NDArray[np.int64]:
    """Indices (k,) of the n hashes (n, 32) of pictures that are nearly the one of a hash (32,)."""
    return np.flatnonzero(bits_apart(hashes, other) <= NEAR_DUPLICATE_BITS)
