import mercantile
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from geo.point import Point
from geo.tiles import (
    MAX_LATITUDE_DEG,
    TILE_PX,
    Tile,
    TileBounds,
    covering_tiles,
    finest_zoom,
    km_per_pixel,
    map_width_px,
    pixels,
    tile_bounds,
    tiles_in,
)

LATITUDES = st.floats(-85.0, 85.0)
LONGITUDES = st.floats(-180.0, 179.999)
ZOOMS = st.integers(0, 18)


def test_the_middle_of_the_map_is_null_island():
    assert pixels((0.0, 0.0), 0).tolist() == [128.0, 128.0]
    assert pixels((0.0, -180.0), 3)[0] == 0.0
    assert pixels((0.0, 180.0), 3)[0] == 0.0


def test_the_poles_are_held_at_the_edges():
    assert pytest.approx(85.0511287798066) == MAX_LATITUDE_DEG
    assert pixels([(90.0, 0.0), (-90.0, 0.0)], 2)[:, 1].tolist() == [0.0, 1024.0]


@given(LATITUDES, LONGITUDES, ZOOMS)
def test_pixels_agree_with_mercantile(lat, lon, zoom):
    tile = mercantile.tile(lon, lat, zoom)
    bounds = mercantile.bounds(tile)
    corners = pixels([(bounds.north, bounds.west), (bounds.south, (bounds.west + bounds.east) / 2)], zoom)
    expected = np.array([(tile.x, tile.y), (tile.x + 0.5, tile.y + 1)]) * TILE_PX
    assert corners == pytest.approx(expected, abs=1e-5)


def test_km_per_pixel_by_hand():
    assert km_per_pixel(0.0, 0) == pytest.approx(40030.228 / 256, rel=1e-6)
    assert km_per_pixel(60.0, 8) == pytest.approx(40030.228 / 2 / 65536, rel=1e-6)


def test_covering_tiles_paint_every_pixel_across_the_antimeridian():
    painted = np.zeros((400, 400), int)
    for tile, left, top in covering_tiles(Point(lat=10.0, lon=179.99), 4, 400):
        assert 0 <= tile.x < 16
        painted[max(0, top) : max(0, top + TILE_PX), max(0, left) : max(0, left + TILE_PX)] += 1
    assert (painted == 1).all()
    assert {tile.x for tile, _, _ in covering_tiles(Point(lat=10.0, lon=179.99), 4, 400)} == {15, 0}


def test_covering_tiles_put_the_point_in_the_middle():
    point = Point(lat=48.8584, lon=2.2945)
    tile = Tile(6, *mercantile.tile(point.lon, point.lat, 6)[:2])
    placed = next(p for p in covering_tiles(point, 6, 300) if p.tile == tile)
    x, y = pixels((point.lat, point.lon), 6) - np.array([placed.tile.x, placed.tile.y]) * TILE_PX
    assert (x + placed.left_px, y + placed.top_px) == pytest.approx((150.0, 150.0), abs=1.0)


def test_covering_tiles_end_where_the_map_ends():
    tiles = [placed.tile for placed in covering_tiles(Point(lat=89.0, lon=0.0), 1, 300)]
    assert {tile.y for tile in tiles} == {0}


def test_a_negative_zoom_is_refused():
    with pytest.raises(ValueError, match="zoom must be 0 or more, not -1"):
        map_width_px(-1)


@given(LATITUDES, LONGITUDES, st.integers(0, 22))
def test_bounds_and_centres_agree_with_mercantile(lat, lon, zoom):
    theirs = mercantile.tile(lon, lat, zoom)
    ours = Tile(theirs.z, theirs.x, theirs.y)
    bounds = mercantile.bounds(theirs)
    assert tile_bounds(ours) == pytest.approx((bounds.south, bounds.west, bounds.north, bounds.east), abs=1e-9)
    assert tile_bounds(ours).contains(tile_bounds(ours).centre)
    assert list(tiles_in(tile_bounds(ours), zoom)) == [ours]


@given(st.tuples(LATITUDES, LATITUDES), LONGITUDES, LONGITUDES, st.integers(0, 5))
def test_the_tiles_of_an_area_are_mercantiles(lats, west, east, zoom):
    south, north = sorted(lats)
    edges = pixels([(north, west), (south, east)], zoom) / TILE_PX
    assume(south < north and west != east and np.abs(edges - np.round(edges)).min() > 1e-6)
    ours = list(tiles_in(TileBounds(south, west, north, east), zoom))
    assert len(ours) == len(set(ours))
    theirs = mercantile.tiles(west, south, east, north, [zoom])
    assert set(ours) == {Tile(tile.z, tile.x, tile.y) for tile in theirs}


def test_tiles_of_the_whole_map_and_beyond_it():
    assert len(list(tiles_in(TileBounds(-90.0, -180.0, 90.0, 180.0), 2))) == 16
    assert not list(tiles_in(TileBounds(86.0, -180.0, 90.0, 180.0), 2))
    assert [tile.x for tile in tiles_in(TileBounds(1.0, 170.0, 2.0, -170.0), 2)] == [3, 0]


def test_an_area_around_the_whole_earth_holds_every_longitude_and_has_a_centre():
    for west in (-180.0, 0.0, 20.0):
        around = TileBounds(-10.0, west, 10.0, west + 360.0)
        assert around.holds([(0.0, lon) for lon in (-180.0, -90.0, 0.0, 19.9, 180.0)]).all()
        assert abs(around.centre.lon - west) == 180.0
        assert len(list(tiles_in(around, 3))) == 16
    assert TileBounds(-10.0, 0.0, 10.0, 360.0).width_deg == 360.0


def test_an_edge_on_the_antimeridian_has_two_longitudes():
    for area in (TileBounds(0.0, -180.0, 1.0, -179.0), TileBounds(0.0, 179.0, 1.0, 180.0)):
        assert area.holds([(0.5, 180.0), (0.5, -180.0), (0.5, 178.0), (1.5, 180.0)]).tolist() == [
            True,
            True,
            False,
            False,
        ]
    assert TileBounds(0.0, 5.0, 1.0, 5.0).width_deg == 0.0
    assert list(tiles_in(TileBounds(0.1, 5.0, 0.2, 5.0 + 1e-9), 4)) == [Tile(4, 8, 7)]


def test_the_first_level_that_is_fine_enough():
    assert finest_zoom(60.0, km_per_pixel(60.0, 7), range(3, 12)) == 7
    assert finest_zoom(60.0, km_per_pixel(60.0, 7) * 0.99, range(3, 12)) == 8
    assert finest_zoom(60.0, 1e-9, range(3, 12)) == 11
    assert finest_zoom(60.0, 1e9, range(3, 12)) == 3
