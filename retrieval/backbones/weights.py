"""Weights of pretrained networks: where they are, or how to get them.

    python -m retrieval.backbones.weights                 what there is, how large, and whether it is here
    python -m retrieval.backbones.weights clip-vit-l14    fetch it (over HTTPS, checked)

Nothing is ever fetched unasked. What lies on the Hugging Face hub is fetched by the hub's own client into its cache;
files elsewhere, and those of a mirror named with `--url`, into this package's cache, resumed where they were cut off.
A file is looked for in the folder the caller names, or else in this package's cache and then in the hub's.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import httpx
from platformdirs import user_cache_path
from pydantic import Field, field_validator

from core.download import Progress, download, https_client
from core.errors import UserError
from core.files import sha256_of_file
from core.frozen import Immutable

HUB_URL = "https://huggingface.co"
SHA256_PATTERN = r"^[0-9a-f]{64}$"


class WeightFile(Immutable):
    """One file of pretrained weights, pinned by its content.

    Attributes:
        name: of the file, such as `model.safetensors`.
        url: where it comes from; HTTPS.
        sha256: of its content, in hex.
        size_is_exact: whether the size is to be met to the byte, or only known roughly.
        repo: on the Hugging Face hub, if it comes from there.
        revision: the commit of that repository.
        gated: whether one must ask the authors first.
    """

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
        get = f"{_ask_for_access(file)}, then {get}"
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


ROOM = 1.25
"""How much larger than expected a file may be whose size is only roughly known."""

TIMEOUT_S = 30.0


def fetch(file: WeightFile, place: Path, client: httpx.Client, progress: Progress | None = None) -> Path:
    """Download a file from its address to `place`, going on from what an interrupted run left.

    Raises:
        UserError: not reachable, refused, larger than it may be, no space left, or of other content.
    """
    max_bytes = file.size_bytes if file.size_is_exact else int(file.size_bytes * ROOM)
    download(file.url, place, client, progress, sha256=file.sha256, max_bytes=max_bytes)
    return place


def fetch_from_hub(file: WeightFile, folder: Path | None = None, endpoint: str | None = None) -> Path:
    """Fetch a file from the Hugging Face hub into its cache, where other programs find it too.

    Args:
        folder: put it here instead of the cache.
        endpoint: of a mirror of the hub, for tests; users set `HF_ENDPOINT`.

    Raises:
        UserError: the hub's client is not installed, access was not granted, not reachable, or other content.
    """
    try:
        from huggingface_hub import errors, hf_hub_download
    except ModuleNotFoundError as error:
        raise UserError(f"{file.name} comes from the Hugging Face hub: pip install 'geosleuth[train]'") from error
    try:
        place = Path(
            hf_hub_download(str(file.repo), file.name, revision=file.revision, local_dir=folder, endpoint=endpoint)
        )
    except errors.GatedRepoError as error:
        raise UserError(f"the authors of {file.repo} did not grant access yet: {_ask_for_access(file)}") from error
    except (errors.HTTPError, OSError) as error:  # type: ignore[attr-defined]  # its HTTP library's own
        why = " ".join(str(error.__cause__ or error).split())
        raise UserError(f"cannot fetch {file.url} ({why}): run the same command again") from error
    if sha256_of_file(place) != file.sha256:
        place.resolve().unlink()
        place.unlink(missing_ok=True)
        raise UserError(f"{file.url} is not the file it should be (its SHA-256 differs): it was deleted; try again")
    return place


def _ask_for_access(file: WeightFile) -> str:
    return f"ask for access at {HUB_URL}/{file.repo}, run `hf auth login`"


def _list(files: dict[str, WeightFile]) -> None:
    for name, file in files.items():
        try:
            state = str(find_weights(file, name))
        except UserError:
            state = "not here"
        sys.stdout.write(f"{name:20} {file.size:>8}  {file.licence:40} {state}\n")


def _fetch_with_bar(file: WeightFile, name: str, place: Path) -> None:
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with https_client(TIMEOUT_S) as client, Bars(*columns) as bars:
        bar = bars.add_task(name, total=file.size_bytes)
        fetch(file, place, client, lambda done, total: bars.update(bar, completed=done, total=total))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m retrieval.backbones.weights", description="List or fetch pretrained weights"
    )
    parser.add_argument("name", nargs="?", help="what to fetch; without it, list everything")
    parser.add_argument("--folder", type=Path, help="put it here instead of the cache")
    parser.add_argument("--url", help="fetch from this mirror instead (https)")
    parser.add_argument("--sha256", help="of what the mirror holds, if it is another version")
    return parser.parse_args()


def _chosen(files: dict[str, WeightFile], arguments: argparse.Namespace) -> WeightFile:
    file = files.get(arguments.name)
    if file is None:
        raise UserError(f"no weights named {arguments.name!r}: use one of {', '.join(files)}")
    if arguments.url and not arguments.url.startswith("https://"):
        raise UserError(f"{arguments.url} is not an https address: weights come over https only")
    if arguments.sha256 and not re.fullmatch(SHA256_PATTERN, arguments.sha256):
        raise UserError("--sha256 must be 64 hex digits in lower case")
    changes: dict[str, object] = {"url": arguments.url, "repo": None} if arguments.url else {}
    if arguments.sha256 and arguments.sha256 != file.sha256:
        changes |= {"sha256": arguments.sha256, "size_is_exact": False}
    return file.model_copy(update=changes)


def main() -> None:
    """Run from the command line."""
    arguments, files = _arguments(), dict(WEIGHT_FILES)
    try:
        if arguments.name is None:
            return _list(files)
        file = _chosen(files, arguments)
        if file.repo is not None:
            place = fetch_from_hub(file, arguments.folder)
        else:
            place = arguments.folder / file.name if arguments.folder else cached_path(files[arguments.name])
            _fetch_with_bar(file, arguments.name, place)
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    sys.stdout.write(f"{arguments.name} is at {place}\n")
    return None


if __name__ == "__main__":
    main()
