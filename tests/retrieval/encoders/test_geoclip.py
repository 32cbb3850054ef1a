"""GeoCLIP's released weights in our modules; CLIP itself is a tiny random one."""

import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="geoclip needs the train extra")
pytest.importorskip("transformers", reason="geoclip needs the train extra")
if importlib.util.find_spec("geoclip") is None:
    pytest.skip("pip install --no-deps geoclip", allow_module_level=True)

import numpy as np  # noqa: E402

from core.errors import UserError  # noqa: E402
from retrieval.atlas.atlas import open_atlas  # noqa: E402
from retrieval.atlas.build import build_gps_atlas  # noqa: E402
from retrieval.backbones.device import compute_on  # noqa: E402
from retrieval.backbones.hugging_face import ClipBackbone  # noqa: E402
from retrieval.backbones.registry import BACKBONES  # noqa: E402
from retrieval.encoders.geoclip import GeoClipEncoder, LazyClip, load_locations, load_projection  # noqa: E402
from retrieval.encoders.geoclip_release import find_release, read_gallery  # noqa: E402
from retrieval.encoders.registry import load_encoder, own_gallery  # noqa: E402
from retrieval.photos.photo import Photo  # noqa: E402

RELEASE = find_release()
PLACES = np.random.default_rng(0).uniform((-90.0, -180.0), (90.0, 179.9), (200, 2))


def photo(seed: int) -> Photo:
    rgb = np.random.default_rng(seed).integers(0, 256, (70, 100, 3), dtype=np.uint8)
    return Photo(rgb=rgb, sha256=f"{seed:064x}", name=f"{seed}.png")


@pytest.fixture(scope="module")
def encoder() -> GeoClipEncoder:
    torch.set_num_threads(1)
    tiny = LazyClip("tiny-0", lambda: ClipBackbone(BACKBONES["clip-vit-l14"], "tiny", None, 0))
    return GeoClipEncoder(RELEASE, tiny, compute_on("cpu"))


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """Their own `location_encoder.py`, loaded without their package's `__init__`, which wants torchvision."""
    folder = RELEASE.location.parents[1]
    for name, place in (("geoclip", folder.parent), ("geoclip.model", folder)):
        package = types.ModuleType(name)
        package.__path__ = [str(place)]
        monkeypatch.setitem(sys.modules, name, package)
    misc = types.ModuleType("geoclip.model.misc")
    misc.file_dir = str(folder)  # type: ignore[attr-defined]  # all that it needs of a module that wants pandas
    monkeypatch.setitem(sys.modules, "geoclip.model.misc", misc)
    yield importlib.import_module("geoclip.model.location_encoder")
    for name in [one for one in sys.modules if one.startswith("geoclip.model.")]:
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_our_gps_encoder_equals_theirs(theirs: types.ModuleType) -> None:
    edges = [(0.0, 0.0), (90.0, 10.0), (-90.0, -170.0), (12.0, -180.0), (5.0, 179.999)]
    positions = torch.tensor(np.concatenate([PLACES, edges]), dtype=torch.float32)
    with torch.no_grad():
        wanted, found = theirs.LocationEncoder()(positions), load_locations(RELEASE.location).features(positions)
    assert float(wanted.norm(dim=1).min()) > 0.2
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0.0)
    unit = torch.nn.functional.normalize
    torch.testing.assert_close(unit(found, dim=1), unit(wanted, dim=1), atol=1e-5, rtol=0.0)


def test_our_projection_equals_theirs() -> None:
    state = torch.load(RELEASE.image_projection, weights_only=True)
    embedding = torch.randn(3, 768, generator=torch.Generator().manual_seed(0))
    hidden = torch.relu(embedding @ state["0.weight"].T + state["0.bias"])
    wanted = hidden @ state["2.weight"].T + state["2.bias"]
    torch.testing.assert_close(load_projection(RELEASE.image_projection)(embedding), wanted, atol=1e-5, rtol=1e-5)


def test_photos_and_positions_share_a_space_of_unit_vectors(encoder: GeoClipEncoder) -> None:
    views, points = encoder.encode_photos([photo(0), photo(1)]), encoder.encode_points(PLACES[:3])
    assert views.fused.shape == (2, 512)
    assert points.shape == (3, 512)
    assert views.fused.dtype == points.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([views.fused, points]), axis=1), 1.0, atol=1e-5)
    assert not views.semantic.any()
    np.testing.assert_array_equal(views.image, views.fused)


def test_a_photo_is_the_same_alone_and_in_company(encoder: GeoClipEncoder) -> None:
    photos = [photo(i) for i in range(35)]
    together = encoder.encode_photos(photos).fused
    for place in (0, 34):
        np.testing.assert_allclose(encoder.encode_photos([photos[place]]).fused[0], together[place], atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-5


def test_nothing_and_nonsense(encoder: GeoClipEncoder) -> None:
    assert encoder.encode_photos([]).fused.shape == (0, 512)
    assert encoder.encode_points(np.empty((0, 2))).shape == (0, 512)
    with pytest.raises(ValueError, match="finite degrees"):
        encoder.encode_points(np.array([[np.nan, 0.0]]))


def test_the_revision_depends_on_every_weight(encoder: GeoClipEncoder, tmp_path: Path) -> None:
    other_clip = GeoClipEncoder(RELEASE, LazyClip("tiny-1", encoder._lazy_clip.load), compute_on("cpu"))
    copy = tmp_path / "location.pth"
    copy.write_bytes(RELEASE.location.read_bytes() + b"\0")
    other_places = GeoClipEncoder(RELEASE._replace(location=copy), encoder._lazy_clip, compute_on("cpu"))
    revisions = {one.identity.revision for one in (encoder, other_clip, other_places)}
    assert len(revisions) == 3
    assert encoder.identity.name == "geoclip"


def test_a_gps_atlas_of_its_gallery_finds_the_nearest_position(encoder: GeoClipEncoder, tmp_path: Path) -> None:
    gallery = own_gallery("geoclip")
    assert gallery is not None
    assert gallery.lat_lon_deg.shape == (100_000, 2)
    few = slice(0, 300)
    folder = tmp_path / "world"
    build_gps_atlas(folder, encoder, gallery.lat_lon_deg[few], gallery.ids[few], source=gallery.source)
    query = encoder.encode_photos([photo(3)]).fused[0]
    wanted = int((encoder.encode_points(gallery.lat_lon_deg[few]) @ query).argmax())
    with open_atlas(folder, encoder) as atlas:
        best = atlas.search(query, 5)[0]
    assert best.item_id == f"geoclip-{wanted}"
    np.testing.assert_allclose((best.point.lat, best.point.lon), gallery.lat_lon_deg[wanted], atol=1e-6)


def test_only_geoclip_brings_a_gallery() -> None:
    assert own_gallery("compact") is None


def test_a_damaged_release_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "location_encoder_weights.pth"
    broken.write_bytes(RELEASE.location.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"location_encoder_weights\.pth does not hold") as caught:
        load_locations(broken)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="does not hold GeoCLIP's weights"):
        load_locations(RELEASE.image_projection)


@pytest.mark.parametrize("text", ["LAT,LON\n91.0,0.0\n", "LON,LAT\n1.0,2.0\n", "LAT,LON\n1.0\n", "LAT,LON\n1.0,x\n"])
def test_a_gallery_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "coordinates_100K.csv"
    path.write_text(text)
    with pytest.raises(UserError, match="coordinates_100K"):
        read_gallery(path)


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, _find=importlib.util.find_spec: None if name == "geoclip" else _find(name),
    )
    with pytest.raises(UserError, match="pip install --no-deps geoclip") as caught:
        load_encoder("geoclip")
    assert "\n" not in str(caught.value)


def test_without_clips_weights_one_line_says_which_how_large_and_where_to_put_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("retrieval.backbones.weights.weights_cache", lambda: tmp_path)
    monkeypatch.setattr("retrieval.backbones.weights._in_hub_cache", lambda _file: None)
    with pytest.raises(UserError) as caught:
        load_encoder("geoclip")
    for part in (r"1.7 GB", "python -m retrieval.backbones.weights clip-vit-l14", "model.safetensors", str(tmp_path)):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
