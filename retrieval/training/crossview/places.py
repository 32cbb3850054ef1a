"""Places with photos from the ground and tiles from above: a table of ours, or a published folder.

The published ones are CVUSA, VIGOR and MMLandmarks (`retrieval.crossview.mmlandmarks`).
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from geo.sphere import Floats
from retrieval.atlas.sources import table_rows
from retrieval.crossview.mmlandmarks import first_sentence, read_landmarks
from retrieval.training.crossview.config import PlacesConfig
from retrieval.training.data.table import read_position_deg

VIGOR_CITIES = ("Chicago", "NewYork", "SanFrancisco", "Seattle")
COLUMNS = ("photo", "tile", "lat", "lon")
PARTS = ("train", "validation")
BUCKETS = 10_000


class PhotographedPlace(NamedTuple):
    """A place with its pictures; files are named relative to the collection's folder.

    Attributes:
        tiles: seen from above; one of them is drawn each time.
        text: what is written about it; empty where nothing is.
        part: `train` or `validation`.
    """

    name: str
    position_deg: tuple[float, float]
    photos: tuple[str, ...]
    tiles: tuple[str, ...]
    text: str = ""
    part: str = "train"


def read_places(config: PlacesConfig) -> list[PhotographedPlace]:
    """The places of a collection.

    Raises:
        UserError: a file is missing or not what its layout says, or nothing is left to train or to validate on.
    """
    readers = {"table": _of_table, "cvusa": _of_cvusa, "vigor": _of_vigor, "mmlandmarks": _of_mmlandmarks}
    places = list(readers[config.layout](config))
    parts = {place.part for place in places}
    if not {"train", "validation"} <= parts:
        raise UserError(
            f"data: {config.folder} has no places to {'validate' if 'train' in parts else 'train'} on:"
            " both parts are needed"
        )
    return places


def positions_deg(places: Sequence[PhotographedPlace]) -> Floats:
    """Positions (n, 2) of places."""
    return np.array([place.position_deg for place in places], dtype=np.float64).reshape(-1, 2)


def _of_table(config: PlacesConfig) -> Iterator[PhotographedPlace]:
    """Rows of one photo and one tile each; rows with the same `place` are one place."""
    path = config.folder / config.table

    def check(names: list[str]) -> None:
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise UserError(f"{path} has no column {', '.join(missing)}: it needs {', '.join(COLUMNS)}")

    grouped: dict[str, list[PhotographedPlace]] = {}
    for line, row in table_rows(path, check, "give a CSV file in UTF-8"):
        name = row.get("place") or row["tile"]
        position = _position_deg(row["lat"], row["lon"], path, line)
        part = row.get("part") or part_of(name, config.validation_share)
        if part not in PARTS:
            raise _problem(path, line, f"part {part!r} is none: write {' or '.join(PARTS)}, or leave it empty")
        if name in grouped and grouped[name][0].part != part:
            raise _problem(path, line, f"place {name} is in part {grouped[name][0].part} above and in {part} here")
        grouped.setdefault(name, []).append(
            PhotographedPlace(name, position, (row["photo"],), (row["tile"],), row.get("text", ""), part)
        )
    for name, rows in grouped.items():
        photos = tuple(dict.fromkeys(photo for row in rows for photo in row.photos if photo))
        tiles = tuple(dict.fromkeys(tile for row in rows for tile in row.tiles))
        if photos:
            yield PhotographedPlace(name, rows[0].position_deg, photos, tiles, rows[0].text, rows[0].part)


def _problem(path: Path, line: int, what: str) -> UserError:
    return UserError(f"{path} line {line}: {what}")


def _position_deg(lat_text: str, lon_text: str, path: Path, line: int) -> tuple[float, float]:
    reason, position = read_position_deg(lat_text, lon_text)
    if reason:
        raise _problem(path, line, reason)
    return position


def part_of(name: str, validation_share: float) -> str:
    """The part of a place by its name alone, so that it never changes sides."""
    return "validation" if zlib.crc32(name.encode()) % BUCKETS < validation_share * BUCKETS else "train"


def _of_cvusa(config: PlacesConfig) -> Iterator[PhotographedPlace]:
    """`splits/train-19zl.csv` and `val-19zl.csv` (tile, photo, …), positions in `split_locations/all.csv`.

    The number in a tile's name is its line there, which holds latitude and longitude of tile and photo.
    """
    locations = config.folder / "split_locations" / "all.csv"
    located = [row for _, row in _lines(locations, 4)]
    for part, split in (("train", "train-19zl.csv"), ("validation", "val-19zl.csv")):
        path = config.folder / "splits" / split
        for line, (tile, photo, *_) in _lines(path, 2):
            name = Path(tile).stem
            if not (name.isascii() and name.isdigit() and 1 <= int(name) <= len(located)):
                raise _problem(path, line, f"the name of {tile} is no line of {locations}, which has {len(located)}")
            _, _, lat, lon, *_ = located[int(name) - 1]
            position = _position_deg(lat, lon, locations, int(name))
            yield PhotographedPlace(name, position, (photo,), (tile,), part=part)


def _of_vigor(config: PlacesConfig) -> Iterator[PhotographedPlace]:
    """`splits/CITY/same_area_balanced_{train,test}.txt`: photo and tile, whose name is `satellite_LAT_LON.png`."""
    for city in config.cities or VIGOR_CITIES:
        for part, split in (("train", "train"), ("validation", "test")):
            path = config.folder / "splits" / city / f"same_area_balanced_{split}.txt"
            photos: dict[str, list[str]] = {}
            positions: dict[str, tuple[float, float]] = {}
            for line, (photo, tile, *_) in _lines(path, 2, " "):
                photos.setdefault(tile, []).append(f"ground/{city}/{photo}")
                lat, lon = [*tile.rsplit(".", 1)[0].split("_")[1:3], "", ""][:2]
                positions[tile] = _position_deg(lat, lon, path, line)
            for tile, own in photos.items():
                yield PhotographedPlace(tile, positions[tile], tuple(own), (f"satellite/{city}/{tile}",), part=part)


def _of_mmlandmarks(config: PlacesConfig) -> Iterator[PhotographedPlace]:
    """The landmarks of `train`; some are held out, as the authors hold out 1,024. `query` is never read.

    The text is the first sentence of what is written about a landmark; the first tile is the latest.
    """
    for landmark in read_landmarks(config.folder, "train", outdoor_only=config.outdoor_only):
        text = first_sentence(config.folder / landmark.text) if landmark.text else ""
        part = part_of(landmark.landmark_id, config.validation_share)
        yield PhotographedPlace(
            landmark.landmark_id, landmark.position_deg, landmark.photos, landmark.tiles, text, part
        )


def _lines(path: Path, least: int, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """The rows that are not empty, with their lines from 1; each has at least so many fields."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
            found = [(rows.line_num, row) for row in rows if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"data: cannot read {path} ({error}): is data.layout right?") from error
    short = next((line for line, row in found if len(row) < least), None)
    if short is not None:
        raise _problem(path, short, f"fewer than {least} fields: is data.layout right?")
    return found


def missing_files(folder: Path, places: Sequence[PhotographedPlace]) -> dict[str, str]:
    """Places whose pictures are not all there, with the first that is missing."""
    found = {}
    for place in places:
        gone = next((name for name in (*place.photos, *place.tiles) if not (folder / name).is_file()), None)
        if gone is not None:
            found[place.name] = gone
    return found


class PhotoGroups(NamedTuple):
    """What is trained on: photos of places, in groups that each make one query.

    Attributes:
        place: int64 (n,), of each group.
        photos: names of its photos, at most `photos` of them.
    """

    place: NDArray[np.int64]
    photos: list[tuple[str, ...]]

    @classmethod
    def of(cls, places: Sequence[PhotographedPlace], rows: Sequence[int], size: int) -> PhotoGroups:
        """The photos of some places in groups of at most `size`."""
        pairs = [
            (row, places[row].photos[start : start + size])
            for row in rows
            for start in range(0, len(places[row].photos), size)
        ]
        return cls(np.array([row for row, _ in pairs], dtype=np.int64), [photos for _, photos in pairs])
