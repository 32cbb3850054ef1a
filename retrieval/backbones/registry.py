"""The list of backbones, by name: frozen networks that turn a photo into tokens or into class distributions.

    image = load_image_backbone("clip-vit-l14")
    tokens = image(torch.from_numpy(np.stack([image.prepare(photo.rgb)])))     # (1, 256, 1024)

Needs torch, and `transformers` for all but `compact` and the `.tflite` pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from core.errors import UserError
from retrieval.backbones.base import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    BackboneDescription,
    ImageBackbone,
    Kind,
    Preprocessing,
    Segmenter,
    Weights,
)
from retrieval.backbones.compact import CLASSES, NARROW, CompactSegmenter, CompactTokens
from retrieval.backbones.weights import WEIGHT_FILES, find_weights

_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5)
ANY_VISION_MODEL = "transformers"
_COMPACT_FILE = Path(__file__).parents[1] / "data" / "compact" / "weights.safetensors"


def _pretrained(
    name: str, kind: Kind, summary: str, dim: int, tokens: int | None, preprocessing: Preprocessing
) -> BackboneDescription:
    """A description whose weight file has its name."""
    return BackboneDescription(
        name=name,
        kind=kind,
        summary=summary,
        dim=dim,
        tokens=tokens,
        preprocessing=preprocessing,
        weights=name,
    )


def _whole(size_px: int, *, imagenet: bool = True) -> Preprocessing:
    """The whole photo, bilinear, with ImageNet's normalisation or to -1..1."""
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if imagenet else (_HALF, _HALF)
    return Preprocessing(size_px=size_px, crop=False, bicubic=False, mean=mean, std=std)


def _small_network(size_px: int) -> Preprocessing:
    """As `retrieval.encoders.compact.preprocess`; these networks normalise inside."""
    return Preprocessing(size_px=size_px, crop=False, bicubic=False, mean=_HALF, std=_HALF, reducing_gap=3.0)


def _compact(name: str, kind: Kind, dim: int, tokens: int | None) -> BackboneDescription:
    return BackboneDescription(
        name=name,
        kind=kind,
        summary="one small network for tokens and segmentation, distilled from the .tflite pair",
        dim=dim,
        tokens=tokens,
        preprocessing=_small_network(160),
    )


_ALL = (
    _pretrained(
        "clip-vit-l14",
        Kind.IMAGE,
        "CLIP ViT-L/14 at 224 px: patch tokens before the projection",
        1024,
        256,
        Preprocessing(size_px=224, crop=True, bicubic=True, mean=_CLIP_MEAN, std=_CLIP_STD),
    ),
    _pretrained(
        "siglip2",
        Kind.IMAGE,
        "SigLIP 2 base/16 at 224 px: patch tokens",
        768,
        196,
        _whole(224, imagenet=False),
    ),
    _pretrained("dinov3", Kind.IMAGE, "DINOv3 ViT-B/16 (LVD-1689M) at 224 px: patch tokens", 768, 196, _whole(224)),
    _pretrained(
        "segformer-b5-ade", Kind.SEMANTIC, "SegFormer-B5 on ADE20K at 640 px: 150 classes", 150, None, _whole(640)
    ),
    _pretrained(
        "mask2former",
        Kind.SEMANTIC,
        "Mask2Former, Swin-L, on ADE20K at 640 px: 150 classes",
        150,
        None,
        _whole(640),
    ),
    _pretrained(
        "mobilenet-v1-tflite",
        Kind.IMAGE,
        "MobileNetV1 1.0/224 (ImageNet), quantised: a 7 x 7 grid; light, CPU only",
        1024,
        49,
        _small_network(224),
    ),
    _pretrained(
        "deeplab-tflite",
        Kind.SEMANTIC,
        "DeepLab MobileNet-EdgeTPU, quantised: 19 Cityscapes classes; light, CPU only",
        19,
        None,
        _small_network(513),
    ),
    BackboneDescription(
        name=ANY_VISION_MODEL,
        kind=Kind.IMAGE,
        summary="any vision model of transformers, such as ConvNeXt, from a folder of the hub; the figures: ConvNeXt-B",
        dim=1024,
        tokens=144,
        preprocessing=Preprocessing(size_px=384, crop=False, bicubic=True, mean=IMAGENET_MEAN, std=IMAGENET_STD),
    ),
    _compact("compact", Kind.IMAGE, 256, 25),
    BackboneDescription(
        name=NARROW,
        kind=Kind.IMAGE,
        summary="the compact network with half the channels, untrained: a start for small trainings",
        dim=128,
        tokens=4,
        preprocessing=_small_network(64),
    ),
    _compact("compact-segments", Kind.SEMANTIC, CLASSES, None),
)

BACKBONES: Mapping[str, BackboneDescription] = MappingProxyType({one.name: one for one in _ALL})


def load_image_backbone(
    name: str, weights: Weights = "pretrained", folder: Path | None = None, seed: int = 0
) -> ImageBackbone:
    """An image backbone, frozen and in eval mode, on the CPU.

    Args:
        name: a name in `BACKBONES` of kind image.
        weights: pretrained, or random ones in the real or in a tiny shape (never a download).
        folder: holds the weight file; None looks in the caches.
        seed: of random weights.

    Raises:
        UserError: an unknown name, weights that are not here or do not fit, or `transformers` missing.
    """
    about = _described(name, Kind.IMAGE)
    file = _weight_file(about, weights, folder)
    if name in ("compact", NARROW):
        return CompactTokens(about, weights, file, seed)
    if name == "mobilenet-v1-tflite":
        from retrieval.backbones.tflite import MobileNetBackbone

        return MobileNetBackbone(about, weights, file, seed)
    _need_transformers(name)
    if name == ANY_VISION_MODEL:
        from retrieval.backbones.any_vision_model import AnyVisionModel

        return AnyVisionModel(about, weights, file, seed)
    from retrieval.backbones.hugging_face import ClipBackbone, Dinov3Backbone, SiglipBackbone

    classes: dict[str, Callable[..., ImageBackbone]] = {
        "clip-vit-l14": ClipBackbone,
        "siglip2": SiglipBackbone,
        "dinov3": Dinov3Backbone,
    }
    return classes[name](about, weights, file, seed)


def load_segmenter(
    name: str, grid: int, weights: Weights = "pretrained", folder: Path | None = None, seed: int = 0
) -> Segmenter:
    """A semantic backbone, frozen and in eval mode, on the CPU.

    Args:
        name: a name in `BACKBONES` of kind semantic.
        grid: its distributions are averaged down to grid x grid tokens.
        weights: as in `load_image_backbone`, as the other arguments.

    Raises:
        UserError: as `load_image_backbone`.
    """
    about = _described(name, Kind.SEMANTIC)
    file = _weight_file(about, weights, folder)
    if name == "compact-segments":
        return CompactSegmenter(about, weights, file, seed, grid)
    if name == "deeplab-tflite":
        from retrieval.backbones.tflite import DeepLabSegmenter

        return DeepLabSegmenter(about, weights, file, seed, grid)
    _need_transformers(name)
    from retrieval.backbones.hugging_face import Mask2FormerSegmenter, SegformerSegmenter

    classes: dict[str, Callable[..., Segmenter]] = {
        "segformer-b5-ade": SegformerSegmenter,
        "mask2former": Mask2FormerSegmenter,
    }
    return classes[name](about, weights, file, seed, grid)


def _described(name: str, kind: Kind) -> BackboneDescription:
    about = BACKBONES.get(name)
    if about is None or about.kind is not kind:
        names = ", ".join(one.name for one in BACKBONES.values() if one.kind is kind)
        raise UserError(f"no {kind.value} backbone {name!r}: use one of {names}")
    return about


def _weight_file(about: BackboneDescription, weights: Weights, folder: Path | None) -> Path | None:
    if weights != "pretrained":
        return None
    if about.name == ANY_VISION_MODEL:
        return _file_of_folder(folder)
    if about.name == NARROW:
        raise UserError(f"{NARROW} has no pretrained weights: set weights=random and train it")
    if about.weights is None:
        return folder / _COMPACT_FILE.name if folder else _COMPACT_FILE
    return find_weights(WEIGHT_FILES[about.weights], about.name, folder)


def _file_of_folder(folder: Path | None) -> Path:
    """The weight file of a folder as `transformers` saves one."""
    names = ("model.safetensors", "pytorch_model.bin")
    found = [folder / name for name in names if folder is not None and (folder / name).is_file()]
    if folder is None or not found or not (folder / "config.json").is_file():
        raise UserError(
            f"the backbone {ANY_VISION_MODEL!r} needs a folder with config.json and {names[0]}, not {folder}: fetch one"
            " with `hf download facebook/convnext-base-384-22k-1k --local-dir FOLDER`"
        )
    return found[0]


def _need_transformers(name: str) -> None:
    try:
        import transformers  # noqa: F401  # only whether it is installed
    except ModuleNotFoundError as error:
        raise UserError(f"{name} needs transformers: pip install 'geosleuth[train]'") from error
