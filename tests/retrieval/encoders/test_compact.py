import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

import retrieval
from core.errors import UserError
from retrieval.encoders.compact import OnnxPhotoEncoder, preprocess
from retrieval.encoders.registry import ENCODERS, load_encoder
from retrieval.photos.photo import Photo

FOLDER = Path(retrieval.__file__).parent / "data" / "compact"
LIMIT_MB = 15.0


@pytest.fixture(scope="module")
def encoder() -> OnnxPhotoEncoder:
    return OnnxPhotoEncoder(FOLDER, threads=1)


def photo(number: int, height: int = 120, width: int = 160) -> Photo:
    """Smooth coloured blobs: something a network can see, made from a seed."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    rgb = np.kron(coarse, np.ones((height // 6, width // 8, 1), dtype=np.uint8))
    return Photo(rgb=rgb, sha256=f"{number:064x}", name=f"{number}.png")


def test_vectors_are_unit_float32_of_the_promised_dimension(encoder: OnnxPhotoEncoder) -> None:
    for view in encoder.encode_photos([photo(0), photo(1), photo(2)]):
        assert view.dtype == np.float32
        assert view.shape == (3, ENCODERS["compact"].dim) == (3, encoder.identity.dim)
        np.testing.assert_allclose(np.linalg.norm(view, axis=1), 1.0, atol=1e-5)


def test_a_photo_is_the_same_alone_in_a_pair_and_shuffled_among_64(encoder: OnnxPhotoEncoder) -> None:
    photos = [photo(i) for i in range(64)]
    order = np.random.default_rng(7).permutation(64)
    alone, pair = encoder.encode_photos(photos[:1]), encoder.encode_photos(photos[:2])
    crowd = encoder.encode_photos([photos[i] for i in order])
    place = int(np.flatnonzero(order == 0)[0])
    assert np.abs(crowd.fused[place] - crowd.fused[(place + 1) % 64]).max() > 1e-3, "different photos differ"
    for one, two, many in zip(alone, pair, crowd, strict=True):
        np.testing.assert_allclose(two[0], one[0], atol=1e-5)
        np.testing.assert_allclose(many[place], one[0], atol=1e-5)


def test_turning_the_order_round_turns_the_vectors_round(encoder: OnnxPhotoEncoder) -> None:
    photos = [photo(i, height=60 + 6 * i) for i in range(5)]
    forward, backward = encoder.encode_photos(photos), encoder.encode_photos(photos[::-1])
    for one, other in zip(forward, backward, strict=True):
        np.testing.assert_allclose(one, other[::-1], atol=1e-5)


def test_no_photos_and_no_positions_give_no_vectors(encoder: OnnxPhotoEncoder) -> None:
    assert encoder.encode_photos([]).fused.shape == (0, encoder.identity.dim)
    assert encoder.encode_points(np.empty((0, 2))).shape == (0, encoder.identity.dim)


def test_positions_are_unit_vectors_and_do_not_depend_on_each_other(encoder: OnnxPhotoEncoder) -> None:
    places = np.random.default_rng(0).uniform((-90, -180), (90, 180), (5000, 2))
    vectors = encoder.encode_points(places)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_points(places[4321:4322])[0], vectors[4321], atol=1e-5)


def test_the_antimeridian_is_no_border(encoder: OnnxPhotoEncoder) -> None:
    across = encoder.encode_points(np.array([[-17.0, 179.999], [-17.0, -179.999]]))
    within = encoder.encode_points(np.array([[-17.0, 20.0], [-17.0, 20.002]]))
    assert across[0] @ across[1] > 0.99
    assert within[0] @ within[1] > 0.99


@pytest.mark.parametrize("bad", [np.zeros(2), np.zeros((1, 3)), np.array([[np.nan, 0.0]])])
def test_wrong_positions_are_refused(encoder: OnnxPhotoEncoder, bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="positions must be finite"):
        encoder.encode_points(bad)


def test_preprocessing_keeps_colours_and_places() -> None:
    rgb = np.zeros((300, 500, 3), dtype=np.uint8)
    rgb[:, 250:] = (200, 100, 50)
    small = preprocess(rgb, 224)
    assert small.shape == (224, 224, 3)
    assert tuple(small[5, 5]) == (0, 0, 0)
    assert tuple(small[5, 218]) == (200, 100, 50)


def test_an_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(UserError, match=r"no encoder 'clip'.*compact"):
        load_encoder("clip")


def test_descriptions_are_frozen() -> None:
    with pytest.raises(ValidationError):
        ENCODERS["compact"].dim = 3  # type: ignore[misc]  # the point of the test


def test_a_folder_loads_as_its_name_does(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(FOLDER, tmp_path / "copy"))
    assert load_encoder(copy).identity == load_encoder("compact").identity


@pytest.mark.parametrize("file", ["photos.onnx", "points.onnx", "weights.safetensors"])
def test_a_damaged_or_missing_weight_file_is_named(tmp_path: Path, file: str) -> None:
    copy = Path(shutil.copytree(FOLDER, tmp_path / "copy"))
    content = bytearray((copy / file).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / file).write_bytes(content)
    with pytest.raises(UserError, match=rf"{file} is damaged"):
        load_encoder(copy)
    (copy / file).unlink()
    with pytest.raises(UserError, match=rf"{file} \(No such file"):
        load_encoder(copy)


def test_a_damaged_card_is_named(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(UserError, match=r"card\.json is not a card of an encoder"):
        load_encoder(tmp_path)


def test_what_ships_is_small_complete_and_says_nothing_of_the_machine_it_came_from() -> None:
    files = [path for path in FOLDER.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LIMIT_MB * 1e6
    card = json.loads((FOLDER / "card.json").read_text(encoding="utf-8"))
    assert {path.name for path in files} == {*card["files"], "card.json"}
    assert card["licence"] == "Apache-2.0"
    for path in files:
        assert b"/home/" not in path.read_bytes()
        assert b"site-packages" not in path.read_bytes()


def test_importing_the_contract_loads_no_runtime() -> None:
    code = "import sys, retrieval.encoders.registry; print('onnxruntime' in sys.modules, 'torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


def test_the_shipped_graphs_compute_what_torch_computes(encoder: OnnxPhotoEncoder) -> None:
    torch = pytest.importorskip("torch", reason="training needs the train extra")
    from safetensors.torch import load_file

    from retrieval.backbones.compact import fold_norms
    from retrieval.training.compact.model import CompactModel
    from retrieval.training.config import CompactShape

    card = json.loads((FOLDER / "card.json").read_text(encoding="utf-8"))
    model = CompactModel(CompactShape(**card["config"]["model"]), seed=0).eval()
    fold_norms(model.photos.backbone)
    shipped = {name: half.float() for name, half in load_file(FOLDER / "weights.safetensors").items()}
    # Weights made before the fusion had layers name its only one otherwise, and know no photo without semantics.
    layer = {
        name: re.sub(r"fusion\.(to_\w+)", r"fusion.layers.0.\1", name) for name in shipped if ".layers." not in name
    }
    model.load_state_dict(
        {"photos.fusion.no_semantic": torch.zeros(1, card["dim"])} | {layer.get(n, n): t for n, t in shipped.items()}
    )
    photos = [photo(i) for i in range(3)]
    pixels = torch.from_numpy(np.stack([preprocess(one.rgb, card["size_px"]) for one in photos]))
    with torch.no_grad():
        wanted, place = model.photos(pixels), model.points(torch.tensor([[40.0, 116.3]]))
    for found, view in zip(encoder.encode_photos(photos), wanted, strict=True):
        np.testing.assert_allclose(found, view.numpy(), atol=1e-4)
    np.testing.assert_allclose(encoder.encode_points(np.array([[40.0, 116.3]])), place.numpy(), atol=1e-4)
