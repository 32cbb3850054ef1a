"""What FAISS does not keep: items in SQLite, original vectors in one flat file of float32 rows."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.json_text import parse_json
from geo.point import Point
from retrieval.stores.base import StoreDamagedError, StoredItem, Vectors, damaged_folder, folder_in_use

_TABLES = """
CREATE TABLE IF NOT EXISTS items(
    id INTEGER PRIMARY KEY, row INTEGER UNIQUE, lat REAL, lon REAL, item_id TEXT, extra TEXT);
CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value TEXT);
"""
_UPSERT = """
INSERT INTO items VALUES(?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET
row=excluded.row, lat=excluded.lat, lon=excluded.lon, item_id=excluded.item_id, extra=excluded.extra
"""


class FaissPayload:
    """Items and vectors of a folder, written by one process or read by any number.

    A vector's row is written before the transaction that names it, so that a kill leaves unnamed rows at the
    end of the file, which the next write reuses.
    """

    def __init__(self, folder: Path, dim: int, read_only: bool = False) -> None:
        self._folder, self._dim = folder, dim
        self._guard = threading.RLock()
        try:
            self._database = _connect(folder / "items.sqlite", read_only)
        except sqlite3.Error as error:
            raise damaged_folder(folder, error) from error
        if read_only:
            self._next_row()  # refused where a writer holds the file
        else:
            with self._reading():
                self._lock_and_create()
        vectors = folder / "vectors.f32"
        try:
            if not read_only:
                vectors.touch()
            self._file = vectors.open("rb" if read_only else "r+b")
        except OSError as error:
            self._database.close()
            raise damaged_folder(folder, error) from error
        self._check_length()

    def _lock_and_create(self) -> None:
        self._database.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._database.executescript(_TABLES)
        self._database.execute("BEGIN EXCLUSIVE")
        self._database.commit()

    def _check_length(self) -> None:
        needed = self._next_row() * self._dim * 4
        if os.fstat(self._file.fileno()).st_size < needed:
            self.close()
            raise StoreDamagedError(f"vectors are missing in {self._folder}: rebuild the atlas")

    def write(self, items: Sequence[StoredItem], vectors: Vectors) -> None:
        """Append vectors, then name their rows; an id already there moves to its new row."""
        with self._guard, self._database:
            start = self._next_row()
            self._file.seek(start * self._dim * 4)
            self._file.write(vectors.tobytes())
            self._file.flush()
            rows = [_record(item, start + offset) for offset, item in enumerate(items)]
            self._database.executemany(_UPSERT, rows)
            self._set_fact("indexed", "no")

    def positions(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Ids (n,), rows (n,) and positions (n, 2) in degrees of all items, by ascending id."""
        with self._reading() as database:
            found = database.execute("SELECT id, row, lat, lon FROM items ORDER BY id").fetchall()
            table = np.array(found, dtype=np.float64).reshape(-1, 4)
            if not np.isfinite(table).all() or (table[:, :2] < 0).any():
                raise ValueError("an item without number, row or position")
        return table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:]

    def items(self, ids: Iterable[int]) -> list[StoredItem]:
        """The items of these ids, in their order."""
        query = "SELECT id, lat, lon, item_id, extra FROM items WHERE id=?"
        with self._reading() as database:
            return [_item(*database.execute(query, (int(id_),)).fetchone()) for id_ in ids]

    def ids_with(self, field: str, values: Collection[str]) -> set[int]:
        """Ids of the items whose field has one of the values."""
        column = "item_id" if field == "item_id" else "json_extract(extra, ?)"
        path = [] if field == "item_id" else [f'$."{field}"']
        marks = ",".join("?" * len(values))
        query = f"SELECT id FROM items WHERE {column} IN ({marks})"  # noqa: S608 - only our own column names and marks
        with self._reading() as database:
            return {int(id_) for (id_,) in database.execute(query, [*path, *values])}

    def vectors(self) -> Vectors:
        """All rows of the file, mapped read-only, shape (rows, dim)."""
        rows = self._next_row()
        if not rows:
            return np.zeros((0, self._dim), dtype=np.float32)
        return np.memmap(self._folder / "vectors.f32", dtype=np.float32, mode="r", shape=(rows, self._dim))

    def is_indexed(self) -> bool:
        """Whether nothing was written since the index was built."""
        with self._reading() as database:
            found = database.execute("SELECT value FROM facts WHERE name='indexed'").fetchone()
        return bool(found == ("yes",))

    def mark_indexed(self) -> None:
        """Say that the index holds everything."""
        with self._guard, self._database:
            self._set_fact("indexed", "yes")

    def flush(self) -> None:
        """Force the vectors to the disk; SQLite has done so for the items."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Release the folder."""
        self._file.close()
        self._database.close()

    def _next_row(self) -> int:
        with self._reading() as database:
            (last,) = database.execute("SELECT max(row) FROM items").fetchone()
            return 0 if last is None else int(last) + 1

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """The database, one thread at a time.

        Raises:
            StoreDamagedError: what it holds is not what was written.
            StoreLockedError: another process writes it.
        """
        try:
            with self._guard:
                yield self._database
        except sqlite3.OperationalError as error:
            is_locked = "locked" in str(error)
            raise (folder_in_use(self._folder) if is_locked else damaged_folder(self._folder, error)) from error
        except (sqlite3.DatabaseError, OverflowError, TypeError, ValueError) as error:
            raise damaged_folder(self._folder, error) from error

    def _set_fact(self, name: str, value: str) -> None:
        self._database.execute("INSERT OR REPLACE INTO facts VALUES(?, ?)", (name, value))


def _record(item: StoredItem, row: int) -> tuple[int, int, float, float, str, str]:
    return item.id, row, item.point.lat, item.point.lon, item.item_id, json.dumps(dict(item.extra))


def _item(id_: int, lat: float, lon: float, item_id: str, extra: str) -> StoredItem:
    return StoredItem(id_, Point(lat=lat, lon=lon), item_id, parse_json(extra))


def _connect(file: Path, read_only: bool) -> sqlite3.Connection:
    uri = f"{file.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    return sqlite3.connect(uri, uri=True, timeout=0.0, check_same_thread=False)
