"""The photos that `compact` is made from: a folder beside a table, small enough to be read whole."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import UserError
from retrieval.splits import inner_split, part_indices
from retrieval.training.config import DataConfig
from retrieval.training.data.table import read_photo_table


class CompactPhoto(NamedTuple):
    """One geotagged photo of the collection."""

    name: str
    author: str
    lat: float
    lon: float


def read_table(data: DataConfig) -> list[CompactPhoto]:
    """All photos of the collection, in the table's order.

    Raises:
        UserError: no such table, or a row that cannot be used.
    """
    if data.table is None:
        raise UserError("data.table: set it to a CSV with IMG_ID, AUTHOR, LAT, LON")
    table, bad = read_photo_table(data.table, data.columns)
    if bad:
        raise UserError(f"{bad[0].where} ({bad[0].name}): {bad[0].reason}; {len(bad)} such rows: mend the table")
    columns = zip(table.ids, table.authors, table.positions_deg.tolist(), strict=True)
    return [CompactPhoto(name, author, lat, lon) for name, author, (lat, lon) in columns]


def training_rows(data: DataConfig) -> list[CompactPhoto]:
    """The photos training may see; validation and calibration authors are left out here and nowhere else."""
    rows = read_table(data)
    return [rows[i] for i in part_indices([row.author for row in rows], "train")]


def inner_mask(rows: list[CompactPhoto]) -> NDArray[np.bool_]:
    """True for the training photos of the inner training authors."""
    return np.array([part == "inner_train" for part in inner_split([row.author for row in rows])])


def lat_lon_deg(rows: list[CompactPhoto]) -> NDArray[np.float64]:
    """Positions of shape (n, 2) in degrees."""
    return np.array([(row.lat, row.lon) for row in rows], dtype=np.float64)


def photo_path(data: DataConfig, row: CompactPhoto) -> Path:
    """A photo's file.

    Raises:
        UserError: no folder is configured.
    """
    if data.photos is None:
        raise UserError("data.photos: set it to the folder of the photos")
    return data.photos / row.name


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """A photo's pixels, uint8 (height, width, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)
