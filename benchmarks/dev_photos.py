"""The development photos: half of IM2GPS3k, split by author."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geo.sphere import lat_lon_array
from retrieval.atlas.sources import PhotoItem, photos_from_table
from retrieval.splits import part_indices

DEFAULT_DATA = Path("../shared/data")


class DevPhotos(NamedTuple):
    """n photos with their truth; rows correspond."""

    items: Sequence[PhotoItem]
    lat_lon_deg: NDArray[np.float64]
    authors: Sequence[str]

    def part(self, name: str) -> DevPhotos:
        """The photos of one part of the standard split: train, validation or calibration."""
        rows = part_indices(self.authors, name)
        return DevPhotos([self.items[i] for i in rows], self.lat_lon_deg[rows], [self.authors[i] for i in rows])

    @property
    def paths(self) -> list[Path]:
        """The files."""
        return [item.path for item in self.items]


def load_dev_photos(data: Path) -> DevPhotos:
    """All development photos below a data folder (see docs/results.md for where they come from)."""
    folder = data / "im2gps3k_dev"
    items = photos_from_table(folder / "im2gps3k_dev.csv", folder / "images")
    points = [item.point for item in items if item.point is not None]
    if len(points) != len(items):
        raise ValueError(f"{len(items) - len(points)} development photos have no position")
    return DevPhotos(items, lat_lon_array(points), [item.author or "" for item in items])
