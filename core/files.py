"""Files: replaced whole, locked against other processes, hashed, and read as a model."""

from __future__ import annotations

import codecs
import hashlib
import logging
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import filelock
from pydantic import BaseModel, ValidationError

from core.errors import UserError, first_problem

Model = TypeVar("Model", bound=BaseModel)

ANYBODY = 0o666
"""Mode of an ordinary new file; the process's umask takes away from it."""
OWNER_ONLY = 0o600
LOCK_POLL_S = 0.2
OWNER_ONLY_FOLDER = 0o700
_SQLITE_MARK = b"SQLite format 3\0"
_NAME_BYTES = 255
"""Longest name of a file on the usual file systems."""


def tighten(file: Path | int, mode: int) -> None:
    """Take from a file or folder of our own, or an open one, every permission beyond `mode`; devices stay as they are.

    What an earlier version made for everybody to read becomes its owner's only so.
    """
    status = os.stat(file)
    is_ours = os.name == "posix" and status.st_uid == os.geteuid()
    if is_ours and (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        found = stat.S_IMODE(status.st_mode)
        if found & ~mode:
            os.chmod(file, found & mode)


def open_private(file: Path, flags: int) -> int:
    """A descriptor of a file that only its owner may read, made if it is not there.

    Raises:
        OSError: it cannot be opened.
    """
    handle = os.open(file, flags | os.O_CREAT, OWNER_ONLY)
    try:
        tighten(handle, OWNER_ONLY)
    except BaseException:
        os.close(handle)
        raise
    return handle


def make_private(file: Path) -> None:
    """Make a file that only its owner may read; content that is there stays.

    Raises:
        OSError: it cannot be made.
    """
    os.close(open_private(file, os.O_WRONLY))


def make_private_database(file: Path) -> None:
    """Make a file that only its owner may read, for SQLite to open; one that is there and no database stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    handle = os.open(file, os.O_RDONLY | os.O_CREAT, OWNER_ONLY)
    try:
        if os.read(handle, len(_SQLITE_MARK)) not in (b"", _SQLITE_MARK):
            return
        tighten(handle, OWNER_ONLY)
    finally:
        os.close(handle)
    for beside in ("-wal", "-shm", "-journal"):  # SQLite's, which hold content too
        with suppress(FileNotFoundError):
            tighten(file.with_name(f"{file.name}{beside}"), OWNER_ONLY)


def make_private_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter; one that is there is tightened.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY_FOLDER)
    tighten(folder, OWNER_ONLY_FOLDER)


@contextmanager
def replacing(path: Path, mode: int = ANYBODY, *, many_writers: bool = False, sync: bool = True) -> Iterator[Path]:
    """Replace a file whole: a kill or an error leaves the old file or the new one, never half of one.

    Use as `with replacing(path) as part: save(part)`; `part` lies beside `path` and takes its place at the end.

    Args:
        path: the file; its folder must exist.
        mode: of a new file.
        many_writers: others may write the same file at the same time. Each then has a part of its own; without it
            a part that a kill left behind is overwritten by the next writer.
        sync: whether the content is on the disk itself before it takes its place, so that a power cut harms nothing;
            False for what can be had again.
    """
    own = f".{os.getpid()}-{threading.get_ident()}" if many_writers else ""
    ending = f"{own}.part"
    part = path.with_name(os.fsdecode(os.fsencode(path.name)[: _NAME_BYTES - len(ending)]) + ending)
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode))
        yield part
        if sync:
            with part.open("rb+") as stream:
                os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_atomic(
    path: Path,
    data: str | bytes | Iterable[bytes],
    mode: int = ANYBODY,
    *,
    many_writers: bool = False,
    sync: bool = True,
) -> None:
    """Replace a file's content in one step; see `replacing`. Text is written as UTF-8.

    Raises:
        OSError: it cannot be written; the old content is then still there.
    """
    pieces = [data.encode()] if isinstance(data, str) else [data] if isinstance(data, bytes) else data
    with replacing(path, mode, many_writers=many_writers, sync=sync) as part, part.open("wb") as stream:
        stream.writelines(pieces)


@contextmanager
def lock_file(lock: Path, in_use: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock that other processes respect and that ends with this process, however it ends.

    Args:
        lock: an empty file of the lock's own, such as `.NAME.lock` beside the data; removed at the end.
        in_use: the message for the user where another process holds it.
        wait: print that message, and wait until the other has ended.

    Raises:
        UserError: another process, or another part of this one, holds it.
        OSError: the file cannot be made.
    """
    held = filelock.FileLock(lock, timeout=0, mode=OWNER_ONLY, thread_local=False)
    try:
        held.acquire()
    except filelock.Timeout as error:
        if not wait:
            raise UserError(in_use) from error
        logging.getLogger("geosleuth.waiting").info(in_use)
        held.acquire(timeout=-1, poll_interval=LOCK_POLL_S)
    try:
        yield
    finally:
        # Removed while it is held: whoever opened it meanwhile sees that it has no name any more, and tries again.
        # Windows removes no open file; there the library does it.
        with suppress(OSError):
            lock.unlink()
        held.release()


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file in hex; read once a process and version of the file (1.7 GB takes about 2 seconds).

    Raises:
        OSError: it cannot be read.
    """
    status = path.stat()
    return _sha256(path.resolve(), status.st_size, status.st_mtime_ns)


def sha256_if_readable(path: Path) -> str | None:
    """SHA-256 of a file in hex; None where there is no such file or it cannot be read."""
    try:
        return sha256_of_file(path) if path.is_file() else None
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return None


def expanded_path(text: str | Path) -> Path:
    """A path that a person typed, with `~` and `~user` replaced by the home folder.

    Raises:
        UserError: no such user.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UserError(f"{text}: there is no such user's home folder; write the path without ~") from error


@lru_cache(maxsize=64)
def _sha256(path: Path, _size: int, _modified_ns: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_model(path: Path, kind: type[Model], called: str, remedy: str) -> Model:
    """A pydantic model from a JSON file that something else of this project wrote.

    Args:
        called: its name in messages, such as "calibration".
        remedy: what to do about a damaged one, such as "make it with `python -m evals.calibrate`".

    Raises:
        UserError: no such file, or something else in it.
    """
    try:
        return kind.model_validate_json(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    except OSError as error:
        raise UserError(f"cannot read the {called} {path} ({error.strerror}): check the path") from error
    except ValidationError as error:
        raise UserError(f"{path} is not a {called} ({first_problem(error)}): {remedy}") from error
