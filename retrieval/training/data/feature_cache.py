"""Features of the frozen backbones, computed once for each photo and kept in blocks of files.

A segmentation is kept as the three likeliest classes of each cell of a fine
grid, 6 kB a photo, and read back as a class distribution, so that a crop of
the photo has the matching crop of the map. Tokens of the image backbone can be
kept too. A block is one safetensors file; an existing block is not computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from core.errors import UserError
from core.files import replacing
from retrieval.photos.decoding import PhotoError
from retrieval.training.config import FusionConfig
from retrieval.training.data.sources import PhotoSource

CLASSES_KEPT = 3
"""Classes kept a cell; with ADE20K's 150 they hold nearly all of the mass of a confident segmenter."""
FINE_GRID = 32
OK = "ok"
"""uint8 (n,): 1 where a photo could be read; the rest of its row means nothing otherwise."""


def pack_distributions(distributions: Tensor) -> Tensor:
    """Class distributions (n, cells, classes) as their likeliest classes and shares: uint8 (n, cells, 2, 3)."""
    kept = min(CLASSES_KEPT, distributions.shape[-1])
    shares, classes = distributions.topk(kept, dim=-1)
    shares = shares / shares.sum(dim=-1, keepdim=True).clamp(min=1e-8)
    both = torch.stack([classes.to(torch.uint8), (shares * 255.0).round().to(torch.uint8)], dim=2)
    return torch.nn.functional.pad(both, (0, CLASSES_KEPT - kept))


def unpack_distributions(packed: NDArray[np.uint8], classes: int) -> NDArray[np.float32]:
    """One photo's packed cells (cells, 2, 3) as a square grid of distributions, float32 (side, side, classes)."""
    ids, shares = packed[:, 0].astype(np.int64), packed[:, 1].astype(np.float32)
    cells = np.arange(len(packed))[:, None]
    grid = np.zeros((len(packed), classes), dtype=np.float32)
    np.add.at(grid, (cells, ids), shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-8))
    side = round(len(packed) ** 0.5)
    return grid.reshape(side, side, classes)


class FeatureCache:
    """A folder of blocks.

    Args:
        folder: holds `manifest.json` and `block-000000.safetensors`, ...
        recipe: what the blocks depend on: the photos, the backbones and their weights.
        block: photos a file.

    Raises:
        UserError: the folder was made with another recipe.
    """

    def __init__(self, folder: Path, recipe: dict[str, object], count: int, block: int) -> None:
        self.folder, self.count, self.block = folder, count, block
        self._manifest = json.loads(json.dumps({**recipe, "count": count, "block": block}))
        self._files: dict[tuple[int, int], Any] = {}
        path = folder / "manifest.json"
        if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != self._manifest:
            raise UserError(
                f"{folder} was prepared from other photos, backbones or weights: delete it or set data.cache elsewhere"
            )

    def __getstate__(self) -> dict[str, Any]:
        """Open files are not pickled to a worker."""
        return {**self.__dict__, "_files": {}}

    def missing_blocks(self) -> Iterator[tuple[int, range]]:
        """Number and rows of each block that is still to be computed."""
        for number in range((self.count + self.block - 1) // self.block):
            if not self._path(number).is_file():
                yield number, range(number * self.block, min(self.count, (number + 1) * self.block))

    def write(self, number: int, tensors: dict[str, Tensor]) -> None:
        """Keep a block.

        Raises:
            UserError: no space left.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "manifest.json").write_text(json.dumps(self._manifest, indent=2), encoding="utf-8")
            with replacing(self._path(number)) as part:
                save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part)
        except OSError as error:
            why = error.strerror or error
            raise UserError(f"cannot write {self.folder} ({why}): free some space and run the same command") from error

    def check_complete(self) -> None:
        """Stop before training if a block is missing.

        Raises:
            UserError: a block is missing.
        """
        missing = sum(1 for _ in self.missing_blocks())
        if missing:
            raise UserError(
                f"{self.folder}: {missing} blocks are not prepared: run "
                "python -m retrieval.training.data.prepare CONFIG, or set data.prepared=false to segment while training"
            )

    def read(self, name: str, row: int) -> Tensor:
        """One photo's tensor; each process opens the files for itself.

        Raises:
            PhotoError: the photo could not be read when the block was computed.
        """
        if not self._row(OK, row):
            raise PhotoError("could not be read when it was prepared")
        return self._row(name, row)

    def _row(self, name: str, row: int) -> Tensor:
        number, inside = divmod(row, self.block)
        key = (os.getpid(), number)
        if key not in self._files:
            self._files[key] = safe_open(self._path(number), framework="pt")
        tensor: Tensor = self._files[key].get_slice(name)[inside]
        return tensor

    def _path(self, number: int) -> Path:
        return self.folder / f"block-{number:06d}.safetensors"


def open_feature_cache(config: FusionConfig, source: PhotoSource, backbones: Mapping[str, str]) -> FeatureCache:
    """The cache of a collection's segmentation maps (and tokens) in `data.cache/prepared`.

    Args:
        backbones: identity of the weights, see `FrozenBackbones.identity`.

    Raises:
        UserError: it was made from other photos, backbones or weights.
    """
    photos = hashlib.sha256("\n".join(source.table.ids).encode()).hexdigest()
    recipe = {**backbones, "photos": photos, "fine_grid": FINE_GRID, "tokens": config.prepare.tokens}
    return FeatureCache(config.data.cache / "prepared", recipe, len(source.table.ids), config.prepare.block)
