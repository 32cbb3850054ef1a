"""Random crops of photos, and of segmentation grids under the same box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Box = NDArray[np.float64]
WHOLE: Box = np.array([0.0, 0.0, 1.0, 1.0])


def random_box(rng: np.random.Generator, min_area: float) -> Box:
    """A box (left, top, right, bottom) in shares of the sides, of random area and aspect (Szegedy et al. 2015)."""
    area = rng.uniform(min_area, 1.0)
    aspect = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    width, height = min(1.0, np.sqrt(area * aspect)), min(1.0, np.sqrt(area / aspect))
    left, top = rng.uniform(0.0, 1.0 - width), rng.uniform(0.0, 1.0 - height)
    return np.array([left, top, left + width, top + height])


def crop(rgb: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """The pixels of a photo (height, width, 3) inside a box, at least one."""
    height, width = rgb.shape[:2]
    left, top = int(box[0] * width), int(box[1] * height)
    right, bottom = max(left + 1, round(box[2] * width)), max(top + 1, round(box[3] * height))
    return rgb[top:bottom, left:right]


def crop_grid(grid: NDArray[np.float32], box: Box, size: int) -> NDArray[np.float32]:
    """The part of a grid (rows, columns, classes) under a box, as (size, size, classes), each cell averaged by area."""
    rows = _area_weights(grid.shape[0], box[1], box[3], size)
    columns = _area_weights(grid.shape[1], box[0], box[2], size)
    return np.asarray(np.einsum("ai,bj,ijc->abc", rows, columns, grid, optimize=True), dtype=np.float32)


def _area_weights(source: int, start: float, stop: float, target: int) -> NDArray[np.float32]:
    edges = (start + (stop - start) * np.arange(target + 1) / target) * source
    cells = np.arange(source)
    overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    overlap = np.clip(overlap, 0.0, None)
    return np.asarray(overlap / overlap.sum(axis=1, keepdims=True), dtype=np.float32)
