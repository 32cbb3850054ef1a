"""Collections of photos, each with its names and where they are: a folder, tars, or an address that begins many.

`open_collection` makes one of what a user names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from core.errors import UserError
from core.redaction import redacted
from retrieval.photos.decoding import PHOTO_SUFFIXES, PhotoError, photo_paths, printable
from retrieval.photos.stored_files import RemoteFile, StoredFile, TarMember, is_address, names_below
from retrieval.photos.tars import TarIndex, find_tars, index_tars, members_by_key, photo_key, photos_with_facts

_TAR = re.compile(r"\.(tar(\.\w+)?|tgz)$", re.IGNORECASE)
"""Also compressed ones, which are refused with the reason."""


class ListedPhoto(NamedTuple):
    """A photo of a collection, with what the collection says of it (by the names of its facts, such as `LAT`)."""

    name: str
    file: StoredFile
    facts: Mapping[str, str]


class PhotoCollection(Protocol):
    """Photos that can be listed and found by name."""

    def find(self, name: str) -> StoredFile:
        """Where a photo is that a table names; raises PhotoError if it can be none of this collection."""
        ...

    def photos(self) -> Iterator[ListedPhoto]:
        """All photos, by name; raises UserError where they cannot be listed."""
        ...


def open_collection(named: str | Path) -> PhotoCollection:
    """The collection that a user names: a folder, a tar or a pattern of tars (`shards/*.tar`), or an address.

    Raises:
        UserError: no such folder, or a tar that is missing, compressed or cut off.
    """
    text = str(named)
    if is_address(text):
        return AddressCollection(text)
    if _TAR.search(text) and not Path(text).is_dir():
        return TarCollection(index_tars(find_tars([text])))
    folder = Path(text)
    if not folder.is_dir():
        raise UserError(f"no folder of photos at {text}: check the path")
    return FolderCollection(folder)


class FolderCollection:
    """Files in a folder and below."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str) -> StoredFile:
        """The file of a name, whether it is there or not; raises PhotoError for an address."""
        if is_address(name):
            raise PhotoError(f"{_shown(name)}: is an address: name what it begins with instead of a folder")
        return self._folder / name

    def photos(self) -> Iterator[ListedPhoto]:
        """Every visible photo."""
        for path in photo_paths([self._folder]):
            yield ListedPhoto(path.relative_to(self._folder).as_posix(), path, {})


class TarCollection:
    """Members of uncompressed tars, each with what the `.json` beside it says (WebDataset's layout)."""

    def __init__(self, index: TarIndex) -> None:
        self._index = index

    @cached_property
    def _by_key(self) -> Mapping[str, int]:
        return members_by_key(self._index)

    def find(self, name: str) -> StoredFile:
        """The member of a name, with or without its folder or suffix; raises PhotoError without one, or with many."""
        row = self._by_key.get(photo_key(name))
        if row is None:
            raise PhotoError(f"{printable(name)}: is in none of the tars, or in several places")
        return self._member(row)

    def photos(self) -> Iterator[ListedPhoto]:
        """Every photo; of several tars, with the tar's name before its own."""
        for row, facts in photos_with_facts(self._index):
            member = self._member(row)
            name = member.name if len(self._index.tars) == 1 else f"{member.tar.name}:{member.name}"
            yield ListedPhoto(name, member, facts)

    def _member(self, row: int) -> TarMember:
        index = self._index
        tar = index.tars[int(index.tar[row])]
        return TarMember(tar, index.names[row], int(index.offset[row]), int(index.size[row]))


class AddressCollection:
    """Files whose addresses begin with one that the user named; a scheme alone (`https://`) means any of its hosts."""

    def __init__(self, address: str) -> None:
        self._base = address if address.endswith("://") else f"{address.rstrip('/')}/"

    def find(self, name: str) -> StoredFile:
        """The address of a name: joined to the collection's, or a whole one that begins with it.

        Raises:
            PhotoError: it leads elsewhere.
        """
        address = name if is_address(name) else f"{self._base}{name.lstrip('/')}"
        leads_up = ".." in PurePosixPath(address.partition("://")[2]).parts
        if not address.startswith(self._base) or leads_up or (self._base.endswith("://") and not is_address(name)):
            raise PhotoError(f"{_shown(name)}: does not begin with {_shown(self._base)}")
        return RemoteFile(address)

    def photos(self) -> Iterator[ListedPhoto]:
        """Every photo below the address.

        Raises:
            UserError: it cannot be listed; web servers give no lists.
        """
        for name in names_below(self._base):
            if PurePosixPath(name).suffix.lower() in PHOTO_SUFFIXES:
                yield ListedPhoto(name, RemoteFile(f"{self._base}{name}"), {})


def _shown(text: str) -> str:
    return printable(redacted(text))
