import numpy as np
import pytest
import shapely

from belief.areas import Polygons, credible_polygons
from belief.posterior import Belief
from belief.support import make_support
from tests.belief.beliefs import (
    ATLANTIC,
    FIJI,
    LISBON,
    NORTH_POLE,
    NULL_ISLAND,
    PARIS,
    SOUTH_POLE,
    TOKYO,
    belief_in,
    parameters,
    record,
)

SHARES = (0.25, 0.5, 0.75, 0.9)
CITY = record(s3=0.3, s25=0.7)
KM2_PER_SQUARE_DEGREE = 111.195**2


def of_the_prior() -> Belief:
    return Belief(make_support(), {}, {}, parameters())


BELIEFS = {
    "prior": of_the_prior,
    "city": lambda: belief_in({PARIS: 1.0}, CITY),
    "spot": lambda: belief_in({LISBON: 1.0}, record(s0_3=1.0)),
    "two": lambda: belief_in({PARIS: 0.5, TOKYO: 0.5}, CITY),
    "sea": lambda: belief_in({ATLANTIC: 1.0}, CITY),
    "origin": lambda: belief_in({NULL_ISLAND: 1.0}, CITY),
    "antimeridian": lambda: belief_in({FIJI: 1.0}, CITY),
    "north pole": lambda: belief_in({NORTH_POLE: 1.0}, CITY),
    "south pole": lambda: belief_in({SOUTH_POLE: 1.0}, record(s150=1.0)),
    "wide": lambda: belief_in({PARIS: 0.8}, record(s800=1.0)),
}


def shapes(polygons: Polygons) -> list[shapely.Polygon]:
    return [shapely.Polygon(rings[0], rings[1:]) for rings in polygons]


def area_km2(polygons: Polygons) -> float:
    """On the sphere, a cell of 0.02° of latitude at a time would be exact; small shapes need the middle's alone."""
    return sum(
        shape.area * KM2_PER_SQUARE_DEGREE * float(np.cos(np.radians(shape.centroid.y))) for shape in shapes(polygons)
    )


@pytest.mark.parametrize("name", BELIEFS)
def test_polygons_are_valid_on_the_map_and_hold_what_they_claim(name: str) -> None:
    belief = BELIEFS[name]()
    lon_lat = shapely.points(belief.support.lat_lon_deg[:, ::-1])
    before = 0.0
    for share in SHARES:
        polygons = credible_polygons(belief, share)
        parts = shapes(polygons)
        assert parts
        assert all(part.is_valid for part in parts)
        corners = np.concatenate([np.array(ring) for rings in polygons for ring in rings])
        assert (np.abs(corners) <= [180.0, 90.0]).all()
        assert len(corners) < 3000
        held = belief.mass[shapely.intersects(shapely.union_all(parts), lon_lat)].sum()
        assert held >= share - 0.05, share
        assert held >= before - 0.05
        before = held


@pytest.mark.parametrize("name", ["city", "spot", "sea", "origin", "antimeridian"])
def test_a_compact_area_is_drawn_about_as_large_as_it_is(name: str) -> None:
    belief = BELIEFS[name]()
    for share in (0.5, 0.9):
        drawn = area_km2(credible_polygons(belief, share))
        assert 0.5 < drawn / belief.area_km2(share) < 2.0, share


def test_an_area_across_the_antimeridian_is_cut_there() -> None:
    polygons = credible_polygons(BELIEFS["antimeridian"](), 0.9)
    west, east = (
        [ring for rings in polygons for ring in rings if side * max(side * x for x, _ in ring) == side * 180.0]
        for side in (-1.0, 1.0)
    )
    assert west
    assert east
    for rings in polygons:
        width = max(x for x, _ in rings[0]) - min(x for x, _ in rings[0])
        assert width < 20.0, "a polygon goes round the Earth instead"


def test_an_area_around_a_pole_reaches_it_at_all_longitudes() -> None:
    # At the South Pole the prior is land with stations here and there: nine tenths need not lie all around.
    shape = shapely.union_all(shapes(credible_polygons(BELIEFS["north pole"](), 0.9)))
    around = shapely.points([(lon, 89.991) for lon in range(-179, 180, 30)])
    assert shapely.intersects(shapely.buffer(shape, 1e-3), around).all()


def test_rings_are_closed() -> None:
    for rings in credible_polygons(of_the_prior(), 0.5):
        assert all(ring[0] == ring[-1] and len(ring) >= 4 for ring in rings)
