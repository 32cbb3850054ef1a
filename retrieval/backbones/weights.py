"""Weights of pretrained networks: where they are, or how to get them.

    python -m retrieval.backbones.weights                 what there is, how large, and whether it is here
    python -m retrieval.backbones.weights clip-vit-l14    fetch it (over HTTPS, resumed where it was cut off, checked)

Nothing is ever fetched unasked. A file is looked for in the folder the caller
names, or else in this package's own cache and then in the Hugging Face cache.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from platformdirs import user_cache_path
from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.errors import UserError

HUB_URL = "https://huggingface.co"
SHA256_PATTERN = r"^[0-9a-f]{64}$"


class WeightFile(BaseModel):
    """One file of pretrained weights, pinned by its content.

    Attributes:
        name: of the file, such as `model.safetensors`.
        url: where it comes from; HTTPS.
        sha256: of its content, in hex.
        size_bytes: of its content.
        size_is_exact: whether the size is to be met to the byte, or only known roughly.
        licence: of the weights.
        repo: on the Hugging Face hub, if it comes from there.
        revision: the commit of that repository.
        gated: whether one must ask the authors first.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    url: str
    sha256: str = Field(pattern=SHA256_PATTERN)
    size_bytes: int = Field(gt=0)
    licence: str
    size_is_exact: bool = True
    repo: str | None = None
    revision: str | None = None
    gated: bool = False

    @field_validator("url")
    @classmethod
    def _is_https(cls, url: str) -> str:
        if urlsplit(url).scheme != "https":
            raise ValueError("weights come over https only")
        return url

    @property
    def size(self) -> str:
        """The size for people, such as `1.7 GB`."""
        return f"{self.size_bytes / 1e9:.1f} GB" if self.size_bytes >= 1e9 else f"{self.size_bytes / 1e6:.0f} MB"


def hub_file(
    repo: str, revision: str, sha256: str, size_bytes: int, licence: str, name: str = "model.safetensors"
) -> WeightFile:
    """A file of a Hugging Face repository at one commit."""
    url = f"{HUB_URL}/{repo}/resolve/{revision}/{name}"
    return WeightFile(
        name=name, url=url, sha256=sha256, size_bytes=size_bytes, licence=licence, repo=repo, revision=revision
    )


def weights_cache() -> Path:
    """Where fetched weights lie: a folder for each SHA-256."""
    return user_cache_path("geosleuth") / "weights"


def cached_path(file: WeightFile, cache: Path | None = None) -> Path:
    """Where a fetched file lies, or would."""
    return (cache or weights_cache()) / file.sha256[:16] / file.name


def find_weights(file: WeightFile, used_by: str, folder: Path | None = None, cache: Path | None = None) -> Path:
    """The file on this machine.

    Args:
        file: what is looked for.
        used_by: the registry name of what needs it, for the message.
        folder: look here and nowhere else; the file may be another version (the caller sees its SHA-256).
        cache: this package's cache, if not the usual place.

    Raises:
        UserError: it is not here; the message names the file, its size, where it comes from and where to put it.
    """
    if folder is not None:
        if (folder / file.name).is_file():
            return folder / file.name
        raise UserError(f"no {file.name} of {used_by} in {folder}: put the file there ({file.size}, {file.url})")
    own = cached_path(file, cache)
    found = own if own.is_file() else _in_hub_cache(file)
    if found is None:
        raise UserError(missing_message(file, used_by, own))
    if file.size_is_exact and found.stat().st_size != file.size_bytes:
        raise UserError(
            f"{found} has {found.stat().st_size:,} bytes and should have {file.size_bytes:,}: delete it and fetch again"
        )
    return found


def missing_message(file: WeightFile, used_by: str, place: Path) -> str:
    """One line that says what is missing, how large it is, and the two ways to get it."""
    get = f"run `python -m retrieval.backbones.weights {used_by}`"
    if file.gated:
        get = f"ask for access at {HUB_URL}/{file.repo}, then run `hf download {file.repo} --revision {file.revision}`"
    return (
        f"the weights of {used_by} are not on this machine: {get} ({file.size}, licence {file.licence}),"
        f" or put {file.url} at {place}"
    )


def _in_hub_cache(file: WeightFile) -> Path | None:
    """The file in the Hugging Face cache, where that package is installed; it knows its own folder."""
    if file.repo is None:
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ModuleNotFoundError:
        return None
    found = try_to_load_from_cache(file.repo, file.name, revision=file.revision)
    return Path(found) if isinstance(found, str) else None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hex; read once a process and version of the file (1.7 GB takes about 2 seconds)."""
    status = path.stat()
    return _sha256(path.resolve(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, _size: int, _modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    from retrieval.backbones.weights_fetch import main

    main()
