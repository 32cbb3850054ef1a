"""The folder of a run: configuration, versions, metrics, checkpoint, weights.

`config.yaml`, `run.json` (command, commit, versions), `metrics.jsonl` (one line
a step or validation), `tensorboard/`, `checkpoint.pt`, `best.safetensors`,
`card.json` and `bad_samples.csv`. Files are replaced whole, so that a killed
run leaves the old one or the new one.
"""

from __future__ import annotations

import errno
import importlib.metadata
import json
import platform
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.checkout import commit_of
from core.errors import UserError
from core.files import replacing
from core.jsonl_log import append_line, whole_lines
from retrieval.training.ema import copy_tensors, trained_tensors

PACKAGES = ("geosleuth", "numpy", "safetensors", "torch", "transformers")
CHECKPOINT, WEIGHTS, METRICS = "checkpoint.pt", "best.safetensors", "metrics.jsonl"


class TrainingRunFolder:
    """Reads and writes the files of one run.

    Raises:
        UserError: the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"run: cannot make {folder} ({error.strerror}): set run to a folder you may write"
            ) from error

    @property
    def checkpoint(self) -> Path:
        """The file that training resumes from."""
        return self.folder / CHECKPOINT

    def check_space(self, needed_bytes: int) -> None:
        """Stop before training if the checkpoints will not fit on the disk.

        Raises:
            UserError: less free than `needed_bytes`.
        """
        free = shutil.disk_usage(self.folder).free
        if free < needed_bytes:
            raise UserError(
                f"no space for checkpoints: {self.folder} has {free / 1e9:.1f} GB free and this run needs about "
                f"{needed_bytes / 1e9:.1f} GB: free some, or set run to a folder on another disk"
            )

    def describe(self, config_yaml: str, arguments: list[str]) -> None:
        """Write configuration, command, commit and versions."""
        self._write_text("config.yaml", config_yaml)
        facts = {"arguments": arguments, "commit": commit_of(Path(__file__).parent, "+changes") or "", **versions()}
        self._write_text("run.json", json.dumps(facts, indent=2) + "\n")

    def save_state(self, name: str, state: Mapping[str, Any]) -> None:
        """Write tensors and plain values, such as the checkpoint; see `read_state`.

        Raises:
            UserError: no space left.
        """

        def write(part: Path) -> None:
            with part.open("wb") as file:  # by its path, torch.save raises RuntimeError where a disk is full
                torch.save(dict(state), file)

        self._replace(name, write)

    def load_checkpoint(self, recipe: str) -> dict[str, Any] | None:
        """Read the checkpoint; None if there is none.

        Raises:
            UserError: it was made with other settings.
        """
        if not self.checkpoint.is_file():
            return None
        state = read_state(self.checkpoint, "checkpoint")
        if state["recipe"] != recipe:
            changed = ", ".join(_changed_keys(json.loads(state["recipe"]), json.loads(recipe)))
            raise UserError(
                f"{self.checkpoint} was made with other settings ({changed}): delete it or set run to a new folder"
            )
        return state

    def save_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Write the best weights as safetensors.

        Raises:
            UserError: no space left.
        """
        contiguous = {key: tensor.detach().contiguous().cpu() for key, tensor in tensors.items()}
        self._replace(WEIGHTS, lambda part: save_file(contiguous, part))

    def save_card(self, card: Mapping[str, Any]) -> None:
        """Write `card.json`: what the weights are, and their scores."""
        self._write_text("card.json", json.dumps(card, indent=2, ensure_ascii=False) + "\n")

    def log(self, line: Mapping[str, Any]) -> None:
        """Add a line to `metrics.jsonl`.

        Raises:
            UserError: no space left.
        """
        try:
            append_line(self.folder / METRICS, f"{json.dumps(line)}\n".encode())
        except OSError as error:
            raise self._no_space(error, METRICS) from error

    def drop_log_after(self, step: int) -> None:
        """Drop the lines of steps after the checkpoint; they will be done again."""
        path = self.folder / METRICS
        if not path.is_file():
            return
        kept = b"".join(line for line in whole_lines(path) if json.loads(line)["step"] <= step)
        self._replace(METRICS, lambda part: part.write_bytes(kept))

    def _write_text(self, name: str, text: str) -> None:
        self._replace(name, lambda part: part.write_text(text, encoding="utf-8"))

    def _replace(self, name: str, write: Callable[[Path], object]) -> None:
        try:
            with replacing(self.folder / name) as part:
                write(part)
        except OSError as error:
            raise self._no_space(error, name) from error

    def _no_space(self, error: OSError, name: str) -> UserError:
        path = self.folder / name
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return UserError(f"no space left for {path}: free some and run the same command again, it goes on")
        return UserError(f"cannot write {path}: {error.strerror or error}")


def read_state(path: Path, what: str) -> dict[str, Any]:
    """Read what `TrainingRunFolder.save_state` wrote; only tensors and plain values are unpickled.

    Raises:
        UserError: no such file.
    """
    if not path.is_file():
        raise UserError(f"no {what} at {path}: run python -m retrieval.training.train first")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file.

    Raises:
        UserError: no such file.
    """
    if not path.is_file():
        raise UserError(f"no weights at {path}: train first, or give the right folder")
    tensors: dict[str, Tensor] = load_file(path)
    return tensors


def load_exactly(module: torch.nn.Module, tensors: Mapping[str, Tensor], origin: Path | str) -> None:
    """Copy weights into a module; all trained names and shapes must match, frozen parameters stay as they are.

    Raises:
        UserError: naming the first key that is missing, unknown or of another shape.
    """
    wanted = trained_tensors(module)
    for name in sorted(set(wanted) | set(tensors)):
        if name not in tensors:
            raise UserError(f"{origin}: {name} is missing: these weights are of another configuration")
        if name not in wanted:
            raise UserError(f"{origin}: {name} is not part of this model: these weights are of another configuration")
        if wanted[name].shape != tensors[name].shape:
            found, expected = tuple(tensors[name].shape), tuple(wanted[name].shape)
            raise UserError(f"{origin}: {name} has shape {found}, the configuration needs {expected}")
    copy_tensors(dict(tensors), wanted)


def versions() -> dict[str, Any]:
    """Versions of Python and of the packages that compute, and the GPU's name."""
    installed = {package.metadata["Name"].lower(): package.version for package in importlib.metadata.distributions()}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "python": platform.python_version(),
        "packages": {name: installed[name] for name in PACKAGES if name in installed},
        "gpu": gpu,
    }


def _changed_keys(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Dotted keys of the values that differ between two JSON trees."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [prefix]
    names = sorted(set(old) | set(new))
    return [
        key
        for name in names
        for key in _changed_keys(old.get(name), new.get(name), f"{prefix}.{name}" if prefix else name)
    ]
