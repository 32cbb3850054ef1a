"""Whether the files of a store are those that were built: sizes and CRC-32, compared before an engine maps them.

An engine that maps a damaged file panics, aborts or is killed by a signal, and takes the process with it. Only files
whose status changed since they were last compared are read again, so an opening costs one `stat` a file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from core.files import write_atomic
from core.frozen import Frozen
from retrieval.atlas.verify import store_checksum
from retrieval.stores.base import StoreDamagedError, StoreSettings
from retrieval.stores.qdrant_edge import LOG_FOLDER
from retrieval.stores.registry import StorePlace, open_store

_PIECE_BYTES = 1 << 20
_WORTH_REMEMBERING_BYTES = 32 << 20
"""The engine touches a few small files whenever it reads; comparing them again is cheaper than a write."""


class FileRecord(Frozen):
    """A file as it was built, and its status (modified ns, changed ns, inode) when it was last compared."""

    size_bytes: int
    crc32: int
    status: tuple[int, int, int]


_RECORDS = TypeAdapter(dict[str, FileRecord])


def records_file(store: Path) -> Path:
    """The list of a store folder's files, beside it."""
    return store.with_name(f"{store.name}.files.json")


def record_files(store: Path) -> None:
    """List the files of a closed store that is complete."""
    _write(store, {name: _record(path) for name, path in _files(store)})


def check_files(store: Path, settings: StoreSettings, place: StorePlace, checksum: str | None) -> None:
    """Compare a store's files with their list. Where there is none, the store is read in a process of its own first.

    Args:
        checksum: of the content, as in the manifest.

    Raises:
        StoreDamagedError: a file differs or is gone, or the engine cannot read the store.
    """
    try:
        listed = _RECORDS.validate_json(records_file(store).read_bytes())
    except (OSError, ValidationError):
        if read_elsewhere(settings, place) != checksum:
            raise damaged(store, "its content is not what was built") from None
        with suppress(OSError):  # read-only: it is read again next time
            record_files(store)
        return
    _compare(store, listed)


def damaged(store: Path, reason: str) -> StoreDamagedError:
    """The error for a store that cannot be used."""
    return StoreDamagedError(
        f"the vectors in {store} are damaged ({reason}): build the atlas again with --replace, or copy it again"
    )


def read_elsewhere(settings: StoreSettings, place: StorePlace, *, for_writing: bool = False) -> str:
    """The checksum of a store's content, read in a process of its own, which may die of it.

    Raises:
        StoreDamagedError: it did.
    """
    asked = json.dumps([sys.path, settings.model_dump(mode="json"), str(place.folder), *place[1:], for_writing])
    code = "import json, sys; a = json.loads(sys.argv[1]); sys.path[:] = a[0]"
    code += "; from retrieval.atlas.integrity import print_checksum; print_checksum(*a[1:])"
    command = [sys.executable, "-c", code, asked]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - this Python, with our own code
    if done.returncode:
        raise damaged(place.folder, "the engine cannot read them")
    return done.stdout.decode().split()[-1]


def print_checksum(settings: Mapping[str, object], folder: str, name: str, dim: int, for_writing: bool) -> None:
    """What the other process does."""
    parsed: StoreSettings = TypeAdapter(StoreSettings).validate_python(settings)
    with open_store(parsed, StorePlace(Path(folder), name, dim), read_only=not for_writing) as store:
        sys.stdout.write(f"\n{store_checksum(store)}\n")


def _compare(store: Path, listed: Mapping[str, FileRecord]) -> None:
    now, read_bytes = dict(listed), 0
    for name, record in listed.items():
        path = store / name
        try:
            if _status(path) == record.status and path.stat().st_size == record.size_bytes:
                continue
            now[name] = _record(path)
        except OSError as error:
            raise damaged(store, f"{name}: {error.strerror}") from error
        if (now[name].size_bytes, now[name].crc32) != (record.size_bytes, record.crc32):
            raise damaged(store, f"{name} has changed")
        read_bytes += record.size_bytes
    if read_bytes >= _WORTH_REMEMBERING_BYTES:
        with suppress(OSError):  # read-only: they are compared again next time
            _write(store, now)


def _write(store: Path, records: Mapping[str, FileRecord]) -> None:
    # Not brought to the disk: where a power cut takes the list, the store is read in another process once more.
    write_atomic(records_file(store), _RECORDS.dump_json(dict(records)), many_writers=True, sync=False)


def _files(store: Path) -> Iterator[tuple[str, Path]]:
    """Every file with its name in the store; readers do not use the engine's log."""
    for path in sorted(store.rglob("*")):
        name = path.relative_to(store)
        if path.is_file() and name.parts[0] != LOG_FOLDER:
            yield name.as_posix(), path


def _record(path: Path) -> FileRecord:
    status, crc, size_bytes = _status(path), 0, 0
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE_BYTES):
            crc, size_bytes = zlib.crc32(piece, crc), size_bytes + len(piece)
    return FileRecord(size_bytes=size_bytes, crc32=crc, status=status)


def _status(path: Path) -> tuple[int, int, int]:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino
