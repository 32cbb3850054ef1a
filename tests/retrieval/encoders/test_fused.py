"""A trained fusion encoder read back from its folder, with tiny random backbones."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="fusion encoders need the train extra")
pytest.importorskip("transformers", reason="fusion encoders need the train extra")

import numpy as np  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from core.errors import UserError  # noqa: E402
from retrieval.backbones.device import compute_on  # noqa: E402
from retrieval.encoders.base import PhotoVectors  # noqa: E402
from retrieval.encoders.batching import BatchingPhotoEncoder  # noqa: E402
from retrieval.encoders.fused import FusionCard, FusionPhotoEncoder, TrainedTowers  # noqa: E402
from retrieval.encoders.registry import load_encoder  # noqa: E402
from retrieval.photos.photo import Photo  # noqa: E402
from tests.retrieval.encoders.gated import GatedEncoder, encode_behind  # noqa: E402

CARD: dict[str, Any] = {
    "name": "dualgeo_small",
    "kind": "fusion",
    "dim": 8,
    "licence": "Apache-2.0",
    "model": {
        "dim": 8,
        "image": {"backbone": "clip-vit-l14", "weights": "tiny", "folder": None, "tokens": "patches"},
        "semantics": {"backbone": "segformer-b5-ade", "weights": "tiny", "grid": 3},
        "fusion": {"heads": 2, "layers": 2, "modality_dropout": 0.2, "expansion": 2, "dropout": 0.1},
        "location": {"encoder": "fourier_capsules", "options": {"frequencies": 4, "hidden": 8}, "weights": None},
        "text": None,
    },
    "tokens": {"image_dim": 16, "image_tokens": 16, "classes": 150, "semantic_tokens": 9},
    "backbones": {"image": "tiny-0", "semantics": "tiny-0"},
}


def changed(**model: Any) -> dict[str, Any]:
    return {**CARD, "model": {**CARD["model"], **model}}


def write(folder: Path, card: dict[str, Any] = CARD, seed: int = 0) -> Path:
    """An encoder folder as the trainer leaves it, with random weights."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(seed)
    towers = TrainedTowers(FusionCard.model_validate({**card, "files": {}}))
    torch.nn.init.normal_(towers.fusion.no_semantic)
    state = {name: tensor.contiguous() for name, tensor in towers.state_dict().items()}
    save_file({**state, "text.embedding": torch.zeros(3)}, folder / "weights.safetensors")
    return rewrite_card(folder, card)


def rewrite_card(folder: Path, card: dict[str, Any]) -> Path:
    digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps({**card, "files": {"weights.safetensors": digest}}))
    return folder


def photo(seed: int) -> Photo:
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Photo(rgb=np.kron(coarse, np.ones((10, 10, 1), dtype=np.uint8)), sha256=f"{seed:064x}", name=f"{seed}.png")


PHOTOS = [photo(i) for i in range(18)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("fusion") / "encoder")


@pytest.fixture(scope="module")
def views(folder: Path) -> PhotoVectors:
    return load_encoder(folder, 1, device="cpu").encode_photos(PHOTOS)


def test_a_folder_opens_by_its_path_and_gives_unit_vectors(folder: Path, views: PhotoVectors) -> None:
    encoder = load_encoder(str(folder), 1, device="cpu")
    assert (encoder.identity.name, encoder.identity.dim) == ("dualgeo_small", 8)
    points = encoder.encode_points(np.array([[40.0, 116.3], [-90.0, 0.0]]))
    for vectors in (*views, points):
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert encoder.encode_photos([]).fused.shape == (0, 8)
    assert encoder.encode_points(np.empty((0, 2))).shape == (0, 8)


def test_a_photo_is_the_same_alone_and_in_any_company_and_order(folder: Path, views: PhotoVectors) -> None:
    encoder = load_encoder(folder, 1, device="cpu")
    backwards, alone = encoder.encode_photos(PHOTOS[::-1]), encoder.encode_photos(PHOTOS[17:])
    for together, turned, one in zip(views, backwards, alone, strict=True):
        np.testing.assert_allclose(turned[::-1], together, atol=1e-5)
        np.testing.assert_allclose(one[0], together[17], atol=1e-5)
        assert np.abs(together[0] - together[1]).max() > 1e-6


def test_requests_of_threads_that_are_encoded_together_get_the_vectors_they_get_alone(folder: Path) -> None:
    encoder = load_encoder(folder, 1, device="cpu")
    gated = GatedEncoder(encoder)
    futures = encode_behind(gated, BatchingPhotoEncoder(gated, 16), [[photo] for photo in PHOTOS])
    assert [len(names) for names in gated.calls] == [1, 16, 1]
    for future, one in zip(futures, PHOTOS, strict=True):
        for found, wanted in zip(future.result(), encoder.encode_photos([one]), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=0.0, atol=1e-6)


def test_the_vectors_are_those_that_the_trained_modules_give(folder: Path, views: PhotoVectors) -> None:
    encoder = FusionPhotoEncoder(folder, device="cpu")
    assert encoder._segmenter is not None
    with torch.no_grad():
        squares = [
            torch.from_numpy(np.stack([net.prepare(one.rgb) for one in PHOTOS]))
            for net in (encoder._image, encoder._segmenter)
        ]
        wanted = encoder._towers.fusion(encoder._image(squares[0]), encoder._segmenter(squares[1]))
    for found, view in zip(views, wanted, strict=True):
        np.testing.assert_allclose(found, view.numpy(), atol=1e-5)


def test_without_semantics_the_image_view_stays_and_the_revision_does_not(folder: Path, views: PhotoVectors) -> None:
    encoder = FusionPhotoEncoder(folder, device="cpu", semantics=False)
    found = encoder.encode_photos(PHOTOS[:2])
    np.testing.assert_allclose(found.image, views.image[:2], atol=1e-5)
    assert not found.semantic.any()
    assert np.abs(found.fused - views.fused[:2]).max() > 1e-4
    assert encoder.identity != FusionPhotoEncoder(folder, device="cpu").identity


def test_without_modality_dropout_the_segmentation_cannot_be_left_out(tmp_path: Path) -> None:
    card = changed(fusion={**CARD["model"]["fusion"], "modality_dropout": 0.0})
    with pytest.raises(UserError, match="without modality dropout"):
        FusionPhotoEncoder(write(tmp_path, card), semantics=False)


def test_image_only_and_pooled_encoders_open_too(tmp_path: Path) -> None:
    card = changed(semantics=None, image={**CARD["model"]["image"], "tokens": "pooled"})
    card["tokens"] = {"image_dim": 768, "image_tokens": 1, "classes": 1, "semantic_tokens": 1}
    card["backbones"] = {"image": "tiny-0"}
    found = load_encoder(write(tmp_path, card), device="cpu").encode_photos(PHOTOS[:2])
    np.testing.assert_allclose(np.linalg.norm(found.fused, axis=1), 1.0, atol=1e-5)
    assert not found.semantic.any()


def test_half_precision_changes_little(folder: Path, views: PhotoVectors) -> None:
    found = load_encoder(folder, 1, device="cpu", precision="bfloat16").encode_photos(PHOTOS[:4])
    assert float((found.fused * views.fused[:4]).sum(axis=1).min()) > 0.99
    assert found.fused.dtype == np.float32


def test_other_weights_are_another_revision(tmp_path: Path, folder: Path) -> None:
    other = load_encoder(write(tmp_path, seed=1), device="cpu")
    assert other.identity.name == "dualgeo_small"
    assert other.identity != load_encoder(folder, device="cpu").identity


def test_other_backbone_weights_are_refused(tmp_path: Path) -> None:
    encoder = load_encoder(write(tmp_path, {**CARD, "backbones": {"image": "f" * 64, "semantics": "tiny-0"}}))
    with pytest.raises(UserError, match="trained on other weights of clip-vit-l14") as caught:
        encoder.encode_photos(PHOTOS[:1])
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_the_card_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    rewrite_card(tmp_path, changed(fusion={**CARD["model"]["fusion"], "layers": 3}))
    with pytest.raises(UserError, match=r"do not fit its card: .* tensors differ, such as fusion\.layers\.2"):
        load_encoder(tmp_path, device="cpu").encode_photos(PHOTOS[:1])


def test_a_damaged_file_or_card_is_one_clear_line(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"short")
    with pytest.raises(UserError, match="is damaged"):
        load_encoder(tmp_path)
    rewrite_card(tmp_path, CARD)
    with pytest.raises(UserError, match="cannot read the weights"):
        load_encoder(tmp_path, device="cpu").encode_points(np.zeros((1, 2)))
    rewrite_card(tmp_path, {**CARD, "tokens": {}})
    with pytest.raises(UserError, match=r"card\.json is not a card of an encoder \(tokens\.image_dim") as caught:
        load_encoder(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_device_or_precision_that_is_not_there_is_one_clear_line() -> None:
    for device, precision in (("cuda:99", "float32"), ("abacus", "float32"), ("cpu", "int3")):
        with pytest.raises(UserError) as caught:
            compute_on(device, precision)
        assert "\n" not in str(caught.value)


def test_without_torch_one_line_says_what_to_install(folder: Path) -> None:
    """In a process of its own, where torch cannot be found."""
    code = (
        "import importlib.util as u, sys; real = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'torch' else real(name, *rest)\n"
        "from retrieval.encoders.registry import load_encoder; from core.errors import UserError\n"
        "for name in sys.argv[1:]:\n"
        "    try: load_encoder(name)\n"
        "    except UserError as error: print(error)\n"
        "load_encoder('compact')\n"
        "assert 'torch' not in sys.modules\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(folder), "geoclip"], capture_output=True, text=True, check=True
    )
    lines = told.stdout.splitlines()
    assert len(lines) == 2
    assert all("needs torch: pip install 'geosleuth[train]'" in line for line in lines)
