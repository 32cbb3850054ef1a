"""Near-duplicates of a collection: only one photo of each group is trained on.

    python -m retrieval.training.data.duplicates CONFIG [key=value ...] [bits=4] [cosine=0.97]

Two photos are near-duplicates if their perceptual hashes differ in at most
`bits` of 64 and, where image tokens were prepared (`prepare.tokens=true`), the
cosine of their mean tokens is at least `cosine`. Groups may cross the split by
photographer: then the validation photo stays, and the training photo goes, so
that a copy of a query is not among the references. Writes
`data.cache/duplicates.csv`, which `data.drop_duplicates=true` reads; hashes are
kept in blocks, so that a stopped run continues.
"""

from __future__ import annotations

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
from retrieval.splits import split_by_author
from retrieval.training.config import FusionConfig, load_config, require_arguments
from retrieval.training.data.bad_samples import DUPLICATES, BadSample, write_bad_samples
from retrieval.training.data.feature_cache import open_feature_cache
from retrieval.training.data.loading import read_pixels
from retrieval.training.data.sources import PhotoSource, open_source
from retrieval.training.distributed import pick_device
from retrieval.training.frozen_backbones import FrozenBackbones

SIDE_PX, FREQUENCIES, HASH_BITS = 32, 8, 64
HASH_BLOCK = 4096
Hashes = NDArray[np.uint64]


def perceptual_hash(rgb: NDArray[np.uint8]) -> int:
    """64 bits of a photo's coarse structure: the lowest 8 x 8 frequencies of its brightness, above the median or not.

    After Zauner 2010 (pHash): 32 x 32 grey, discrete cosine transform; the constant term counts as the median.
    """
    small = Image.fromarray(rgb).convert("L").resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    grey, pixels = np.asarray(small, dtype=np.float64), np.arange(SIDE_PX)
    cosines = np.cos(np.pi * np.arange(FREQUENCIES)[:, None] * (2 * pixels + 1) / (2 * SIDE_PX))
    spectrum = (cosines @ grey @ cosines.T).ravel()
    spectrum[0] = np.median(spectrum[1:])
    return int.from_bytes(np.packbits(spectrum > np.median(spectrum)).tobytes(), "big")


def close_pairs(hashes: Hashes, bits: int) -> Iterator[tuple[int, int]]:
    """Pairs i < j of hashes, uint64 (n,), that differ in at most `bits` bits.

    If 64 bits are cut into bits + 1 bands, two such hashes agree in one band at least: only those are compared.
    """
    edges = np.linspace(0, HASH_BITS, bits + 2).astype(int)
    seen: set[tuple[int, int]] = set()
    for start, stop in itertools.pairwise(edges):
        band = (hashes >> np.uint64(start)) & np.uint64((1 << int(stop - start)) - 1)
        order = np.argsort(band, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(band[order])) + 1)
        for group in groups:
            for pair in _close_pairs_within(hashes, group, bits):
                if pair not in seen:
                    seen.add(pair)
                    yield pair


def _close_pairs_within(hashes: Hashes, group: NDArray[np.int64], bits: int) -> Iterator[tuple[int, int]]:
    for position, row in enumerate(group[:-1]):
        others = group[position + 1 :]
        near = others[np.bitwise_count(hashes[others] ^ hashes[row]) <= bits]
        yield from ((min(int(row), int(other)), max(int(row), int(other))) for other in near)


def redundant(count: int, pairs: Iterator[tuple[int, int]], keep_first: Sequence[int]) -> dict[int, int]:
    """The rows to drop, each with the near-duplicate row that is kept.

    Args:
        pairs: of near-duplicates; groups are connected components (union-find).
        keep_first: (count,), the row with the least value is kept; of equals the first row.
    """
    parent = list(range(count))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for one, other in pairs:
        kept, dropped = sorted((root(one), root(other)), key=lambda row: (keep_first[row], row))
        parent[dropped] = kept
    return {row: root(row) for row in range(count) if root(row) != row}


def find_duplicates(config: FusionConfig, bits: int = 4, cosine: float = 0.97) -> list[BadSample]:
    """The near-duplicates of a collection, which are listed in `data.cache/duplicates.csv` too.

    Raises:
        UserError: a collection that cannot be read.
    """
    data = config.data
    source, _ = open_source(data)
    rows, hashes = hash_photos(source, data.cache / "hashes", data.workers)
    pairs = close_pairs(hashes, bits)
    if config.prepare.tokens:
        means = _mean_tokens(config, source, rows)
        pairs = (pair for pair in pairs if float(means[pair[0]] @ means[pair[1]]) >= cosine)
    # Validation photos are kept before training photos.
    is_train = [int(part == "train") for part in split_by_author(source.table.authors)]
    dropped = redundant(len(rows), pairs, [is_train[row] for row in rows])
    ids = source.table.ids
    duplicates = [
        BadSample(source.describe(rows[row]), ids[rows[row]], f"near-duplicate of {ids[rows[kept]]}")
        for row, kept in sorted(dropped.items())
    ]
    write_bad_samples(data.cache / DUPLICATES, duplicates)
    return duplicates


def hash_photos(source: PhotoSource, folder: Path, workers: int) -> tuple[list[int], Hashes]:
    """Rows that can be read, and their hashes; computed once a collection, block by block."""
    ids = source.table.ids
    folder = folder / hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(ids), HASH_BLOCK)
    blocks = {folder / f"{start:09d}.npy": range(len(ids))[start : start + HASH_BLOCK] for start in starts}
    missing = {path: rows for path, rows in blocks.items() if not path.is_file()}
    with ProcessPoolExecutor(max(1, workers), get_context("spawn"), _start_worker, (source,)) as pool:
        for path, rows in tqdm(missing.items(), desc="hashes", unit="block"):
            hashed = pool.map(_hash_in_worker, rows, chunksize=64) if workers else (_hash(source, row) for row in rows)
            np.save(path, np.array(list(hashed), dtype=np.uint64))
    table = np.concatenate([np.load(path) for path in blocks])
    readable = np.flatnonzero(table[:, 0])
    return readable.tolist(), table[readable, 1]


_worker_source: PhotoSource | None = None
"""Sent to a worker once, and not with every row."""


def _start_worker(source: PhotoSource) -> None:
    global _worker_source
    _worker_source = source


def _hash_in_worker(row: int) -> tuple[int, int]:
    assert _worker_source is not None, "the pool's initializer ran"  # noqa: S101  # a programming error
    return _hash(_worker_source, row)


def _hash(source: PhotoSource, row: int) -> tuple[int, int]:
    """Whether a photo could be read (1 or 0), and its hash."""
    try:
        return 1, perceptual_hash(read_pixels(source, row))
    except (PhotoError, OSError):
        return 0, 0


def _mean_tokens(config: FusionConfig, source: PhotoSource, rows: Sequence[int]) -> torch.Tensor:
    """Mean image tokens of some rows from the feature cache, (n, dim), L2-normalised."""
    backbones = FrozenBackbones(config.model, pick_device("cpu"))
    cache = open_feature_cache(config, source, backbones.identity(tokens=True))
    cache.check_complete()
    means = torch.stack([cache.read("tokens", row).float().mean(dim=0) for row in rows])
    return torch.nn.functional.normalize(means, dim=1)


def main(arguments: list[str]) -> None:
    """Run from the command line."""
    require_arguments(arguments, __doc__)
    options = dict(one.split("=", 1) for one in arguments[1:] if one.startswith(("bits=", "cosine=")))
    overrides = [one for one in arguments[1:] if not one.startswith(("bits=", "cosine="))]
    try:
        config = load_config(Path(arguments[0]), overrides)
        if not isinstance(config, FusionConfig):
            raise UserError("recipe: near-duplicates are looked for in collections of `recipe: fusion`")
        found = find_duplicates(config, int(options.get("bits", 4)), float(options.get("cosine", 0.97)))
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    sys.stdout.write(f"{len(found)} near-duplicates, listed in {config.data.cache / DUPLICATES}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
