"""Where the photos of an atlas come from: a table beside a folder, or a folder of photos with positions."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from core.errors import UserError
from geo.point import Point
from retrieval.photos.decoding import photo_paths


@dataclass(frozen=True)
class PhotoItem:
    """A photo for an atlas.

    Attributes:
        item_id: its name in the atlas, unique.
        path: the file.
        point: where it was taken; None: take it from the file's metadata, if `problem` is None too.
        author: the photographer, so that an evaluation can leave out the same one.
        problem: why it cannot be used, known before it is read.
    """

    item_id: str
    path: Path
    point: Point | None = None
    author: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class PhotoColumns:
    """Which columns of a table mean what; matched without regard to case. The author's may be missing."""

    file: str = "IMG_ID"
    lat: str = "LAT"
    lon: str = "LON"
    author: str = "AUTHOR"


def photos_from_table(table: Path, photos: Path, columns: PhotoColumns = PhotoColumns()) -> list[PhotoItem]:
    """The photos a CSV lists, with file names relative to the folder `photos`.

    A row without a valid position is kept with its problem, to be recorded as failed.

    Raises:
        UserError: a missing file, folder or column; a photo listed twice.
    """
    if not photos.is_dir():
        raise UserError(f"no folder of photos at {photos}: give the folder the file names in {table.name} refer to")
    rows = list(_rows(table, columns))
    items = [_table_item(row, photos, columns) for row in rows]
    _refuse_duplicates(items, table)
    return items


def photos_from_folder(photos: Path) -> list[PhotoItem]:
    """Every photo in a folder and below, by name; where it was taken is read from its metadata later.

    Raises:
        UserError: no such folder, or no photo in it.
    """
    if not photos.is_dir():
        raise UserError(f"no folder of photos at {photos}: check the path")
    return [PhotoItem(path.relative_to(photos).as_posix(), path) for path in photo_paths([photos])]


def _rows(table: Path, columns: PhotoColumns) -> Iterator[Mapping[str, str]]:
    """Rows with lower-case keys, after a check that the columns are there."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = [name.strip().lower() for name in reader.fieldnames or []]
            _check_columns(table, names, columns)
            reader.fieldnames = names
            yield from ({key: value or "" for key, value in row.items() if key} for row in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read the table {table} ({error}): give a CSV file in UTF-8") from error


def _check_columns(table: Path, names: list[str], columns: PhotoColumns) -> None:
    missing = [name for name in (columns.file, columns.lat, columns.lon) if name.lower() not in names]
    if missing:
        raise UserError(
            f"{table} has no column {', '.join(missing)}: it has {', '.join(names) or 'none'}; say which ones to use"
        )


def _table_item(row: Mapping[str, str], photos: Path, columns: PhotoColumns) -> PhotoItem:
    name, author = row[columns.file.lower()], row.get(columns.author.lower()) or None
    lat, lon = row[columns.lat.lower()], row[columns.lon.lower()]
    try:
        point = Point(lat=float(lat), lon=float(lon))
    except (ValueError, ValidationError):
        return PhotoItem(name, photos / name, None, author, f"no valid position in the table: {lat!r}, {lon!r}")
    return PhotoItem(name, photos / name, point, author)


def _refuse_duplicates(items: list[PhotoItem], table: Path) -> None:
    seen: set[str] = set()
    for item in items:
        if item.item_id in seen:
            raise UserError(f"{table} lists {item.item_id} twice: keep one row a photo")
        seen.add(item.item_id)
