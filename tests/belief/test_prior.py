import numpy as np
import pytest

from belief.kernels import EARTH_AREA_KM2
from belief.parameters import default_parameters
from belief.prior import (
    ANYWHERE,
    GALLERY_DEG,
    LAND,
    POPULATION_DEG,
    SAMPLE_SIZE,
    Histogram,
    Prior,
    cell_area_km2,
    cell_keys,
    default_prior,
    histogram,
    packaged_positions,
)
from belief.support import make_support
from geo.basemap import is_land
from geo.sphere import to_lat_lon_deg
from tests.belief.beliefs import PARIS

COARSE_DEG = 10.0


def uniform(size: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return to_lat_lon_deg(rng.normal(size=(size, 3)))


def layer(name: str) -> Prior:
    return Prior(*packaged_positions(), {name: 1.0})


def test_the_density_over_a_grid_integrates_to_one() -> None:
    """The layers no finer than the grid; the finer ones are held to their cells below."""
    step = 0.25
    coarse = [f"gallery@{s:g}" for s in GALLERY_DEG if s >= step] + [ANYWHERE, "population@0.5"]
    prior = Prior(*packaged_positions(), {name: 1.0 / len(coarse) for name in coarse})
    rows = np.arange(90.0 - step / 2.0, -90.0, -step)
    columns = np.arange(-180.0 + step / 2.0, 180.0, step)
    total = 0.0
    for lat in rows:
        at = np.stack([np.full(len(columns), lat), columns], axis=1)
        total += float(prior.density(at) @ cell_area_km2(cell_keys(at, step), step))
    assert total == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("step", [*GALLERY_DEG, *POPULATION_DEG])
def test_the_cells_of_a_histogram_hold_one(step: float) -> None:
    gallery, population = packaged_positions()
    for positions in (gallery, population):
        cells = histogram(*positions, step)
        centres = positions.lat_lon_deg
        first = np.unique(cell_keys(centres, step), return_index=True)[1]
        held = cells.density(centres[first]) @ cell_area_km2(cells.keys, step)
        assert held == pytest.approx(1.0, abs=1e-6)


def test_cells_tile_the_earth() -> None:
    for step in (5.0, 1.0):
        keys = np.arange(round(180 / step) * round(360 / step))
        assert cell_area_km2(keys, step).sum() == pytest.approx(EARTH_AREA_KM2, rel=1e-9)


def test_by_importance_sampling_the_whole_prior_integrates_to_one() -> None:
    """Supports around very different pins: prior mass before normalisation, from densities and areas."""
    for pins in ([], [PARIS], [(0.0, -160.0), (-75.0, 30.0)]):
        support = make_support(pins)
        total = default_prior().density(support.lat_lon_deg) @ support.area_km2
        assert total == pytest.approx(1.0, abs=0.02)


def test_land_covers_the_share_of_the_earth_that_it_is_given() -> None:
    at = uniform(100_000)
    assert layer(LAND).density(at).mean() * EARTH_AREA_KM2 == pytest.approx(1.0, abs=0.03)


def test_the_sample_is_spread_as_the_density_is() -> None:
    """Counts by cells of 10° against those of the prior's own mass there, as a chi-square of the fullest cells."""
    prior, size = default_prior(), SAMPLE_SIZE
    drawn = np.bincount(cell_keys(prior.sample(size), COARSE_DEG), minlength=18 * 36)
    expected = size * mass_by_cell()
    full = expected >= 5.0
    chi_square = float(((drawn[full] - expected[full]) ** 2 / expected[full]).sum())
    assert full.sum() > 60
    assert chi_square < full.sum(), "less than chance would give: the sample is stratified"


def mass_by_cell() -> np.ndarray:
    """Of cells of 10°, by layer: coarse layers share their cells' edges."""
    gallery, population = packaged_positions()
    total = np.zeros(18 * 36)
    for name, share in default_parameters().prior_shares.items():
        if name in (LAND, ANYWHERE):
            at = uniform(200_000)
            weights = layer(name).density(at)
        else:
            at, weights = gallery if name.startswith("gallery") else population
        total += share * np.bincount(cell_keys(at, COARSE_DEG), weights=weights, minlength=18 * 36) / weights.sum()
    return total


@pytest.mark.parametrize("name", default_prior().layers)
def test_the_sample_of_a_layer_lies_in_it(name: str) -> None:
    one = layer(name)
    assert (one.density(one.sample(64)) > 0.0).all()


def test_every_layer_is_drawn_in_proportion_to_its_share() -> None:
    """Each position's chance to be of a layer, on average over the sample, is the layer's share."""
    prior, shares = default_prior(), default_parameters().prior_shares
    held = np.array([shares[name] for name in prior.layers])
    of_layer = prior.layer_densities(prior.sample(SAMPLE_SIZE)) * held
    drawn = (of_layer / of_layer.sum(axis=1, keepdims=True)).mean(axis=0)
    assert drawn == pytest.approx(held, rel=0.25, abs=0.003)


@pytest.mark.parametrize("size", [1, 2, 7, 100, SAMPLE_SIZE])
def test_a_sample_of_any_size_is_the_same_each_time(size: int) -> None:
    at = default_prior().sample(size)
    assert at.shape == (size, 2)
    assert np.array_equal(at, default_prior().sample(size))
    assert np.abs(at[:, 0]).max() <= 90.0
    assert np.abs(at[:, 1]).max() <= 180.0
    assert np.isfinite(at).all()


def test_a_sample_of_land_lies_on_land_and_one_of_anywhere_covers_all_latitudes() -> None:
    assert is_land(layer(LAND).sample(200)).all()
    everywhere = layer(ANYWHERE).sample(200)
    assert (everywhere[:, 0] > 60.0).mean() == pytest.approx(0.067, abs=0.02)
    assert (everywhere[:, 0] < 0.0).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    "at", [(90.0, 0.0), (-90.0, 0.0), (0.0, 180.0), (0.0, -180.0), (89.999, 179.999), (0.0, 540.0)]
)
def test_density_is_finite_and_positive_at_the_edges_of_the_map(at: tuple[float, float]) -> None:
    density = default_prior().density([at])
    assert np.isfinite(density).all()
    assert (density > 0.0).all()


def test_density_is_the_same_on_both_sides_of_a_turn() -> None:
    assert default_prior().density([(48.8612, 2.3412)]) == default_prior().density([(48.8612, 362.3412)])


def test_an_empty_cell_beyond_the_last_key_has_no_density() -> None:
    one = Histogram(1.0, np.array([5]), np.array([1.0]))
    assert one.density(np.array([[-89.5, 179.5]])).tolist() == [0.0]


def test_a_layer_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no layers moon"):
        Prior(*packaged_positions(), {"moon": 1.0})


def test_packaged_positions_are_on_earth_and_weigh_something() -> None:
    gallery, population = packaged_positions()
    assert len(gallery.weights) > 50_000
    assert gallery.weights.sum() == pytest.approx(100_000)
    for positions in (gallery, population):
        assert (positions.weights > 0.0).all()
        assert np.abs(positions.lat_lon_deg).max(axis=0) == pytest.approx([90.0, 180.0], abs=40.0)
        assert (np.abs(positions.lat_lon_deg) <= [90.0, 180.0]).all()
