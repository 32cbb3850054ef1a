"""Backbones in tiny shapes; the real weights are never fetched."""

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="backbones need the train extra")
pytest.importorskip("transformers", reason="backbones need the train extra")

import numpy as np  # noqa: E402
from pydantic import ValidationError  # noqa: E402

from core.errors import UserError  # noqa: E402
from retrieval.backbones import hugging_face  # noqa: E402
from retrieval.backbones.base import Kind, soft_tokens  # noqa: E402
from retrieval.backbones.registry import BACKBONES, load_image_backbone, load_segmenter  # noqa: E402
from retrieval.backbones.weights import WEIGHT_FILES  # noqa: E402
from retrieval.encoders.compact import preprocess  # noqa: E402

IMAGE = [one.name for one in BACKBONES.values() if one.kind is Kind.IMAGE]
SEMANTIC = [one.name for one in BACKBONES.values() if one.kind is Kind.SEMANTIC]
TFLITE = Path(__file__).parents[4] / "shared" / "data" / "weights"


def rgb(seed: int = 0, height: int = 90, width: int = 130) -> Any:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((10, 10, 1), dtype=np.uint8))


def seen(net: Any, photos: list[Any]) -> Any:
    with torch.no_grad():
        return net(torch.from_numpy(np.stack([net.prepare(one) for one in photos])))


@pytest.mark.parametrize("name", IMAGE)
def test_tokens_have_the_promised_shape_and_depend_on_their_own_photo_alone(name: str) -> None:
    net = load_image_backbone(name, "tiny")
    photos = [rgb(i) for i in range(3)]
    tokens = seen(net, photos)
    assert tokens.shape == (3, net.description.tokens, net.description.dim)
    assert torch.isfinite(tokens).all()
    torch.testing.assert_close(seen(net, photos[::-1]).flip(0), tokens, atol=1e-5, rtol=0.0)
    torch.testing.assert_close(seen(net, photos[:1]), tokens[:1], atol=1e-5, rtol=0.0)
    assert (tokens[0] - tokens[1]).abs().max() > 1e-4


@pytest.mark.parametrize("name", SEMANTIC)
def test_distributions_sum_to_1_and_depend_on_their_own_photo_alone(name: str) -> None:
    net = load_segmenter(name, grid=3, weights="tiny")
    photos = [rgb(i) for i in range(3)]
    tokens = seen(net, photos)
    assert tokens.shape == (3, 9, net.description.dim)
    torch.testing.assert_close(tokens.sum(dim=-1), torch.ones(3, 9))
    assert float(tokens.min()) >= 0.0
    torch.testing.assert_close(seen(net, photos[:1]), tokens[:1], atol=1e-5, rtol=0.0)
    assert (tokens[0] - tokens[1]).abs().max() > 1e-6


@pytest.mark.parametrize("name", BACKBONES)
def test_they_are_frozen_and_the_same_for_the_same_seed(name: str) -> None:
    def load(seed: int) -> Any:
        if name in IMAGE:
            return load_image_backbone(name, "tiny", seed=seed)
        return load_segmenter(name, 2, "tiny", seed=seed)

    state = torch.random.get_rng_state()
    first, again, other = load(0), load(0), load(1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not first.training
    assert not any(parameter.requires_grad for parameter in first.parameters())
    assert torch.equal(seen(first, [rgb()]), seen(again, [rgb()]))
    assert not torch.equal(seen(first, [rgb()]), seen(other, [rgb()]))
    assert (first.identity, other.identity) == ("tiny-0", "tiny-1")


def test_a_description_names_its_weights_and_cannot_be_changed() -> None:
    assert all(about.weights is None or about.weights in WEIGHT_FILES for about in BACKBONES.values())
    with pytest.raises(ValidationError):
        BACKBONES["compact"].dim = 3  # type: ignore[misc]  # the point of the test


@pytest.mark.parametrize(("height", "width"), [(90, 130), (300, 224), (641, 100), (224, 224)])
def test_clips_pixels_are_those_of_its_own_processor(height: int, width: int) -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    photo = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    recipe = BACKBONES["clip-vit-l14"].preprocessing
    found = recipe.normalise(torch.from_numpy(recipe.prepare(photo))[None])
    wanted = CLIPImageProcessorPil()(images=[photo], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0.0)


def test_segformers_pixels_are_those_of_its_own_processor() -> None:
    from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

    recipe = BACKBONES["segformer-b5-ade"].preprocessing
    found = recipe.normalise(torch.from_numpy(recipe.prepare(rgb()))[None])
    processor = SegformerImageProcessorPil(size={"height": 640, "width": 640})
    torch.testing.assert_close(
        found, processor(images=[rgb()], return_tensors="pt")["pixel_values"], atol=1e-5, rtol=0.0
    )


def test_the_light_ones_prepare_photos_as_compact_does() -> None:
    photo = rgb(3, 700, 500)
    for name, size in (("compact", 160), ("mobilenet-v1-tflite", 224), ("deeplab-tflite", 513)):
        np.testing.assert_array_equal(BACKBONES[name].preprocessing.prepare(photo), preprocess(photo, size))


def test_soft_maps_are_averaged_over_each_cell() -> None:
    probabilities = torch.zeros(1, 2, 2, 4)
    probabilities[0, 0] = torch.tensor([[1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0]])
    probabilities[0, 1] = 1.0 - probabilities[0, 0]
    found = soft_tokens(probabilities, 2)
    assert found[0, :, 0].tolist() == [0.5, 1.0, 0.5, 1.0]


def test_pretrained_weights_come_out_of_a_whole_clip_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has a text tower beside what is wanted; a tiny one stands for it, in the names CLIP has on the hub."""
    from transformers import CLIPConfig, CLIPModel

    shape = {**hugging_face._CLIP_L14, **hugging_face._TINY, "image_size": 224}
    monkeypatch.setattr(hugging_face, "_CLIP_L14", shape)
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    whole = CLIPModel(CLIPConfig(vision_config=shape, text_config=text, projection_dim=768)).eval()
    whole.save_pretrained(tmp_path)
    net: Any = load_image_backbone("clip-vit-l14", "pretrained", folder=tmp_path)
    pixels = torch.from_numpy(np.stack([net.prepare(rgb())]))
    with torch.no_grad():
        wanted = whole.get_image_features(net.description.preprocessing.normalise(pixels)).pooler_output
        torch.testing.assert_close(net.embeddings(pixels), wanted)
    assert len(net.identity) == 64


def test_weights_of_another_shape_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    small = CLIPVisionConfig(**{**hugging_face._CLIP_L14, **hugging_face._TINY})
    CLIPVisionModelWithProjection(small).save_pretrained(tmp_path)
    wider = {**hugging_face._CLIP_L14, **hugging_face._TINY, "hidden_size": 32}
    monkeypatch.setattr(hugging_face, "_CLIP_L14", wider)
    with pytest.raises(UserError, match="does not fit clip-vit-l14") as caught:
        load_image_backbone("clip-vit-l14", "pretrained", folder=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "file"), [("dinov3", "model.safetensors"), ("segformer-b5-ade", "pytorch_model.bin")])
def test_a_file_that_is_no_weights_is_refused(tmp_path: Path, name: str, file: str) -> None:
    (tmp_path / file).write_bytes(b"no weights")
    load = load_image_backbone if name in IMAGE else partial(load_segmenter, grid=4)
    with pytest.raises(UserError, match=f"cannot read the weights of {name}") as caught:
        load(name, folder=tmp_path)
    assert "\n" not in str(caught.value)


def test_compact_comes_as_shipped_and_equals_its_graphs() -> None:
    net: Any = load_image_backbone("compact")
    tokens = seen(net, [rgb(0, 200, 300)])
    assert tokens.shape == (1, 25, 256)
    distributions = seen(load_segmenter("compact-segments", 5), [rgb(0, 200, 300)])
    torch.testing.assert_close(distributions.sum(dim=-1), torch.ones(1, 25))


@pytest.mark.skipif(not TFLITE.is_dir(), reason="no ../shared/data/weights")
@pytest.mark.skipif(importlib.util.find_spec("ai_edge_litert") is None, reason="needs ai-edge-litert")
def test_the_tflite_pair_from_its_real_weights() -> None:
    tokens = seen(load_image_backbone("mobilenet-v1-tflite", folder=TFLITE), [rgb(0, 300, 400), rgb(1)])
    assert tokens.shape == (2, 49, 1024)
    assert float(tokens.min()) >= 0.0 < float(tokens.max())
    classes = seen(load_segmenter("deeplab-tflite", 7, folder=TFLITE), [rgb(0, 300, 400)])
    torch.testing.assert_close(classes.sum(dim=-1), torch.ones(1, 49))


def test_an_unknown_backbone_is_one_line_that_lists_the_known() -> None:
    with pytest.raises(UserError, match="no image backbone 'resnet': use one of clip-vit-l14, siglip2"):
        load_image_backbone("resnet")
    with pytest.raises(UserError, match="no semantic backbone 'clip-vit-l14'"):
        load_segmenter("clip-vit-l14", 4)
