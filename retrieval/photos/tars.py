"""Photos in tar files, read in any order through an index of where each begins.

WebDataset's layout (`000001.jpg` beside `000001.json`) and MP16-Pro's single
tar are both plain tars. One pass over the headers finds every member, so that
a truncated shard is found before anything is read, a resumed run needs no
replay, and every process reads its own photos only. The index can be kept and
reused while the tars do not change.
"""

from __future__ import annotations

import glob
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from core.errors import UserError
from core.files import replacing
from retrieval.photos.decoding import PHOTO_SUFFIXES

END_BYTES = 512
"""An archive ends with a block of zeros; one without it was cut off between two members."""


class TarIndex(NamedTuple):
    """The position of n files in some tars.

    Attributes:
        tar: int64 (n,), which tar.
        offset: int64 (n,), first byte.
        size: int64 (n,), in bytes.
    """

    tars: list[Path]
    names: list[str]
    tar: NDArray[np.int64]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]


def find_tars(patterns: Sequence[str]) -> list[Path]:
    """The tars that match glob patterns, sorted, each once.

    Raises:
        UserError: a pattern without a match.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        paths = sorted(Path(path) for path in glob.glob(pattern, recursive=True))
        if not paths:
            raise UserError(f"no tar file at {pattern}: check the path")
        found.update(dict.fromkeys(paths))
    return list(found)


def index_tars(tars: Sequence[Path], cache: Path | None = None) -> TarIndex:
    """Index every photo and JSON member of uncompressed tars; the index is kept in the file `cache`, if one is given.

    Raises:
        UserError: a tar that is missing, compressed, damaged or cut off.
    """
    stamp = json.dumps([[str(tar), tar.stat().st_size, tar.stat().st_mtime_ns] for tar in tars if tar.exists()])
    if cache is not None and (kept := _kept_index(cache, stamp, list(tars))):
        return kept
    members = [_members(path) for path in tqdm(tars, desc="index shards", disable=len(tars) < 8)]
    rows = [(number, *member) for number, of_tar in enumerate(members) for member in of_tar]
    columns = [np.array([row[i] for row in rows], dtype=np.int64) for i in (0, 2, 3)]
    index = TarIndex(list(tars), [row[1] for row in rows], *columns)
    if cache is not None:
        _keep_index(cache, stamp, index)
    return index


def _members(path: Path) -> list[tuple[str, int, int]]:
    """Name, offset and size of each photo or JSON file in a tar."""
    members: list[tuple[str, int, int]] = []
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                is_photo = Path(member.name).suffix.lower() in PHOTO_SUFFIXES
                if member.isfile() and (is_photo or member.name.endswith(".json")):
                    members.append((member.name, member.offset_data, member.size))
                tar.members.clear()  # type: ignore[attr-defined]  # documented way to keep a long walk's memory small
            end = tar.offset
    except (tarfile.TarError, EOFError) as error:
        last = members[-1][0] if members else "nothing"
        raise UserError(
            f"{path} is cut off or no uncompressed tar ({error}; the last whole member is {last}): get it again"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read the shard {path} ({error.strerror})") from error
    if os.path.getsize(path) < end + END_BYTES:
        raise UserError(f"{path} is cut off after {members[-1][0] if members else 'nothing'}: get it again")
    return members


def _kept_index(cache: Path, stamp: str, tars: list[Path]) -> TarIndex | None:
    if not cache.is_file():
        return None
    with np.load(cache, allow_pickle=False) as arrays:
        if bytes(arrays["stamp"]).decode() != stamp:
            return None
        names = bytes(arrays["names"]).decode().split("\n") if len(arrays["tar"]) else []
        return TarIndex(tars, names, arrays["tar"], arrays["offset"], arrays["size"])


def _keep_index(cache: Path, stamp: str, index: TarIndex) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    texts = {"stamp": stamp, "names": "\n".join(index.names)}
    arrays: dict[str, Any] = {name: np.frombuffer(text.encode(), dtype=np.uint8) for name, text in texts.items()}
    with replacing(cache) as part, part.open("wb") as stream:
        np.savez(stream, tar=index.tar, offset=index.offset, size=index.size, **arrays)


class TarReader:
    """Reads members of an index; each process opens the tars for itself. Safe between threads."""

    def __init__(self, index: TarIndex) -> None:
        self._index = index
        self._open: dict[tuple[int, int], int] = {}

    def read(self, member: int) -> bytes:
        """The bytes of a member."""
        number = int(self._index.tar[member])
        key = (os.getpid(), number)
        if key not in self._open:
            self._open[key] = os.open(self._index.tars[number], os.O_RDONLY)
        return os.pread(self._open[key], int(self._index.size[member]), int(self._index.offset[member]))


def photo_key(name: str) -> str:
    """The form in which a table's name and a member's path agree: no suffix, `/` as `_` (as in MP16's tar)."""
    path = PurePosixPath(name)
    stem = path.with_suffix("") if path.suffix.lower() in PHOTO_SUFFIXES else path
    return str(stem).replace("/", "_")


def members_by_key(index: TarIndex) -> dict[str, int]:
    """Photos by the keys of their whole path and of their file name alone, where only one has it."""
    photos = [(row, name) for row, name in enumerate(index.names) if not name.endswith(".json")]
    by_name = _unique_keys((photo_key(PurePosixPath(name).name), row) for row, name in photos)
    return by_name | _unique_keys((photo_key(name), row) for row, name in photos)


def _unique_keys(keyed: Iterable[tuple[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, row in keyed:
        found[key] = -1 if key in found else row
    return {key: row for key, row in found.items() if row >= 0}


def photos_with_facts(index: TarIndex) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Each photo with what the `.json` beside it says, as text; with nothing where there is none, or no JSON object."""
    reader = TarReader(index)
    sidecars = {
        (int(index.tar[row]), name.removesuffix(".json")): row
        for row, name in enumerate(index.names)
        if name.endswith(".json")
    }
    for row, name in enumerate(index.names):
        if not name.endswith(".json"):
            sidecar = sidecars.get((int(index.tar[row]), str(PurePosixPath(name).with_suffix(""))))
            yield row, {} if sidecar is None else _facts(reader.read(sidecar))


def _facts(data: bytes) -> Mapping[str, str]:
    try:
        facts: Any = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(facts, dict):
        return {}
    return {str(key): "" if value is None else str(value) for key, value in facts.items()}
