"""Near-duplicates of a collection: of each group only one photo is trained on.

    python -m retrieval.training.data.duplicates CONFIG [key=value ...] [bits=4] [cosine=0.97]

Two photos are near-duplicates if their perceptual hashes differ in at most
`bits` of 64 and, where image tokens were prepared (`prepare.tokens=true`), the
cosine of their mean tokens is at least `cosine`. Groups may cross the split by
photographer: then the validation photo stays, and the training photo goes, so
that a copy of a question is not among the answers. Writes
`data.cache/duplicates.csv`, which `data.drop_duplicates=true` reads; hashes are
kept in blocks, so that a stopped run goes on.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from core.errors import UserError
from retrieval.photos.decoding import PhotoError
from retrieval.photos.photo import decode_photo
from retrieval.splits import split_by_author
from retrieval.training.config import FusionConfig, load_any_config
from retrieval.training.data.bad_samples import BadSample
from retrieval.training.data.loading import LIMITS
from retrieval.training.data.sources import PhotoSource, open_source
from retrieval.training.distributed import pick_device
from retrieval.training.frozen_backbones import FrozenBackbones
from retrieval.training.fusion_recipe import DUPLICATES, identity_of, prepared_store

SIDE, KEPT, BITS = 32, 8, 64
BLOCK = 4096
Hashes = NDArray[np.uint64]


def perceptual_hash(rgb: NDArray[np.uint8]) -> int:
    """64 bits of a photo's coarse structure: the lowest 8 x 8 frequencies of its brightness, above the median or not.

    After Zauner 2010 (pHash): 32 x 32 grey, discrete cosine transform; the constant term counts as the median.
    """
    grey = np.asarray(Image.fromarray(rgb).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)
    steps = np.arange(SIDE)
    waves = np.cos(np.pi * np.arange(KEPT)[:, None] * (2 * steps + 1) / (2 * SIDE))
    low = (waves @ grey @ waves.T).ravel()
    low[0] = np.median(low[1:])
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def close_pairs(hashes: Hashes, bits: int) -> Iterator[tuple[int, int]]:
    """Pairs i < j of hashes that differ in at most `bits` bits.

    If 64 bits are cut into bits + 1 bands, two such hashes agree in one band at least: only those are compared.
    """
    edges = np.linspace(0, BITS, bits + 2).astype(int)
    seen: set[tuple[int, int]] = set()
    for start, stop in itertools.pairwise(edges):
        band = (hashes >> np.uint64(start)) & np.uint64((1 << int(stop - start)) - 1)
        order = np.argsort(band, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(band[order])) + 1)
        for group in (one for one in groups if len(one) > 1):
            for pair in _within(hashes, group, bits):
                if pair not in seen:
                    seen.add(pair)
                    yield pair


def _within(hashes: Hashes, group: NDArray[np.int64], bits: int) -> Iterator[tuple[int, int]]:
    for position, row in enumerate(group[:-1]):
        others = group[position + 1 :]
        near = others[np.bitwise_count(hashes[others] ^ hashes[row]) <= bits]
        yield from ((min(int(row), int(other)), max(int(row), int(other))) for other in near)


def redundant(count: int, pairs: Iterator[tuple[int, int]], keep_first: Sequence[int]) -> dict[int, int]:
    """Which rows are near-duplicates of one that is kept, and of which.

    Args:
        count: of rows.
        pairs: of near-duplicates; groups are what they connect.
        keep_first: (count,), the row with the least of these is kept; of equals the first.
    """
    parent = list(range(count))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for one, other in pairs:
        a, b = root(one), root(other)
        better, worse = (a, b) if (keep_first[a], a) <= (keep_first[b], b) else (b, a)
        parent[worse] = better
    return {row: root(row) for row in range(count) if root(row) != row}


def find_duplicates(config: FusionConfig, bits: int = 4, cosine: float = 0.97) -> list[BadSample]:
    """The near-duplicates of a collection, as listed.

    Raises:
        UserError: a collection that cannot be read.
    """
    data = config.data
    source, _ = open_source(data.photos, data.shards, data.table, data.columns, data.cache / "shards.npz")
    rows, hashes = hash_photos(source, data.cache / "hashes", data.workers)
    pairs = close_pairs(hashes, bits)
    if config.prepare.tokens:
        pairs = _alike(pairs, _embeddings(config, source, rows), cosine)
    # Held-out photos are kept before training photos.
    held_first = [int(part == "train") for part in split_by_author(source.table.authors)]
    dropped = redundant(len(rows), pairs, [held_first[row] for row in rows])
    ids = source.table.ids
    found = [
        BadSample(source.where(rows[row]), ids[rows[row]], f"near-duplicate of {ids[rows[kept]]}")
        for row, kept in sorted(dropped.items())
    ]
    _write(data.cache / DUPLICATES, found)
    return found


def hash_photos(source: PhotoSource, folder: Path, workers: int) -> tuple[list[int], Hashes]:
    """Rows that can be read, and their hashes; computed once a collection, block by block."""
    folder = folder / hashlib.sha256("\n".join(source.table.ids).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(source.table.ids), BLOCK)
    blocks = [(start, list(range(start, min(start + BLOCK, len(source.table.ids))))) for start in starts]
    todo = [(start, rows) for start, rows in blocks if not _block(folder, start).is_file()]
    with ProcessPoolExecutor(max(1, workers), get_context("spawn"), _start, (source,)) as pool:
        for start, rows in tqdm(todo, desc="hashes", unit="block"):
            found = (
                [_hash_here(source, row) for row in rows] if not workers else list(pool.map(_hash, rows, chunksize=64))
            )
            np.save(_block(folder, start), np.array([[ok, value] for ok, value in found], dtype=np.uint64))
    table = np.concatenate([np.load(_block(folder, start)) for start, _ in blocks])
    rows_read = np.flatnonzero(table[:, 0])
    return [int(row) for row in rows_read], table[rows_read, 1]


def _block(folder: Path, start: int) -> Path:
    return folder / f"{start:09d}.npy"


_source: PhotoSource | None = None


def _start(source: PhotoSource) -> None:
    global _source
    _source = source


def _hash(row: int) -> tuple[int, int]:
    assert _source is not None, "the pool's initializer ran"  # noqa: S101  # a programming error, not the user's
    return _hash_here(_source, row)


def _hash_here(source: PhotoSource, row: int) -> tuple[int, int]:
    """Whether a photo could be read, and its hash."""
    try:
        return 1, perceptual_hash(decode_photo(source.read(row), source.table.ids[row], limits=LIMITS).rgb)
    except (PhotoError, OSError):
        return 0, 0


def _embeddings(config: FusionConfig, source: PhotoSource, rows: Sequence[int]) -> torch.Tensor:
    frozen = FrozenBackbones(config.model, pick_device("cpu"))
    store = prepared_store(config, source, identity_of(frozen, tokens=True))
    store.check_complete()
    means = torch.stack([store.read("tokens", row).float().mean(dim=0) for row in rows])
    return torch.nn.functional.normalize(means, dim=1)


def _alike(pairs: Iterator[tuple[int, int]], vectors: torch.Tensor, cosine: float) -> Iterator[tuple[int, int]]:
    return ((one, other) for one, other in pairs if float(vectors[one] @ vectors[other]) >= cosine)


def _write(path: Path, found: list[BadSample]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([BadSample._fields, *found])


def main(arguments: list[str]) -> None:
    """Run from the command line."""
    if not arguments:
        raise SystemExit(
            "usage: python -m retrieval.training.data.duplicates CONFIG [key=value ...] [bits=4] [cosine=0.97]"
        )
    own = dict(one.split("=", 1) for one in arguments[1:] if one.startswith(("bits=", "cosine=")))
    overrides = [one for one in arguments[1:] if not one.startswith(("bits=", "cosine="))]
    try:
        config = load_any_config(Path(arguments[0]), overrides)
        if not isinstance(config, FusionConfig):
            raise UserError("recipe: near-duplicates are looked for in collections of `recipe: fusion`")
        found = find_duplicates(config, int(own.get("bits", 4)), float(own.get("cosine", 0.97)))
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    sys.stdout.write(f"{len(found)} near-duplicates, listed in {config.data.cache / DUPLICATES}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
