import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from belief.kernels import EARTH_AREA_KM2
from belief.prior import SAMPLE_SIZE
from belief.support import MAX_OFFSETS, MAX_PINS, OFFSETS, Support, make_support
from geo.sphere import distance_km
from tests.belief.beliefs import FIJI, LISBON, NORTH_POLE, ODD_PLACES, PARIS, TOKYO, flat_prior

PINS = st.lists(st.tuples(st.floats(-90.0, 90.0), st.floats(-180.0, 180.0)), max_size=12)


def is_sound(support: Support) -> bool:
    """Masses and areas are a distribution and a measure; positions are on Earth."""
    at = support.lat_lon_deg
    numbers = [support.prior_mass, support.area_km2]
    return (
        all(bool(np.isfinite(values).all() and (values > 0.0).all()) for values in numbers)
        and support.prior_mass.sum() == pytest.approx(1.0)
        and bool((np.abs(at) <= [90.0, 180.0]).all())
        and np.linalg.norm(support.unit, axis=1) == pytest.approx(1.0)
    )


@given(PINS)
@settings(max_examples=30)
def test_any_pins_give_a_sound_support(pins: list[tuple[float, float]]) -> None:
    support = make_support(pins)
    assert is_sound(support)
    assert support.pins.stop <= len(pins)
    again = make_support(pins)
    assert all(np.array_equal(a, b) for a, b in zip(support[:4], again[:4], strict=True))


@pytest.mark.parametrize("at", ODD_PLACES)
def test_a_pin_anywhere_is_the_first_row_with_its_spiral_around_it(at: tuple[float, float]) -> None:
    support = make_support([at])
    assert is_sound(support)
    assert support.distance_km(at)[0, 0] == pytest.approx(0.0, abs=1e-3)
    away_km = support.distance_km(at)[1 : 1 + OFFSETS, 0]
    assert away_km.min() == pytest.approx(0.05, rel=0.1)
    assert away_km.max() == pytest.approx(1500.0, rel=0.1)


def test_one_place_many_times_is_one_pin() -> None:
    once, often = make_support([PARIS]), make_support([PARIS] * 30)
    assert np.array_equal(once.lat_lon_deg, often.lat_lon_deg)
    assert np.array_equal(once.prior_mass, often.prior_mass)


def test_one_place_on_both_sides_of_the_antimeridian_is_one_pin() -> None:
    assert make_support([(-16.8, 180.0), (-16.8, -180.0)]).pins == slice(0, 1)


@pytest.mark.parametrize("count", [48, 60, 200])
def test_of_many_pins_none_is_dropped_and_all_together_have_a_bounded_spiral(count: int) -> None:
    pins = [(60.0 - k / 4.0, k / 2.0) for k in range(count)]
    support = make_support(pins)
    assert is_sound(support)
    assert support.pins == slice(0, count)
    assert support.lat_lon_deg[support.pins] == pytest.approx(np.array(pins))
    assert len(support.prior_mass) <= SAMPLE_SIZE + count + MAX_OFFSETS


def test_beyond_the_most_pins_they_are_thinned_evenly() -> None:
    pins = [(-89.0 + k * 178.0 / 999.0, 0.0) for k in range(1000)]
    support = make_support(pins)
    assert is_sound(support)
    kept = support.lat_lon_deg[support.pins][:, 0]
    assert len(kept) == MAX_PINS
    assert (kept[0], kept[-1]) == pytest.approx((-89.0, 89.0))
    assert np.diff(kept).max() < 1.0


def test_areas_add_up_to_the_earth_under_a_flat_prior() -> None:
    for pins in ([], [PARIS], [PARIS, LISBON, TOKYO, FIJI, NORTH_POLE]):
        assert make_support(pins, flat_prior()).area_km2.sum() == pytest.approx(EARTH_AREA_KM2, rel=0.02)


@pytest.mark.parametrize("radius_km", [0.05, 0.3, 5.0, 100.0, 1000.0])
def test_the_area_around_a_pin_is_that_of_a_cap(radius_km: float) -> None:
    support = make_support([PARIS], flat_prior())
    inside = support.distance_km(PARIS)[:, 0] <= radius_km
    assert support.area_km2[inside].sum() == pytest.approx(np.pi * radius_km**2, rel=0.15)


def test_a_new_pin_far_away_leaves_the_prior_mass_of_a_city_as_it_was() -> None:
    def near_paris(support: Support) -> float:
        return float(support.prior_mass[support.distance_km(PARIS)[:, 0] < 100.0].sum())

    assert near_paris(make_support([PARIS, TOKYO])) == pytest.approx(near_paris(make_support([PARIS])), rel=0.05)


def test_distances_are_of_every_position_from_each_place() -> None:
    support = make_support([PARIS])
    away_km = support.distance_km([LISBON, TOKYO])
    assert away_km.shape == (len(support.prior_mass), 2)
    assert away_km == pytest.approx(distance_km(support.lat_lon_deg[:, None], np.array([LISBON, TOKYO])), abs=1e-3)
