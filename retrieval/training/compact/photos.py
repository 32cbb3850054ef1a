"""The photos that `compact` is trained on: a folder beside a table, small enough to be read whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import UserError
from retrieval.splits import inner_split, part_indices
from retrieval.training.config import DataConfig
from retrieval.training.data.table import PhotoTable, read_photo_table


def photos_of(data: DataConfig, part: str) -> PhotoTable:
    """Read one part of the split by photographer, in the table's order.

    Args:
        data: names the table.
        part: `train`, `validation` or `calibration`.

    Raises:
        UserError: no such table, or a row that cannot be used.
    """
    if data.table is None:
        raise UserError("data.table: set it to a CSV with IMG_ID, AUTHOR, LAT, LON")
    table, bad = read_photo_table(data.table, data.columns)
    if bad:
        raise UserError(f"{bad[0].where} ({bad[0].name}): {bad[0].reason}; {len(bad)} such rows: mend the table")
    return table.take(part_indices(table.authors, part))


def inner_train_mask(train: PhotoTable) -> NDArray[np.bool_]:
    """True, (n,), for the training photos by inner training authors."""
    return np.array([part == "inner_train" for part in inner_split(train.authors)])


def read_rgb(data: DataConfig, name: str) -> NDArray[np.uint8]:
    """Read a photo's pixels, uint8 (height, width, 3).

    Raises:
        UserError: no folder is configured.
    """
    if data.photos is None:
        raise UserError("data.photos: set it to the folder of the photos")
    with Image.open(data.photos / name) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)
