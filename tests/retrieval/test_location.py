from functools import lru_cache
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

import numpy as np  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from core.errors import UserError  # noqa: E402
from geo import sphere  # noqa: E402
from retrieval.location.attention import (  # noqa: E402
    AnchorAttention,
    LocationAttention,
    fibonacci_sphere,
)
from retrieval.location.fourier import FourierCapsules, FourierFeatures, unit_vectors  # noqa: E402
from retrieval.location.geoclip import equal_earth  # noqa: E402
from retrieval.location.registry import LOCATION_ENCODERS, build_location_encoder  # noqa: E402

PLACES = torch.tensor([[48.86, 2.35], [-33.87, 151.21], [90.0, 0.0], [0.0, 179.999]])
SMALL: dict[str, dict[str, Any]] = {
    "fourier_capsules": {"frequencies": 8, "hidden": 16, "sigmas": (1.0, 16.0)},
    "geoclip": {},
    "location_attention": {"frequencies": 8, "width": 16, "heads": 2, "layers": 2, "anchors": 12},
}
NAMES = sorted(LOCATION_ENCODERS)
places = st.lists(st.tuples(st.floats(-90.0, 90.0), st.floats(-180.0, 179.99)), min_size=1, max_size=5)


def encoder(seed: int = 0) -> "FourierCapsules":
    torch.manual_seed(0)
    return FourierCapsules(12, (1.0, 16.0), frequencies=8, hidden=16, seed=seed).eval()


@lru_cache
def built(name: str, dim: int = 12):
    torch.manual_seed(0)
    return build_location_encoder(name, dim, SMALL[name]).eval()


def test_every_encoder_has_a_small_one_for_tests() -> None:
    assert set(SMALL) == set(LOCATION_ENCODERS)


@pytest.mark.parametrize("name", NAMES)
def test_vectors_are_unit_length_at_any_place(name: str) -> None:
    everywhere = torch.cartesian_prod(torch.tensor([-90.0, -60, 0, 90]), torch.tensor([-180.0, 0, 179.9]))
    vectors = built(name)(everywhere)
    assert vectors.shape == (12, 12)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(12))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10, deadline=None)
@given(positions=places)
def test_a_position_is_the_same_alone_and_in_any_company_and_order(
    name: str, positions: list[tuple[float, float]]
) -> None:
    model, batch = built(name), torch.tensor(positions)
    with torch.no_grad():
        together, backwards = model(batch), model(batch.flip(0)).flip(0)
        alone = torch.cat([model(batch[i : i + 1]) for i in range(len(batch))])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0.0)
    torch.testing.assert_close(together, backwards, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("name", NAMES)
def test_different_places_get_different_vectors(name: str) -> None:
    with torch.no_grad():
        vectors = built(name)(PLACES)
    assert float((vectors @ vectors.T - torch.eye(4)).max()) < 0.9999


@pytest.mark.parametrize("name", ["fourier_capsules", "location_attention"])
def test_both_sides_of_the_antimeridian_and_all_longitudes_of_a_pole_are_one_place(name: str) -> None:
    model = built(name)
    with torch.no_grad():
        east, west = model(torch.tensor([[10.0, 179.9999], [10.0, -179.9999]]))
        poles = model(torch.tensor([[90.0, 0.0], [90.0, 120.0]]))
    assert float(east @ west) > 0.999
    torch.testing.assert_close(poles[0], poles[1], atol=1e-3, rtol=0.0)


def test_geoclips_map_tears_the_antimeridian_and_the_poles_apart_as_published() -> None:
    """Not wished for, but what the released weights were trained on; only 180 and -180 are the same place here."""
    east, west, same = equal_earth(torch.tensor([[10.0, 179.9999], [10.0, -179.9999], [10.0, 180.0]]))
    assert float((east - west).norm()) > 1.9
    torch.testing.assert_close(same, equal_earth(torch.tensor([[10.0, -180.0]]))[0])
    poles = equal_earth(torch.tensor([[90.0, 0.0], [90.0, 120.0]]))
    assert float((poles[0] - poles[1]).norm()) > 0.3


def test_equal_earth_keeps_areas() -> None:
    """The determinant of the map's derivative, over that of the sphere, is the same everywhere."""
    lat_lon = torch.tensor([[0.0, 10.0], [45.0, -120.0], [-80.0, 170.0]], dtype=torch.float64)
    jacobians = [torch.autograd.functional.jacobian(lambda p: equal_earth(p[None])[0], one) for one in lat_lon]
    shares = [float(j.det().abs() / torch.cos(torch.deg2rad(p[0]))) for j, p in zip(jacobians, lat_lon, strict=True)]
    np.testing.assert_allclose(shares, shares[0], rtol=1e-5)


def test_fourier_features_shape_and_values() -> None:
    features = FourierFeatures(2.0, 4, torch.Generator().manual_seed(5))
    vectors = unit_vectors(PLACES)
    found = features(vectors)
    assert found.shape == (4, 8)
    phase = 2 * np.pi * float(vectors[1] @ features.frequencies[:, 2])
    assert found[1, 2] == pytest.approx(np.cos(phase), abs=1e-4)
    assert found[1, 6] == pytest.approx(np.sin(phase), abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_positions_keep_their_precision_under_autocast(name: str) -> None:
    """In bfloat16 a phase of 256 cycles is noise; training runs under autocast."""
    model = built(name)
    moved = PLACES + torch.tensor([0.01, 0.0])
    with torch.no_grad():
        exact = model(PLACES)
        with torch.autocast("cpu", torch.bfloat16):
            rough, rough_moved = model(PLACES), model(moved.clamp(-90, 90))
    assert rough.dtype == torch.float32
    assert float((exact * rough).sum(dim=1).min()) > 0.999
    assert not torch.equal(rough[0], rough_moved[0])


def test_the_same_seed_draws_the_same_frequencies_and_another_does_not() -> None:
    first, again, other = (encoder(seed).state_dict()["capsules.0.0.frequencies"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_frequencies_survive_half_precision() -> None:
    frequencies = FourierFeatures(256.0, 64, torch.Generator().manual_seed(0)).frequencies
    assert torch.equal(frequencies, frequencies.half().float())


def test_unit_vectors_agree_with_the_geo_floor() -> None:
    np.testing.assert_allclose(unit_vectors(PLACES).numpy(), sphere.unit_vectors(PLACES.numpy()), atol=1e-6)


def test_anchors_start_evenly_spread_or_where_they_are_put():
    spread = fibonacci_sphere(400)
    torch.testing.assert_close(spread.norm(dim=1), torch.ones(400))
    nearest = torch.cdist(spread, spread).fill_diagonal_(9.0).min(dim=1).values
    assert float(nearest.min()) > 0.6 * float(nearest.max())
    model = LocationAttention(8, frequencies=4, width=8, heads=2, layers=1, anchors_deg=PLACES)
    torch.testing.assert_close(model.state_dict()["attend.0.anchors"], unit_vectors(PLACES))


def test_a_near_anchor_is_attended_to_more_than_a_far_one() -> None:
    torch.manual_seed(0)
    here, far = unit_vectors(torch.tensor([[0.0, 0.0], [0.0, 90.0]]))
    layer = AnchorAttention(8, 2, torch.stack([here, far]))
    layer.features.data = torch.zeros(2, 8)  # the same key for both: only distance is left
    bias = layer._bias(here[None], torch.float32)[:, 0, 0].detach()
    assert float((bias[:, 0] - bias[:, 1]).min()) > 1.0


def test_the_gradient_is_finite_at_an_anchor_itself():
    model = LocationAttention(8, frequencies=4, width=8, heads=2, layers=1, anchors_deg=PLACES)
    model(PLACES)[:, 0].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert dict(model.named_parameters())["attend.0.anchors"].grad is not None


def test_another_width_puts_a_head_on_geoclips_512():
    assert build_location_encoder("geoclip", 512)(PLACES).shape == (4, 512)
    heads = {d: sum("head" in n for n in build_location_encoder("geoclip", d).state_dict()) for d in (512, 24)}
    assert heads == {512: 6, 24: 10}, "two tensors in each of three capsules, and four on top"


def test_an_unknown_name_or_option_is_one_clear_line() -> None:
    with pytest.raises(UserError, match="fourier_capsules, geoclip, location_attention"):
        build_location_encoder("mercator", 8)
    with pytest.raises(UserError, match="no option sigma: it has sigmas"):
        build_location_encoder("fourier_capsules", 8, {"sigma": [1]})
