"""A match to satellite tiles as a witness: it moves the belief to the tile, never on average for the worse."""

from __future__ import annotations

import numpy as np
import pytest

from belief.parameters import Parameters, SatelliteRecord, default_parameters
from belief.posterior import Belief
from belief.support import Support, make_support
from belief.witnesses.satellite import SHARES, narrowed_areas, satellite_log_ratio, tile_pins, tile_readings
from core.errors import UserError
from evals.fitting.satellite_fit import MatchedPlace, fit_satellite, gain_nats
from geo.point import Point
from geo.tiles import TileBounds
from retrieval.crossview.tile_atlas import ComparedTiles, TileHit, Zone
from retrieval.crossview.tiles import SatelliteTile

PARIS = (48.86, 2.34)
RECORD = SatelliteRecord(temperatures=(0.05,), edges=(3.0,), shares=((0.0, 0.0, 1.0), (0.9, 0.0, 0.1)))


def tile(number: int, similarity: float) -> TileHit:
    west = PARIS[1] + 0.02 * number
    return TileHit(SatelliteTile(str(number), TileBounds(48.85, west, 48.87, west + 0.02)), similarity)


def everywhere(lat_lon_deg: np.ndarray) -> np.ndarray:
    return np.ones(len(lat_lon_deg), dtype=bool)


def nowhere(lat_lon_deg: np.ndarray) -> np.ndarray:
    return np.zeros(len(lat_lon_deg), dtype=bool)


def near_paris(pins: list[tuple[float, float]], scale_km: float = 5.0) -> Belief:
    support = make_support([PARIS, *pins])
    away_km = support.distance_km(PARIS)[:, 0]
    return Belief(support, {}, {"coarse": np.log(np.exp(-away_km / scale_km) + 1e-5)})


def compared(*hits: TileHit) -> ComparedTiles:
    zones = tuple(Zone(area, hits[-1].similarity) for area in narrowed_areas(near_paris([])))
    return ComparedTiles(hits, zones, np.random.default_rng(0).normal(0.1, 0.05, 200))


def held(support: Support, mass: np.ndarray, bounds: TileBounds) -> float:
    lat, lon = support.lat_lon_deg.T
    inside = (lat >= bounds.south) & (lat <= bounds.north) & (lon >= bounds.west) & (lon <= bounds.east)
    return float(mass[inside].sum())


def test_the_areas_hold_the_wanted_mass_and_little_more() -> None:
    belief = near_paris([])
    for share, area in zip(SHARES, narrowed_areas(belief), strict=True):
        inside = np.array([area.contains(Point(lat=lat, lon=lon)) for lat, lon in belief.support.lat_lon_deg])
        assert belief.mass[inside].sum() >= share
        assert sum(np.pi * circle.radius_km**2 for circle in area.circles) < 40.0 * belief.area_km2(share)
        assert len(area.circles) <= 16


def test_a_tile_that_stands_out_takes_the_belief_and_one_that_does_not_changes_nothing() -> None:
    clear = compared(tile(2, 0.6), tile(0, 0.2), tile(1, 0.2))
    alike = compared(tile(2, 0.2), tile(0, 0.2), tile(1, 0.19))
    belief = near_paris(tile_pins(clear))
    wanted = clear.hits[0].tile.bounds
    moved = Belief(
        belief.support, {}, {**belief._others, "satellite": satellite_log_ratio(belief, clear, everywhere, RECORD)}
    )
    assert held(moved.support, moved.mass, wanted) > 0.85 > 10.0 * held(belief.support, belief.mass, wanted)
    assert not satellite_log_ratio(belief, alike, everywhere, RECORD).any()


def test_each_reading_is_a_distribution_of_its_own() -> None:
    found = compared(tile(2, 0.6), tile(0, 0.2), tile(1, 0.2))
    belief = near_paris(tile_pins(found))
    readings = tile_readings(belief.support, belief.mass, found, nowhere, (0.02, 0.1, 5.0))
    np.testing.assert_allclose(belief.mass @ readings, 1.0)
    assert readings[:, 0].max() > readings[:, 1].max() > readings[:, 2].max() > 1.0
    assert (readings[:, 6] == 1.0).all()
    bounds = [hit.tile.bounds for hit in found.hits]
    assert sum(held(belief.support, belief.mass * readings[:, 5], each) for each in bounds) == pytest.approx(1.0)
    nothing = tile_readings(belief.support, belief.mass, found._replace(hits=()), nowhere, (0.02,))
    assert (nothing == 1.0).all()


def test_the_closed_reading_counts_tiles_that_are_no_hits_and_nothing_beside_tiles() -> None:
    found, other = compared(tile(2, 0.6), tile(0, 0.2)), tile(7, 0.0).tile.bounds
    centre = other.centre
    belief = near_paris([*tile_pins(found), (centre.lat, centre.lon)])
    closed = tile_readings(belief.support, belief.mass, found, other.holds, (0.1,))[:, 1]
    positions = belief.support.lat_lon_deg
    on_tile = np.any([bounds.holds(positions) for bounds in (other, *(hit.tile.bounds for hit in found.hits))], axis=0)
    assert ((closed > 0.0) == on_tile).all()
    assert closed[other.holds(positions)].max() < closed.max()


def test_fitted_shares_say_nothing_where_matching_never_helped() -> None:
    rng = np.random.default_rng(0)
    useless = [MatchedPlace(np.array([*rng.exponential(0.3, 10), 1.0]), float(z)) for z in rng.uniform(0, 3, 400)]
    useful = [MatchedPlace(np.array([*rng.exponential(9.0, 10), 1.0]), float(z)) for z in rng.uniform(4, 9, 400)]
    record = fit_satellite([*useless, *useful])
    assert record.shares[0][-1] > 0.85
    assert record.shares[-1][-1] < 0.4
    assert np.mean([gain_nats(record, place) for place in useless]) > -0.03
    assert np.mean([gain_nats(record, place) for place in useful]) > 1.0
    with pytest.raises(UserError, match="too few"):
        fit_satellite(useful[:10])


def test_records_are_found_by_encoder_and_must_fit() -> None:
    parameters = Parameters.model_validate(default_parameters().model_dump() | {"satellite": {"net": RECORD}})
    assert parameters.satellite_of("net@1") == RECORD
    assert parameters.satellite_of("other@1") is None
    with pytest.raises(ValueError, match="one row a group"):
        SatelliteRecord(temperatures=(0.1,), edges=(), shares=((0.5, 0.3, 0.1),))
