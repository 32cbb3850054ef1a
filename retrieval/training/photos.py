"""The table of training photos, and crops of them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geo.errors import UserError
from retrieval.splits import inner_split, part_indices
from retrieval.training.config import DataConfig

Box = NDArray[np.float64]
WHOLE: Box = np.array([0.0, 0.0, 1.0, 1.0])


class PhotoRow(NamedTuple):
    """One geotagged photo of the collection."""

    name: str
    author: str
    lat: float
    lon: float


def read_table(data: DataConfig) -> list[PhotoRow]:
    """All photos of the collection, in the table's order.

    Raises:
        UserError: no such table.
    """
    if not data.table.is_file():
        raise UserError(f"no photo table at {data.table}: set data.table to a CSV with IMG_ID, AUTHOR, LAT, LON")
    with data.table.open(newline="", encoding="utf-8") as file:
        return [
            PhotoRow(row["IMG_ID"], row["AUTHOR"], float(row["LAT"]), float(row["LON"])) for row in csv.DictReader(file)
        ]


def training_rows(data: DataConfig) -> list[PhotoRow]:
    """The photos training may see; validation and calibration authors are left out here and nowhere else."""
    rows = read_table(data)
    return [rows[i] for i in part_indices([row.author for row in rows], "train")]


def inner_mask(rows: list[PhotoRow]) -> NDArray[np.bool_]:
    """True for the training photos of the inner training authors."""
    return np.array([part == "inner_train" for part in inner_split([row.author for row in rows])])


def lat_lon_deg(rows: list[PhotoRow]) -> NDArray[np.float64]:
    """Positions of shape (n, 2) in degrees."""
    return np.array([(row.lat, row.lon) for row in rows], dtype=np.float64)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """A photo's pixels, uint8 (height, width, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)


def random_box(rng: np.random.Generator, min_area: float) -> Box:
    """A box (left, top, right, bottom) in shares of the sides, of random area and shape (Szegedy et al. 2015)."""
    area = rng.uniform(min_area, 1.0)
    shape = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    width, height = min(1.0, np.sqrt(area * shape)), min(1.0, np.sqrt(area / shape))
    left, top = rng.uniform(0.0, 1.0 - width), rng.uniform(0.0, 1.0 - height)
    return np.array([left, top, left + width, top + height])


def crop(rgb: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """The pixels inside a box, at least one."""
    height, width = rgb.shape[:2]
    left, top = int(box[0] * width), int(box[1] * height)
    right, bottom = max(left + 1, round(box[2] * width)), max(top + 1, round(box[3] * height))
    return rgb[top:bottom, left:right]
