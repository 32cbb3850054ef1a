"""Building a `transformers` network from a configuration, with random weights or those of one file."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError

from core.errors import UserError
from retrieval.backbones.base import BackboneDescription, Weights
from retrieval.backbones.weights import sha256_of


def build_network(kind: Any, config: Any, name: str, file: Path | None, seed: int) -> Any:
    """A `transformers` model of a class and configuration.

    Args:
        kind: the model class.
        config: its configuration.
        name: for messages.
        file: a weight file named as `transformers` expects it; None draws random weights.
        seed: of the random weights; the caller's random state stays as it was.

    Raises:
        UserError: the file lacks weights or has them in other shapes.
    """
    if file is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return kind(config)
    try:
        network, report = kind.from_pretrained(
            file.parent, config=config, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"cannot read the weights of {name} from {file} ({reason}): fetch them again") from error
    # What is there beside the network, such as CLIP's text tower, is left alone.
    wrong = [*report["missing_keys"], *report["mismatched_keys"]]
    if wrong:
        raise UserError(
            f"{file} does not fit {name}: {len(wrong)} tensors are missing or of another shape, such as {wrong[0]}"
        )
    return network


def weights_identity(weights: Weights, file: Path | None, seed: int) -> str:
    """Which weights these are: the SHA-256 of their file, or how they were drawn."""
    return sha256_of(file) if file is not None else f"{weights}-{seed}"


def resized(about: BackboneDescription, size_px: int, dim: int, tokens: int | None) -> BackboneDescription:
    """The description of a tiny relative."""
    preprocessing = about.preprocessing.model_copy(update={"size_px": size_px})
    return about.model_copy(update={"preprocessing": preprocessing, "dim": dim, "tokens": tokens})
