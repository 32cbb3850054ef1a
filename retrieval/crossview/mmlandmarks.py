"""MMLandmarks as it is published: landmarks of the USA with photos, tiles from above, positions and texts.

Kristoffersen et al., CVPR 2026, arXiv 2512.17492. The layout is that of the data set's README
(github.com/Oshkr/mmlandmarks at 25c3ba9) and of what its authors' code reads (github.com/Oshkr/mml-codebase at ff4910f,
`mmlandmarks/data/`); PART is `train` or `query`:

    PART/mml_PART.csv                                   landmark_id, CommonsCategory, lat, lon
    PART/mml_PART_ground.csv, mml_PART_satellite.csv    landmark_id, images: ids, separated by spaces
    train/mml_train_ground_subset.csv                   the same without the photos from indoors
    PART/mml_PART_text.csv                              landmark_id, json: one id
    index/mml_index_satellite.csv                       images: one id, lat, lon, year; tiles of no landmark
    PART/ground/a/b/c/ID.jpg, satellite/….png, text/….json    a, b, c: the first three characters of the id

Of a landmark's tiles the last one listed is the latest (`last_sat_only` of its `train_dataset.py`). A text is a JSON
object of sections; the authors take the first sentence of the first one. `query` is the test set: training reads
`train` alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from core.errors import UserError
from core.json_text import parse_json
from retrieval.atlas.sources import parse_position, table_rows

ENDINGS = {"ground": ".jpg", "satellite": ".png", "text": ".json"}
_OTHERS = (("satellite", "images"), ("text", "json"))
_ID = re.compile(r"[0-9A-Za-z_]{4,64}", re.ASCII)
_FETCH = "fetch the tables again from github.com/Oshkr/mmlandmarks"


class Landmark(NamedTuple):
    """A landmark; files are named relative to the collection's folder.

    Attributes:
        tiles: the latest first.
        text: name of the file that holds it; empty where none is listed.
    """

    landmark_id: str
    position_deg: tuple[float, float]
    photos: tuple[str, ...]
    tiles: tuple[str, ...]
    text: str


class IndexTile(NamedTuple):
    """A tile from above of no landmark, with the position of its centre in degrees."""

    name: str
    position_deg: tuple[float, float]


def read_landmarks(folder: Path, part: str, *, outdoor_only: bool = False) -> list[Landmark]:
    """The landmarks of a part, in the order of its table; without photos (of the outdoor ones) they are left out.

    Args:
        folder: holds `train`, `query` and `index`.
        part: `train` or `query`.
        outdoor_only: of `train`: photos from outdoors alone.

    Raises:
        UserError: a table is missing or damaged, or a landmark has no tile or stands in one table alone.
    """
    tables = folder / part
    positions = dict(_positions(tables / f"mml_{part}.csv", "landmark_id"))
    photos = _listed(tables / f"mml_{part}_ground{'_subset' if outdoor_only else ''}.csv", "images")
    tiles, texts = (_listed(tables / f"mml_{part}_{view}.csv", column) for view, column in _OTHERS)
    strangers = sorted((photos.keys() | tiles.keys()) - positions.keys()) or sorted(photos.keys() - tiles.keys())
    if strangers:
        raise UserError(f"{tables}: landmark {strangers[0]!r} has no position or no tile: {_FETCH}")
    return [
        Landmark(
            landmark,
            at,
            tuple(_file(part, "ground", each) for each in photos[landmark]),
            tuple(_file(part, "satellite", each) for each in reversed(tiles[landmark])),
            next((_file(part, "text", each) for each in texts.get(landmark, ())), ""),
        )
        for landmark, at in positions.items()
        if photos.get(landmark)
    ]


def read_index_tiles(folder: Path) -> list[IndexTile]:
    """The tiles that the queries' own are to be told from.

    Raises:
        UserError: the table is missing or damaged.
    """
    found = _positions(folder / "index" / "mml_index_satellite.csv", "images", _check_id)
    return [IndexTile(_file("index", "satellite", each), at) for each, at in found]


def first_sentence(path: Path) -> str:
    """The first sentence of a landmark's text; empty where the file is missing or is no such text."""
    try:
        sections = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return ""
    first = next(iter(sections.values()), "") if isinstance(sections, dict) else ""
    return first.strip().split("\n")[0].split(". ")[0].strip() if isinstance(first, str) else ""


def _file(part: str, view: str, picture: str) -> str:
    return "/".join([part, view, *picture[:3], picture + ENDINGS[view]])


def _positions(
    table: Path, key: str, check: Callable[[str, Path, int], str] | None = None
) -> Iterator[tuple[str, tuple[float, float]]]:
    """Positions in degrees by the column `key`, each value once."""
    seen = set()
    for line, row in _rows(table, (key, "lat", "lon")):
        name, point = row[key], parse_position(row["lat"], row["lon"])
        if point is None:
            raise UserError(f"{table} line {line}: {row['lat']!r}, {row['lon']!r} is no position: {_FETCH}")
        if name in seen:
            raise UserError(f"{table} line {line}: {name!r} is listed twice: {_FETCH}")
        seen.add(name)
        yield (check(name, table, line) if check else name), (point.lat, point.lon)


def _listed(table: Path, column: str) -> dict[str, list[str]]:
    """The ids of each landmark."""
    return {
        row["landmark_id"]: [_check_id(each, table, line) for each in row[column].split()]
        for line, row in _rows(table, ("landmark_id", column))
    }


def _check_id(picture: str, table: Path, line: int) -> str:
    """An id, which becomes part of a path."""
    if not _ID.fullmatch(picture):
        raise UserError(f"{table} line {line}: {picture!r} is no id of a file: {_FETCH}")
    return picture


def _rows(table: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, Mapping[str, str]]]:
    def check(names: list[str]) -> None:
        lacking = [name for name in needed if name not in names]
        if lacking:
            raise UserError(f"{table} has no column {', '.join(lacking)}: {_FETCH}")

    return table_rows(table, check, _FETCH)
