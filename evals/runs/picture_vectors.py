"""Vectors of many pictures, kept in files as they are made, so that a run that was cut off goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from core.errors import UserError
from core.files import replacing
from retrieval.encoders.base import EncoderIdentity, Vectors
from retrieval.photos.photo import Photo, PhotoError, PhotoLimits, load_photo

PART = 2048
"""Pictures whose vectors are in one file. By hand, as is the next."""
BATCH = 64

LIMITS = PhotoLimits(min_side_px=16, long_side_px=1024)

Embed = Callable[[Sequence[Photo]], Vectors]


class KeptVectors(NamedTuple):
    """Where pictures are read, and where their vectors are kept.

    Attributes:
        pictures: names of pictures are relative to it.
        folder: of the vectors.
        encoder: whose they are; those of another are not taken for them.
        workers: threads that decode.
    """

    pictures: Path
    folder: Path
    encoder: EncoderIdentity
    workers: int

    def of(self, kind: str, names: Sequence[str], embed: Embed) -> Vectors:
        """Vectors (n, dim) of pictures, NaN where one cannot be read.

        Args:
            kind: for people, and the beginning of the files' names.

        Raises:
            UserError: none of the pictures can be read.
        """
        digest = hashlib.sha256(json.dumps([self.encoder.model_dump(), *names]).encode()).hexdigest()[:12]
        self.folder.mkdir(parents=True, exist_ok=True)
        parts, starts = list[Vectors](), range(0, len(names), PART)
        for start in track(starts, description=kind, console=Console(stderr=True), disable=len(starts) < 2):
            file = self.folder / f"{kind}-{digest}-{start:07d}.npy"
            if not file.is_file():
                with replacing(file) as part, part.open("wb") as opened:
                    np.save(opened, self._part(names[start : start + PART], embed))
            parts.append(np.load(file, allow_pickle=False))
        dim = max((part.shape[1] for part in parts), default=0)
        if not dim:
            raise UserError(f"none of {len(names):,} pictures below {self.pictures} can be read: fetch them again")
        return np.concatenate(
            [part if part.shape[1] else np.full((len(part), dim), np.nan, part.dtype) for part in parts]
        )

    def _part(self, names: Sequence[str], embed: Embed) -> Vectors:
        """Vectors of some pictures; of width 0 where none can be read."""
        rows: dict[int, Vectors] = {}
        for start, photos in self._decoded(names):
            read = [(start + at, photo) for at, photo in enumerate(photos) if photo is not None]
            if read:
                vectors = embed([photo for _, photo in read])
                rows |= {row: vector for (row, _), vector in zip(read, vectors, strict=True)}
        found = np.full((len(names), len(next(iter(rows.values()), ()))), np.nan, dtype=np.float32)
        for row, vector in rows.items():
            found[row] = vector
        return found

    def _decoded(self, names: Sequence[str]) -> Iterator[tuple[int, list[Photo | None]]]:
        with ThreadPoolExecutor(self.workers) as pool:
            for start in range(0, len(names), BATCH):
                paths = [self.pictures / name for name in names[start : start + BATCH]]
                yield start, list(pool.map(_photo, paths))


def _photo(path: Path) -> Photo | None:
    try:
        return load_photo(path, limits=LIMITS)
    except PhotoError:
        return None
