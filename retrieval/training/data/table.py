"""The table of a photo collection: read whole and checked before anything is trained.

A row that cannot be used is listed with its line and the reason. Columns that
look swapped stop the run at once.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.frozen import Frozen
from retrieval.atlas.sources import delimiter, refuse_doubled_columns
from retrieval.training.data.bad_samples import BadSample

SWAPPED_SHARE = 0.05
"""Where more rows than this would be valid the other way round only, the columns are swapped, not the rows."""


class TableColumns(Frozen):
    """Which columns of the table mean what; the names of MP16-Pro's are the defaults."""

    id: str = "IMG_ID"
    author: str = "AUTHOR"
    lat: str = "LAT"
    lon: str = "LON"
    city: str = "city"
    region: str = "state"
    country: str = "country"


class PhotoRow(NamedTuple):
    """One usable photo: name, photographer, latitude and longitude in degrees, text, line of its table."""

    name: str
    author: str
    position_deg: tuple[float, float]
    text: str
    line: int


class PhotoTable(NamedTuple):
    """n usable rows.

    Attributes:
        authors: their photographers, empty where unknown.
        positions_deg: float64 (n, 2), latitude first.
        texts: "city, region, country" as far as the table has them; empty where it has none.
        lines: of the file, the header being line 1.
    """

    ids: list[str]
    authors: list[str]
    positions_deg: NDArray[np.float64]
    texts: list[str]
    lines: list[int]

    @classmethod
    def of(cls, rows: Sequence[PhotoRow]) -> PhotoTable:
        """These rows as columns."""
        positions = np.array([row.position_deg for row in rows], dtype=np.float64).reshape(-1, 2)
        names, authors, texts = ([getattr(row, key) for row in rows] for key in ("name", "author", "text"))
        return cls(names, authors, positions, texts, [row.line for row in rows])

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> PhotoTable:
        """Some of the rows."""
        picked = [int(row) for row in rows]
        ids, authors, texts = ([column[row] for row in picked] for column in (self.ids, self.authors, self.texts))
        return PhotoTable(ids, authors, self.positions_deg[picked], texts, [self.lines[row] for row in picked])


def read_photo_table(path: Path, columns: TableColumns) -> tuple[PhotoTable, list[BadSample]]:
    """Read the usable rows of a CSV, and the others with their line and reason.

    Raises:
        UserError: no such file, a missing column, not CSV, or columns that look swapped.
    """
    good: list[PhotoRow] = []
    bad: list[BadSample] = []
    swapped: list[int] = []
    seen: set[str] = set()
    for line, row in _rows(path, columns):
        name = row[columns.id].strip()
        reason, position = read_position_deg(row[columns.lat], row[columns.lon])
        if reason.endswith("swapped?"):
            swapped.append(line)
        reason = reason or ("no photo name" if not name else "listed twice" if name in seen else "")
        if reason:
            bad.append(BadSample(f"{path.name} line {line}", name, reason))
            continue
        seen.add(name)
        author = sys.intern((row.get(columns.author) or "").strip())
        good.append(PhotoRow(name, author, position, place_text(row, columns), line))
    _refuse_swapped(path, columns, swapped, len(good) + len(bad))
    return PhotoTable.of(good), bad


def _rows(path: Path, columns: TableColumns) -> list[tuple[int, Mapping[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="", delimiter=delimiter(file))
            reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
            refuse_doubled_columns(reader.fieldnames, path)
            _check_columns(path, [name or "" for name in reader.fieldnames or []], columns)
            return [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"data.table: cannot read {path} ({error}): give a CSV file in UTF-8") from error


def _check_columns(path: Path, names: list[str], columns: TableColumns) -> None:
    for key in ("id", "author", "lat", "lon"):
        wanted = getattr(columns, key)
        if wanted not in names:
            raise UserError(
                f"{path} has no column {wanted}: it has {', '.join(names) or 'none'}; set data.columns.{key} to one"
            )


def read_position_deg(lat_text: str, lon_text: str) -> tuple[str, tuple[float, float]]:
    """Why two texts are no position (empty if they are one), and the position in degrees."""
    try:
        lat, lon = float(lat_text), float(lon_text)
    except ValueError:
        missing = not (lat_text.strip() and lon_text.strip())
        return ("no coordinates" if missing else f"not coordinates: {lat_text!r}, {lon_text!r}"), (0.0, 0.0)
    if not (math.isfinite(lat) and math.isfinite(lon)):
        return f"not finite: {lat_text}, {lon_text}", (lat, lon)
    if abs(lat) <= 90.0 and abs(lon) <= 180.0:
        return "", (lat, lon)
    if 90.0 < abs(lat) <= 180.0 and abs(lon) <= 90.0:
        return f"latitude {lat:g} out of range; swapped?", (lat, lon)
    return f"out of range: {lat:g}, {lon:g}", (lat, lon)


def place_text(row: Mapping[str, str], columns: TableColumns) -> str:
    """City, region and country, as far as a row has them."""
    names = ((row.get(column) or "").strip() for column in (columns.city, columns.region, columns.country))
    return sys.intern(", ".join(dict.fromkeys(name for name in names if name and name.lower() != "nan")))


def _refuse_swapped(path: Path, columns: TableColumns, swapped: list[int], rows: int) -> None:
    if len(swapped) > SWAPPED_SHARE * rows:
        lines = ", ".join(str(line) for line in swapped[:3])
        raise UserError(
            f"{path}: {columns.lat} and {columns.lon} look swapped in {len(swapped)} of {rows} rows (such as lines "
            f"{lines}): set data.columns.lat={columns.lon} data.columns.lon={columns.lat}, or mend the table"
        )
