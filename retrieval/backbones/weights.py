"""Weights of pretrained networks: where they are, or how to get them.

    python -m retrieval.backbones.weights                 what there is, how large, and whether it is here
    python -m retrieval.backbones.weights clip-vit-l14    fetch it (over HTTPS, resumed where it was cut off, checked)

Nothing is ever fetched unasked. A file is looked for in the folder the caller
names, or else in this package's own cache and then in the Hugging Face cache.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import httpx
from platformdirs import user_cache_path
from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.errors import UserError
from core.files import sha256_of_file

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


Progress = Callable[[int, int], None]

ROOM = 1.25
"""How much larger than expected a file may be whose size is only roughly known."""

TIMEOUT_S = 30.0
REDIRECTS = 5
CHUNK_BYTES = 1 << 20
SPARE_BYTES = 200_000_000
"""Disk space that stays free."""


def fetch(file: WeightFile, place: Path, progress: Progress | None = None, client: httpx.Client | None = None) -> Path:
    """Download a file to `place`, going on from what an interrupted run left.

    Args:
        file: what, from where, and its SHA-256.
        place: where it shall lie; its folder is made.
        progress: called with (bytes here, bytes in all).
        client: for tests; it must not follow redirects by itself.

    Raises:
        UserError: not reachable, refused, larger than it may be, no space left, or of other content.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(place.name + ".part")
    with client or httpx.Client(timeout=TIMEOUT_S) as opened:
        try:
            _download(opened, file, part, progress)
        except httpx.HTTPError as error:
            raise UserError(f"cannot fetch {file.url} ({error}): run the same command again to go on") from error
        except OSError as error:
            raise UserError(f"cannot write {part} ({error.strerror}): free some space, then run it again") from error
    if sha256_of_file(part) != file.sha256:
        part.unlink()
        raise UserError(f"{file.url} is not the file it should be (its SHA-256 differs): it was deleted; try again")
    os.replace(part, place)
    return place


def _download(client: httpx.Client, file: WeightFile, part: Path, progress: Progress | None) -> None:
    start = part.stat().st_size if part.is_file() else 0
    if start and file.size_is_exact and start == file.size_bytes:
        return
    with _opened(client, file, start) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # it is all here already; the checksum decides
        if response.status_code != httpx.codes.PARTIAL_CONTENT:
            start = 0  # the server does not resume: from the beginning
        total = _total_bytes(response, file, start)
        if shutil.disk_usage(part.parent).free < total - start + SPARE_BYTES:
            raise UserError(f"{file.name} needs {file.size}, and {part.parent} has not that much space left")
        _write(response, part, start, total, progress)


@contextmanager
def _opened(client: httpx.Client, file: WeightFile, start: int) -> Iterator[httpx.Response]:
    """The response, after redirects that stay on HTTPS."""
    url = httpx.URL(file.url)
    for _ in range(REDIRECTS):
        with client.stream("GET", url, headers={"Range": f"bytes={start}-"} if start else {}) as response:
            if not response.is_redirect:
                _refuse_errors(response, file)
                yield response
                return
            url = url.join(response.headers["location"])
            if url.scheme != "https":
                raise UserError(f"{file.url} leads to {url.host} without encryption: it is not fetched")
    raise UserError(f"{file.url} redirects more than {REDIRECTS} times: it is not fetched")


def _refuse_errors(response: httpx.Response, file: WeightFile) -> None:
    if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE or not response.is_error:
        return
    host = urlsplit(file.url).netloc
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise UserError(f"{host} asks for access rights to {file.name}: get them there, then put the file by hand")
    raise UserError(f"{host} answers {response.status_code} for {file.url}: try later, or put the file by hand")


def _total_bytes(response: httpx.Response, file: WeightFile, start: int) -> int:
    announced = response.headers.get("content-length")
    total = start + int(announced) if announced else file.size_bytes
    limit = file.size_bytes if file.size_is_exact else int(file.size_bytes * ROOM)
    if total > limit:
        raise UserError(f"{file.url} is {total:,} bytes where {limit:,} were expected: it is not fetched")
    return total if announced else limit


def _write(response: httpx.Response, part: Path, start: int, total: int, progress: Progress | None) -> None:
    done = start
    with part.open("ab" if start else "wb") as file:
        for chunk in response.iter_bytes(CHUNK_BYTES):
            done += len(chunk)
            if done > total:
                raise UserError(f"{response.url.host} sends more than the {total:,} bytes it announced: stopped")
            file.write(chunk)
            if progress:
                progress(done, total)


def _list(files: dict[str, WeightFile]) -> None:
    for name, file in files.items():
        try:
            state = str(find_weights(file, name))
        except UserError:
            state = "not here"
        sys.stdout.write(f"{name:20} {file.size:>8}  {file.licence:40} {state}\n")


def _fetch_with_bar(file: WeightFile, name: str, place: Path) -> None:
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    with Progress(
        "{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    ) as bars:
        bar = bars.add_task(name, total=file.size_bytes)
        fetch(file, place, lambda done, total: bars.update(bar, completed=done, total=total))


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
    import re

    file = files.get(arguments.name)
    if file is None:
        raise UserError(f"no weights named {arguments.name!r}: use one of {', '.join(files)}")
    if arguments.url and not arguments.url.startswith("https://"):
        raise UserError(f"{arguments.url} is not an https address: weights come over https only")
    if arguments.sha256 and not re.fullmatch(SHA256_PATTERN, arguments.sha256):
        raise UserError("--sha256 must be 64 hex digits in lower case")
    changes: dict[str, object] = {"url": arguments.url} if arguments.url else {}
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
        place = arguments.folder / file.name if arguments.folder else cached_path(files[arguments.name])
        _fetch_with_bar(file, arguments.name, place)
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    sys.stdout.write(f"{arguments.name} is at {place}\n")
    return None


if __name__ == "__main__":
    main()
