from __future__ import annotations

import re

import numpy as np
import pytest

from geo.basemap import is_land
from geo.shorelines import Bounds, LineKind, land_path, lines_within

FIJI = Bounds(west=170.0, south=-25.0, east=190.0, north=-10.0)


@pytest.mark.parametrize("kind", list(LineKind))
def test_lines_lie_within_the_bounds(kind: LineKind) -> None:
    france = Bounds(-5.0, 42.0, 8.0, 51.0)
    lines = lines_within(france, kind, "l", 0.02)
    assert lines or kind is LineKind.STATE
    for lon, lat in (line.T for line in lines):
        assert lon.min() >= france.west - 1e-9
        assert lon.max() <= france.east + 1e-9
        assert lat.min() >= france.south - 1e-9
        assert lat.max() <= france.north + 1e-9


def test_bounds_may_cross_the_antimeridian() -> None:
    lon = np.concatenate([line[:, 0] for line in lines_within(FIJI, LineKind.COAST, "i", 0.01)])
    assert (lon < 180.0).any()
    assert (lon > 180.0).any()
    # The same lines with the same window named a turn further west.
    west = FIJI._replace(west=FIJI.west - 360.0, east=FIJI.east - 360.0)
    turned = np.concatenate([line[:, 0] for line in lines_within(west, LineKind.COAST, "i", 0.01)])
    assert sorted(turned + 360.0) == pytest.approx(sorted(lon))


def test_a_coarse_tolerance_leaves_islets_out() -> None:
    assert len(lines_within(FIJI, LineKind.COAST, "i", 0.5)) < len(lines_within(FIJI, LineKind.COAST, "i", 0.01))


def test_the_largest_land_of_the_path_is_land_on_the_land_mask() -> None:
    rings = [ring.replace("L", " ").split() for ring in re.findall(r"M([^Z]+)Z", land_path())]
    x, y = np.array(max(rings, key=len), dtype=float).reshape(-1, 2).mean(axis=0)
    assert is_land((90.0 - y, x - 180.0)).all()
