"""Photos that a client gives: bytes, a path or a `file:` resource inside the folders that may be read, nothing else."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import ConfigDict, Field, model_validator

from apps.output.formatting import printable
from apps.service.errors import NotFoundError, TooLargeError, UnusableError
from apps.service.limits import ServiceLimits
from core.errors import UserError
from retrieval.photos.photo import PhotoError, photo_paths
from tools.base import Arguments

MAX_PATH = 4_096
_NAME_CHARACTERS = 120


class GivenPhoto(Arguments):
    """A photo: `path`, `uri`, or `blob`. An MCP resource's contents (`uri`, `mimeType`, `blob`) are one as they are."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    path: str | None = Field(
        None, min_length=1, max_length=MAX_PATH, description="of a file inside a folder that the server may read"
    )
    uri: str | None = Field(
        None, min_length=1, max_length=MAX_PATH, description="of a resource of this server; beside a blob: a label"
    )
    blob: str | None = Field(None, min_length=1, description="base64 of the file's bytes")
    mime_type: str | None = Field(
        None, alias="mimeType", max_length=100, description="not used: the content says what the file is"
    )
    meta: dict[str, Any] | None = Field(None, alias="_meta", description="not used")

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in ("path", "uri", "blob") if getattr(self, name) is not None]
        if given not in (["path"], ["uri"], ["blob"], ["uri", "blob"]):
            raise ValueError("give one of path, uri or blob")
        return self


@dataclass(frozen=True)
class PhotoFolders:
    """Folders whose photos may be read, links resolved; without any, no path is.

    Files are opened from the folder down, one part of the path at a time and through no link, so that a link put in
    place between the check and the opening leads nowhere.
    """

    roots: tuple[Path, ...] = ()

    @classmethod
    def of(cls, folders: Iterable[Path]) -> Self:
        """The folders, with their links resolved.

        Raises:
            UserError: no such folder, or a system that cannot open files from a folder down.
        """
        roots = []
        for folder in folders:
            if os.open not in os.supports_dir_fd:
                raise UserError("--root needs a system that opens files relative to a folder; send photos as blobs")
            if not folder.is_dir():
                raise UserError(f"--root {printable(str(folder))}: no such folder; give one that holds photos")
            roots.append(folder.resolve())
        return cls(tuple(dict.fromkeys(roots)))

    def photos(self) -> list[Path]:
        """Photos in the folders and below, by their names alone; hidden ones, and links out of them, are left out."""
        found: list[Path] = []
        for root in self.roots:
            try:
                found += photo_paths([root])
            except PhotoError:
                continue  # no photos here
        return [path for path in found if self._inside(str(path)) is not None]

    def read(self, path: str, max_bytes: int) -> bytes:
        """The bytes of a file inside the folders.

        Raises:
            NotFoundError: no such file there; one that is elsewhere is told in the same words as one that is nowhere.
            TooLargeError: more bytes than allowed.
        """
        found = self._inside(path)
        if found is None:
            raise self._not_found(path)
        root, inner = found
        try:
            descriptor = _open_below(root, inner.parts)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # `fdopen` closes no folder that it refuses
                os.close(descriptor)
                raise self._not_found(path)
            with os.fdopen(descriptor, "rb") as stream:
                data = stream.read(max_bytes + 1)
        except OSError as error:
            raise self._not_found(path) from error
        if len(data) > max_bytes:
            raise TooLargeError(f"{_shown(path)}: larger than {max_bytes / 1e6:g} MB; scale it down")
        return data

    def _inside(self, path: str) -> tuple[Path, Path] | None:
        """The folder that a path lies in, and the rest of the path, links resolved."""
        for root in self.roots:
            try:
                resolved = (root / path).resolve(strict=True)
            except (OSError, ValueError, RuntimeError):  # nothing there, a null byte, links in a circle
                continue
            if resolved != root and resolved.is_relative_to(root):
                return root, resolved.relative_to(root)
        return None

    def _not_found(self, path: str) -> NotFoundError:
        if not self.roots:
            return NotFoundError("this server reads no files: send the photo as blob, or start it with --root FOLDER")
        folders = ", ".join(map(str, self.roots))
        return NotFoundError(f"{_shown(path)}: no such photo in {folders}; give a path in there, or send a blob")


def photo_bytes(source: GivenPhoto, folders: PhotoFolders, limits: ServiceLimits) -> tuple[bytes, str]:
    """The bytes of a photo that a client gave, and a name for people.

    Raises:
        ServiceError: no such photo, too large, or not base64.
    """
    if source.blob is not None:
        return _decoded(source.blob, limits.photo_bytes), _file_name(source.uri or "photo")
    path = source.path if source.path is not None else _path_of(source.uri or "")
    return folders.read(path, limits.photo_bytes), _file_name(path)


def _decoded(blob: str, max_bytes: int) -> bytes:
    if len(blob) > base64_characters(max_bytes):
        raise TooLargeError(f"the photo is larger than {max_bytes / 1e6:g} MB; scale it down")
    try:
        return base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnusableError("blob is not base64 of a file's bytes: no line breaks, no `data:` in front") from error


def base64_characters(count: int) -> int:
    """Characters of base64 for so many bytes.

    >>> base64_characters(4)
    8
    """
    return (count + 2) // 3 * 4


def _path_of(uri: str) -> str:
    """The path that a `file:` URI of this machine names.

    Raises:
        NotFoundError: another scheme, or another machine: nothing is fetched.
    """
    try:
        parts = urlsplit(uri)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise NotFoundError(f"{_shown(uri)}: no resource of this server; list its resources, or send the photo as blob")
    return unquote(parts.path)


def _open_below(root: Path, parts: tuple[str, ...]) -> int:
    """A descriptor of a file below a folder, through no link; raises OSError. A pipe does not block."""
    folder_flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    descriptor = os.open(root, folder_flags)
    for part, flags in [*((part, folder_flags) for part in parts[:-1]), (parts[-1], _FILE_FLAGS)]:
        try:
            inner = os.open(part, flags, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


_FILE_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def _file_name(path: str) -> str:
    return unquote(path.replace("\\", "/").rpartition("/")[2]) or "photo"


def _shown(path: str) -> str:
    return printable(path, _NAME_CHARACTERS)
