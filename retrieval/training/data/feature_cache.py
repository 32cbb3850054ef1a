"""What the frozen backbones said about each photo, computed once and kept in blocks of files.

A segmentation is kept as the three likeliest classes of each cell of a fine
grid, 6 kB a photo, and read back as a class distribution, so that a crop of
the photo has the matching crop of the map. Tokens of the image backbone can be
kept too. A block is one safetensors file; what is there is not computed again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
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

KEPT = 3
"""Classes kept a cell; with ADE20K's 150 they hold nearly all of the mass of a confident segmenter."""
FINE_GRID = 32
OK = "ok"
"""uint8 (n,): 1 where a photo could be read; the rest of its row means nothing otherwise."""


def packed(distributions: Tensor) -> Tensor:
    """Distributions (n, cells, classes) as their likeliest classes and shares: uint8 (n, cells, 2, 3)."""
    kept = min(KEPT, distributions.shape[-1])
    shares, ids = distributions.topk(kept, dim=-1)
    shares = shares / shares.sum(dim=-1, keepdim=True).clamp(min=1e-8)
    both = torch.stack([ids.to(torch.uint8), (shares * 255.0).round().to(torch.uint8)], dim=2)
    return torch.nn.functional.pad(both, (0, KEPT - kept))


def unpacked(kept: NDArray[np.uint8], classes: int) -> NDArray[np.float32]:
    """One photo's packed cells (cells, 2, 3) as a square grid of distributions (side, side, classes)."""
    ids, shares = kept[:, 0].astype(np.int64), kept[:, 1].astype(np.float32)
    grid = np.zeros((len(kept), classes), dtype=np.float32)
    np.add.at(grid, (np.arange(len(kept))[:, None], ids), shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-8))
    side = round(len(kept) ** 0.5)
    return grid.reshape(side, side, classes)


class PreparedStore:
    """A folder of blocks.

    Args:
        folder: holds `manifest.json` and `block-000000.safetensors`, ...
        recipe: what the blocks depend on: the photos, the backbones and their weights.
        count: photos in all.
        block: photos a file.

    Raises:
        UserError: the folder was made with another recipe.
    """

    def __init__(self, folder: Path, recipe: dict[str, object], count: int, block: int) -> None:
        self.folder, self.count, self.block = folder, count, block
        self._manifest = json.loads(json.dumps({**recipe, "count": count, "block": block}))
        self._opened: dict[tuple[int, int], Any] = {}
        path = folder / "manifest.json"
        if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != self._manifest:
            raise UserError(
                f"{folder} was prepared from other photos, backbones or weights: delete it or set data.cache elsewhere"
            )

    def __getstate__(self) -> dict[str, Any]:
        """Open files do not travel to a worker."""
        return {**self.__dict__, "_opened": {}}

    def blocks(self) -> Iterator[tuple[int, range]]:
        """Number and rows of each block that is not there yet."""
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
                save_file({name: one.contiguous() for name, one in tensors.items()}, part)
        except OSError as error:
            why = error.strerror or error
            raise UserError(f"cannot write {self.folder} ({why}): free some space and run the same command") from error

    def check_complete(self) -> None:
        """Stop before training if something is not prepared.

        Raises:
            UserError: a block is missing.
        """
        missing = sum(1 for _ in self.blocks())
        if missing:
            raise UserError(
                f"{self.folder}: {missing} blocks are not prepared: run "
                "python -m retrieval.training.data.prepare CONFIG, or set data.prepared=false to segment while training"
            )

    def read(self, name: str, row: int) -> Tensor:
        """One photo's tensor; each process opens the files for itself.

        Raises:
            PhotoError: the photo could not be read when this was prepared.
        """
        if not self._slice(OK, row):
            raise PhotoError("could not be read when it was prepared")
        return self._slice(name, row)

    def _slice(self, name: str, row: int) -> Tensor:
        number, inside = divmod(row, self.block)
        key = (os.getpid(), number)
        if key not in self._opened:
            self._opened[key] = safe_open(self._path(number), framework="pt")
        found: Tensor = self._opened[key].get_slice(name)[inside]
        return found

    def _path(self, number: int) -> Path:
        return self.folder / f"block-{number:06d}.safetensors"
