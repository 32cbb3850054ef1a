"""Sources of training photos: a folder beside a table, or tar shards with a table or JSON sidecars.

Both are read the same way: row i's bytes, its position, photographer and text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from retrieval.photos.decoding import read_file
from retrieval.photos.tars import (
    TarIndex,
    TarReader,
    find_tars,
    index_tars,
    members_by_key,
    photo_key,
    photos_with_facts,
)
from retrieval.training.config import DataConfig
from retrieval.training.data.bad_samples import BadSample
from retrieval.training.data.table import (
    PhotoRow,
    PhotoTable,
    TableColumns,
    place_text,
    read_photo_table,
    read_position_deg,
)

MAX_BYTES = 100_000_000


class PhotoSource(Protocol):
    """n photos that can be read in any order.

    Attributes:
        table: their rows.
        disk_order: int64 (n,), rank of each on the disk, in reading order.
    """

    table: PhotoTable
    disk_order: NDArray[np.int64]

    def read(self, row: int) -> bytes:
        """The bytes of a photo; raises PhotoError or OSError where they cannot be read."""
        ...

    def describe(self, row: int) -> str:
        """Where a photo is stored or listed, for people."""
        ...


class FolderSource:
    """Files below a folder, named by the table."""

    def __init__(self, folder: Path, table: PhotoTable) -> None:
        self._folder, self.table = folder, table
        self.disk_order = np.arange(len(table.ids), dtype=np.int64)

    def read(self, row: int) -> bytes:
        """The bytes of a photo."""
        return read_file(self._folder / self.table.ids[row], MAX_BYTES)

    def describe(self, row: int) -> str:
        """The table's line."""
        return f"line {self.table.lines[row]}"


class ShardSource:
    """Members of tars."""

    def __init__(self, index: TarIndex, members: NDArray[np.int64], table: PhotoTable) -> None:
        self._index, self._members, self.table = index, members, table
        self._reader = TarReader(index)
        self.disk_order = np.argsort(np.argsort(members, kind="stable"), kind="stable").astype(np.int64)

    def read(self, row: int) -> bytes:
        """The bytes of a photo."""
        return self._reader.read(int(self._members[row]))

    def describe(self, row: int) -> str:
        """The tar and the member."""
        member = int(self._members[row])
        return f"{self._index.tars[int(self._index.tar[member])].name}:{self._index.names[member]}"


def open_source(data: DataConfig) -> tuple[PhotoSource, list[BadSample]]:
    """Open the configured collection; its photos, and the samples that cannot be used.

    Raises:
        UserError: no such folder, shard or table, or a damaged one.
    """
    if (data.photos is None) == (not data.shards):
        raise UserError("data: give either data.photos (a folder) or data.shards (tar files), not both or neither")
    if data.shards:
        index = index_tars(find_tars(data.shards), data.cache / "shards.npz")
        if data.table is None:
            rows, bad = _sidecar_table(index, data.columns)
            return ShardSource(index, np.array(rows.lines, dtype=np.int64), rows), bad
        return _shard_source(index, *read_photo_table(data.table, data.columns))
    if data.table is None or data.photos is None:
        raise UserError("data.table: a folder of photos needs a CSV that says where each was taken")
    if not data.photos.is_dir():
        raise UserError(f"data.photos: no folder at {data.photos}")
    return _folder_source(data.photos, *read_photo_table(data.table, data.columns))


def _folder_source(folder: Path, table: PhotoTable, bad: list[BadSample]) -> tuple[PhotoSource, list[BadSample]]:
    exists = np.array([(folder / name).is_file() for name in table.ids], dtype=np.bool_)
    missing = _missing(table, exists, f"no such photo in {folder}")
    return FolderSource(folder, table.take(np.flatnonzero(exists))), bad + missing


def _shard_source(index: TarIndex, table: PhotoTable, bad: list[BadSample]) -> tuple[PhotoSource, list[BadSample]]:
    member_of = members_by_key(index)
    members = np.array([member_of.get(photo_key(name), -1) for name in table.ids], dtype=np.int64)
    missing = _missing(table, members >= 0, "in none of the shards")
    return ShardSource(index, members[members >= 0], table.take(np.flatnonzero(members >= 0))), bad + missing


def _missing(table: PhotoTable, exists: NDArray[np.bool_], reason: str) -> list[BadSample]:
    rows = np.flatnonzero(~exists)
    return [BadSample(f"line {table.lines[row]}", table.ids[row], reason) for row in rows]


def _sidecar_table(index: TarIndex, columns: TableColumns) -> tuple[PhotoTable, list[BadSample]]:
    """A table from the `.json` beside each photo."""
    good: list[PhotoRow] = []
    bad: list[BadSample] = []
    for row, facts in photos_with_facts(index):
        name = index.names[row]
        reason, position = read_position_deg(facts.get(columns.lat, ""), facts.get(columns.lon, ""))
        if reason:
            bad.append(BadSample(index.tars[int(index.tar[row])].name, name, reason))
        else:
            good.append(PhotoRow(name, facts.get(columns.author, ""), position, place_text(facts, columns), row))
    return PhotoTable.of(good), bad
