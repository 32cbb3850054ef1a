"""The pretrained weights this package knows how to use; none of them ships with it.

Commits, sizes and SHA-256 are those of the files as published; a file of
another SHA-256 is refused when fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from retrieval.backbones.weights import WeightFile, hub_file

_CORAL = "https://raw.githubusercontent.com/google-coral/test_data/master"


def _coral_file(name: str, sha256: str, size_bytes: int) -> WeightFile:
    return WeightFile(name=name, url=f"{_CORAL}/{name}", sha256=sha256, size_bytes=size_bytes, licence="Apache-2.0")


WEIGHT_FILES: Mapping[str, WeightFile] = MappingProxyType(
    {
        "clip-vit-l14": hub_file(
            "openai/clip-vit-large-patch14",
            "32bd64288804d66eefd0ccbe215aa642df71cc41",
            "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
            1_710_540_580,
            "MIT",
        ),
        "siglip2": hub_file(
            "google/siglip2-base-patch16-224",
            "75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2",
            "612923381c76ec5a9bed335d1c48827e3f2e506ac31b044b63b2031fadee6a0b",
            1_500_800_904,
            "Apache-2.0",
        ),
        "dinov3": hub_file(
            "facebook/dinov3-vitb16-pretrain-lvd1689m",
            "5931719e67bbdb9737e363e781fb0c67687896bc",
            "9a21ac3df0c63839d62612dda6f454d816c25611cc7a52966ed5a5a94921dc8b",
            342_662_192,
            "DINOv3 License",
        ).model_copy(update={"gated": True}),
        # A torch checkpoint: the commit has no safetensors. It is read with weights_only, which runs no code.
        "segformer-b5-ade": hub_file(
            "nvidia/segformer-b5-finetuned-ade-640-640",
            "739f5d4692954e4a185eac280dec1ba5a7d52f1d",
            "a3dbf2d7a9912203078f304d88df8cfee9fd752ca2d2413f82036bdb02c5e7df",
            339_000_000,
            "NVIDIA Source Code License (no commercial use)",
            "pytorch_model.bin",
        ).model_copy(update={"size_is_exact": False}),
        "mask2former": hub_file(
            "facebook/mask2former-swin-large-ade-semantic",
            "aa25c92404a40599614215e76514c79b427c7527",
            "b143c144341c15b4f20165cc6d2c9305fb1b66792f68a6e0e06d2b20dc063b14",
            866_052_064,
            "other (see the model card)",
        ),
        "mobilenet-v1-tflite": _coral_file(
            "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite",
            "f409ef4f73fcbb9667841965623c5c8524aac33d41b9bf5f3667161fb4a76319",
            3_251_736,
        ),
        "deeplab-tflite": _coral_file(
            "deeplab_mobilenet_edgetpu_slim_cityscapes_quant.tflite",
            "322fe29945cb1693f426952f2a330ab67ea5678545ddee6f2548e0cfd0ca03e5",
            2_157_328,
        ),
    }
)
