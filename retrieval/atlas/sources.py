"""The photos of an atlas: those that a table lists, or all of a collection whose files say where they were taken."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

from pydantic import ValidationError

from core.errors import UserError
from core.redaction import redacted
from geo.point import Point
from retrieval.photos.collections import ListedPhoto, PhotoCollection, open_collection
from retrieval.photos.photo import PhotoError
from retrieval.photos.stored_files import StoredFile


@dataclass(frozen=True)
class PhotoItem:
    """A photo for an atlas.

    Attributes:
        item_id: its name in the atlas, unique.
        file: where its bytes are.
        point: where it was taken; None: take it from the file's metadata, if `problem` is None too.
        author: the photographer, so that an evaluation can leave out the same one.
        problem: why it cannot be used, known before it is read.
    """

    item_id: str
    file: StoredFile
    point: Point | None = None
    author: str | None = None
    problem: str | None = None

    @property
    def path(self) -> Path:
        """The file, of a photo in a folder; raises ValueError for one that is elsewhere."""
        if not isinstance(self.file, Path):
            raise ValueError(f"{self.item_id} is in no folder")
        return self.file


@dataclass(frozen=True)
class PhotoColumns:
    """Which columns of a table mean what; matched without regard to case. The author's may be missing."""

    file: str = "IMG_ID"
    lat: str = "LAT"
    lon: str = "LON"
    author: str = "AUTHOR"


def photos_from_table(table: Path, photos: str | Path, columns: PhotoColumns = PhotoColumns()) -> list[PhotoItem]:
    """The photos that a CSV or Parquet table lists by their names in a collection (`open_collection`).

    A row without a valid position is kept with its problem, to be recorded as failed.

    Raises:
        UserError: a missing file, folder or column; a photo listed twice; columns of coordinates that look swapped.
    """
    collection = open_collection(photos)
    rows = list(
        table_rows(table, partial(_check_columns, table, columns), "give a CSV file in UTF-8, or a Parquet file")
    )
    _refuse_swapped([(row[columns.lat.lower()], row[columns.lon.lower()]) for _, row in rows], table)
    items = [_table_item(row, collection, columns) for _, row in rows]
    refuse_repeated((item.item_id for item in items), table)
    return items


def photos_from_collection(photos: str | Path, columns: PhotoColumns = PhotoColumns()) -> list[PhotoItem]:
    """Every photo of a collection (`open_collection`), by name.

    Where the collection does not say where one was taken, that is read from the photo's metadata later.

    Raises:
        UserError: no such folder, no photo in it, or two of one name.
    """
    items = [_listed_item(listed, columns) for listed in open_collection(photos).photos()]
    if not items:
        raise UserError(f"no photos in {redacted(str(photos))}: check the path")
    refuse_repeated((item.item_id for item in items), redacted(str(photos)))
    return items


def table_rows(
    table: Path, check_columns: Callable[[list[str]], None], remedy: str
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Rows of a CSV or of a Parquet file (`*.parquet`) with their line numbers; names of columns are in lower case,
    and what is missing is empty.

    Args:
        check_columns: is given the names of the columns before the first row.
        remedy: what to do about a table that cannot be read.

    Raises:
        UserError: it cannot be read, or is none; and what `check_columns` raises.
    """
    if table.suffix.lower() == ".parquet":
        yield from _parquet_rows(table, check_columns, remedy)
        return
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=delimiter(file))
            reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or []]
            refuse_doubled_columns(reader.fieldnames, table)
            check_columns(list(reader.fieldnames))
            for row in reader:
                yield reader.line_num, {key: (value or "").strip() for key, value in row.items() if key}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read the table {table} ({error}): {remedy}") from error


def _parquet_rows(
    table: Path, check_columns: Callable[[list[str]], None], remedy: str
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Rows from 1 on; columns of bytes or of lists are not read."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise UserError(f"{table} is read by pyarrow: pip install 'geosleuth[ray]', or give a CSV") from error
    number = 0
    try:
        with pq.ParquetFile(table) as file:
            read = [f.name for f in file.schema_arrow if not (pa.types.is_nested(f.type) or pa.types.is_binary(f.type))]
            names = [name.strip().lower() for name in read]
            refuse_doubled_columns(names, table)
            check_columns(names)
            for batch in file.iter_batches(columns=read):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {key.strip().lower(): _as_text(value) for key, value in row.items()}
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"cannot read the table {table} ({error}): {remedy}") from error


def _as_text(value: object) -> str:
    return "" if value is None else str(value).strip()


def delimiter(file: TextIO) -> str:
    """What stands between the columns: of comma, semicolon and tab the most frequent in the header, left unread."""
    header = file.readline()
    file.seek(0)
    return max(",;\t", key=header.count)


def refuse_doubled_columns(names: Sequence[str], table: Path) -> None:
    """Refuse a table with two columns of one name: which of them is meant?

    Raises:
        UserError: it has.
    """
    for name, times in Counter(names).items():
        if name and times > 1:
            raise UserError(f"{table} has {times} columns {name}: rename or remove all but one")


def parse_position(lat: str, lon: str) -> Point | None:
    """The position of two texts in degrees; None where they are none."""
    try:
        return Point(lat=float(lat), lon=float(lon))
    except (ValueError, ValidationError):
        return None


def refuse_repeated(names: Iterable[str], table: str | Path) -> None:
    """Refuse a table, or a collection, that lists a photo twice.

    Raises:
        UserError: it does.
    """
    for name, times in Counter(names).items():
        if times > 1:
            raise UserError(f"{table} lists {name} twice: keep one row a photo")


def _check_columns(table: Path, columns: PhotoColumns, names: list[str]) -> None:
    missing = [name for name in (columns.file, columns.lat, columns.lon) if name.lower() not in names]
    if missing:
        raise UserError(
            f"{table} has no column {', '.join(missing)}: it has {', '.join(names) or 'none'}; say which ones to use"
        )


def _refuse_swapped(positions: Sequence[tuple[str, str]], table: Path) -> None:
    """Refuse a table in which rows are positions the other way round only, and no row is one this way round only."""
    ways = [(parse_position(lat, lon) is not None, parse_position(lon, lat) is not None) for lat, lon in positions]
    if (False, True) in ways and (True, False) not in ways:
        raise UserError(
            f"{table}: LAT and LON look swapped: {ways.count((False, True))} rows are positions the other way round"
            " only; exchange the names of the two columns"
        )


def _table_item(row: Mapping[str, str], photos: PhotoCollection, columns: PhotoColumns) -> PhotoItem:
    name, author = row[columns.file.lower()], row.get(columns.author.lower()) or None
    lat, lon = row[columns.lat.lower()], row[columns.lon.lower()]
    point = parse_position(lat, lon)
    problem = None if point else f"no valid position in the table: {lat!r}, {lon!r}"
    try:
        file = photos.find(name)
    except PhotoError as error:
        file, problem = Path(name), problem or str(error)
    return PhotoItem(name, file, point, author, problem)


def _listed_item(listed: ListedPhoto, columns: PhotoColumns) -> PhotoItem:
    facts = {name.lower(): value.strip() for name, value in listed.facts.items()}
    lat, lon = facts.get(columns.lat.lower()), facts.get(columns.lon.lower())
    author = facts.get(columns.author.lower()) or None
    if lat is None and lon is None:
        return PhotoItem(listed.name, listed.file, author=author)
    point = parse_position(lat or "", lon or "")
    problem = None if point else f"no valid position beside it: {lat!r}, {lon!r}"
    return PhotoItem(listed.name, listed.file, point, author, problem)
