import numpy as np
import pytest

from belief.kernels import EARTH_AREA_KM2, SCALES_KM, chord_distance_km, decay
from belief.support import make_support
from belief.witnesses.reports import prior_near
from geo.sphere import EARTH_RADIUS_KM, distance_km, unit_vectors
from tests.belief.beliefs import FIJI, NORTH_POLE, PARIS, flat_prior


def norm_km2(scale_km: float) -> float:
    """The integral of exp(-d / s) over a sphere: 2 pi R² (1 + exp(-pi R / s)) / ((R / s)² + 1)."""
    ratio = EARTH_RADIUS_KM / scale_km
    return float(2.0 * np.pi * EARTH_RADIUS_KM**2 * (1.0 + np.exp(-np.pi * ratio)) / (ratio**2 + 1.0))


@pytest.mark.parametrize("scale_km", [*SCALES_KM, 5000.0])
def test_the_kernel_integrates_over_rings_to_the_closed_norm(scale_km: float) -> None:
    away_km = np.concatenate([[0.0], np.geomspace(1e-4, np.pi * EARTH_RADIUS_KM, 200_000)])
    middle_km, steps_km = (away_km[1:] + away_km[:-1]) / 2.0, np.diff(away_km)
    rings_km = 2.0 * np.pi * EARTH_RADIUS_KM * np.sin(middle_km / EARTH_RADIUS_KM)
    assert decay(middle_km, scale_km) @ (rings_km * steps_km) == pytest.approx(norm_km2(scale_km), rel=1e-4)


@pytest.mark.parametrize("at", [PARIS, FIJI, NORTH_POLE])
@pytest.mark.parametrize("scale_km", SCALES_KM)
def test_the_support_of_a_pin_integrates_every_kernel(at: tuple[float, float], scale_km: float) -> None:
    support = make_support([at], flat_prior())
    near = prior_near(support, np.array([at]), [scale_km])[0, 0]
    assert near * EARTH_AREA_KM2 == pytest.approx(norm_km2(scale_km), rel=0.1)


def test_chord_distances_are_great_circle_distances_to_a_metre() -> None:
    rng = np.random.default_rng(0)
    a = np.stack([rng.uniform(-90.0, 90.0, 40), rng.uniform(-180.0, 180.0, 40)], axis=1)
    b = np.concatenate([a[:20] + 1e-4, -a[20:]])
    expected = distance_km(a[:, None], b[None])
    assert chord_distance_km(unit_vectors(a), unit_vectors(b)) == pytest.approx(expected, abs=1e-3)


def test_chords_leave_their_arguments_alone() -> None:
    a, b = unit_vectors([PARIS]), unit_vectors([FIJI])
    before = a.copy(), b.copy()
    chord_distance_km(a, b)
    assert np.array_equal(a, before[0])
    assert np.array_equal(b, before[1])


def test_decay_is_the_exponential_until_it_is_next_to_nothing() -> None:
    away_km = np.array([0.0, 1.0, 119.9, 2_000.0, 20_000.0])
    found = decay(away_km, 3.0)
    assert found[:4] == pytest.approx(np.exp(-away_km[:4] / 3.0), rel=1e-12)
    assert found[4] == pytest.approx(1e-304, rel=0.1)
    assert found.min() >= np.finfo(np.float64).tiny, "no subnormal numbers"
