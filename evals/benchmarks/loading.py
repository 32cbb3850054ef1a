"""Reading a benchmark from disk: its tables, its photos, and whether all of it is there."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from core.errors import UserError
from evals.benchmarks.registry import Benchmark, Layout
from geo.point import Point
from retrieval.atlas.sources import parse_position, refuse_repeated, table_rows
from retrieval.photos.decoding import PHOTO_SUFFIXES

SCENES = {"0": "indoor", "1": "natural", "2": "urban"}
"""The three scene groups of the Places365 labels that the usual tables carry in `S3_Label`."""

_FLICKR_USER = re.compile(r"_(\d+@N\d+)\.\w+$")
_LANDMARK_PHOTO = re.compile(r"\w+")
_SHOWN = 3
LANDMARK = "landmark"
"""What photos of one place share in a benchmark of landmarks."""


@dataclass(frozen=True)
class Sample:
    """A photo of a benchmark.

    Attributes:
        photo: its id, as the table has it.
        path: of its file; None: the benchmark has no photos.
        author: the photographer, if known.
        strata: other facts of the table that scores can be split by.
        place: of what place it is, in the column that was asked for; None: the table does not say.
        together: photos of one place that are one query, this one first; empty: it is a query alone.
    """

    photo: str
    path: Path | None
    truth: Point
    author: str | None
    strata: Mapping[str, str | float] = field(default_factory=dict)
    place: str | None = None
    together: tuple[Sample, ...] = ()

    @property
    def photos(self) -> tuple[Sample, ...]:
        """Every photo of the query."""
        return self.together or (self,)

    @property
    def photographer(self) -> str:
        """The author; where none is known, the photo's own id."""
        return self.author or self.photo


@dataclass(frozen=True)
class BenchmarkData:
    """What is on disk of a benchmark.

    Attributes:
        folder: its folder, or the table of a benchmark without photos.
        samples: photos that are there, in the table's order; all of a benchmark without photos.
        missing: ids the table lists whose files are not there.
        expected: photos of the whole set.
    """

    benchmark: Benchmark
    folder: Path
    samples: tuple[Sample, ...]
    missing: tuple[str, ...]
    expected: int

    @property
    def is_complete(self) -> bool:
        """Whether every photo of the benchmark is here."""
        return len(self.samples) == self.expected and not self.missing

    def shortfall(self) -> str:
        """What is not there, in words."""
        text = f"{len(self.samples)} of {self.expected} photos are in {self.folder}"
        listed = len(self.samples) + len(self.missing)
        if listed != self.expected:
            text += f"; the table lists {listed}"
        if self.missing:
            more = ", …" if len(self.missing) > _SHOWN else ""
            text += f"; missing are {', '.join(self.missing[:_SHOWN])}{more}"
        return text


def load_benchmark(
    benchmark: Benchmark, folder: Path, *, swap_lat_lon: bool = False, place_column: str | None = None
) -> BenchmarkData:
    """What is on disk of a benchmark.

    Args:
        folder: the benchmark's folder; of a benchmark without photos the table itself.
        swap_lat_lon: the table's headers LAT and LON are exchanged, as in an early release of IM2GPS's table.
        place_column: says of what place each photo is; None: nobody asks.

    Raises:
        UserError: no folder, no table, or a table that cannot be used; the message names the row, and the
            remedy where the headers of the coordinates look exchanged.
    """
    if place_column and not benchmark.has_photos:
        raise UserError(f"the benchmark {benchmark.name} has no photos that could be shown together")
    if not benchmark.has_photos:
        return _without_photos(benchmark, folder, swap_lat_lon)
    if not folder.is_dir():
        raise UserError(f"no folder {folder}: fetch it with `python -m evals.fetch {benchmark.name}`, or give --data")
    read = _landmarks if benchmark.layout is Layout.LANDMARKS else _table
    listed = read(benchmark, folder, swap_lat_lon, place_column)
    return BenchmarkData(
        benchmark=benchmark,
        folder=folder,
        samples=tuple(sample for sample in listed if _is_here(sample)),
        missing=tuple(sample.photo for sample in listed if not _is_here(sample)),
        expected=len(listed) if benchmark.expected is None else benchmark.expected,
    )


def _is_here(sample: Sample) -> bool:
    # Not Path.is_file: it raises where a name is too long to be one.
    return sample.path is not None and os.path.isfile(sample.path)


def _without_photos(benchmark: Benchmark, table: Path, swap_lat_lon: bool) -> BenchmarkData:
    """Every row of a table as a photo that is known by its name alone."""
    if not table.is_file():
        raise UserError(f"no table {table}: name a CSV with IMG_ID, LAT, LON (and AUTHOR), as in --data TRUTH.csv")
    rows = _located_rows(table, "img_id", swap_lat_lon)
    samples = tuple(_sample(row, number, truth, table, None) for number, row, truth in rows)
    refuse_repeated((sample.photo for sample in samples), table)
    return BenchmarkData(benchmark, table, samples, missing=(), expected=len(samples))


def _table(benchmark: Benchmark, folder: Path, swap_lat_lon: bool, place_column: str | None) -> list[Sample]:
    table = _only_table(benchmark, folder)
    photos = _photo_folder(benchmark, folder)
    find = _Finder(photos)
    rows = _located_rows(table, "img_id", swap_lat_lon)
    column = place_column.lower() if place_column else None
    if column and any(column not in row for _, row, _ in rows):
        raise UserError(f"{table} has no column {place_column} that says of what place a photo is")
    samples = [_sample(row, number, truth, table, find) for number, row, truth in rows]
    if column:
        samples = [
            replace(sample, place=row[column].strip() or None)
            for sample, (_, row, _) in zip(samples, rows, strict=True)
        ]
    refuse_repeated((sample.photo for sample in samples), table)
    return samples


class _LocatedRow(NamedTuple):
    number: int
    row: Mapping[str, str]
    truth: Point


def _located_rows(table: Path, id_column: str, swap_lat_lon: bool) -> list[_LocatedRow]:
    """Rows with their line numbers and positions."""
    rows = list(_rows(table, (id_column, "lat", "lon")))
    lat, lon = ("lon", "lat") if swap_lat_lon else ("lat", "lon")
    found = [(number, row, parse_position(row[lat], row[lon])) for number, row in rows]
    invalid = [(number, row) for number, row, truth in found if truth is None]
    if invalid:
        number, row = invalid[0]
        where = f"{table}, row {number} ({row[id_column]}): {row[lat]!r}, {row[lon]!r} is no position"
        if all(parse_position(row[lon], row[lat]) for _, row in rows):
            option = f"{'without' if swap_lat_lon else 'with'} --swap-lat-lon"
            raise UserError(
                f"LAT and LON look swapped: {where}, nor are {len(invalid) - 1} other rows, while all {len(rows)} rows"
                f" are the other way round; run again {option}"
            )
        raise UserError(f"{where}: mend the row, or remove it")
    return [_LocatedRow(number, row, truth) for number, row, truth in found if truth is not None]


def _only_table(benchmark: Benchmark, folder: Path) -> Path:
    """The table the registry names, or the only CSV there is."""
    named = [folder / source.file for source in benchmark.files if source.file.endswith(".csv")]
    there = [path for path in named if path.is_file()] or sorted(folder.glob("*.csv"))
    if len(there) != 1:
        found = ", ".join(path.name for path in there) or "none"
        raise UserError(f"{folder} needs one CSV with IMG_ID, LAT, LON; it has {found}")
    return there[0]


def _photo_folder(benchmark: Benchmark, folder: Path) -> Path:
    for name in benchmark.photos:
        if (folder / name).is_dir():
            return folder / name
    raise UserError(f"{folder} has no folder {' or '.join(benchmark.photos)} with the photos: put them there")


class _Finder:
    """The file of an id: of that name below the folder, or the only file whose name ends in it."""

    def __init__(self, photos: Path) -> None:
        self._photos = photos
        self._by_suffix: dict[str, list[Path]] | None = None

    def __call__(self, photo: str) -> Path:
        plain = self._photos / photo
        if os.path.isfile(plain):
            return plain
        found = self._ending().get(photo, [])
        return found[0] if len(found) == 1 else plain

    def _ending(self) -> dict[str, list[Path]]:
        """Files by every ending of their names that follows an underscore."""
        if self._by_suffix is None:
            self._by_suffix = {}
            for path in sorted(self._photos.rglob("*")):
                if path.suffix.lower() in PHOTO_SUFFIXES:
                    parts = path.name.split("_")
                    for start in range(len(parts)):
                        self._by_suffix.setdefault("_".join(parts[start:]), []).append(path)
        return self._by_suffix


def _sample(row: Mapping[str, str], number: int, truth: Point, table: Path, find: _Finder | None) -> Sample:
    photo = row["img_id"]
    if not photo or Path(photo).is_absolute() or ".." in Path(photo).parts:
        raise UserError(f"{table}, row {number}: {photo!r} is not the name of a photo")
    return Sample(photo, find(photo) if find else None, truth, row.get("author") or _author(photo), _strata(row))


def _author(photo: str) -> str | None:
    """Flickr's names of files end in the user's id."""
    found = _FLICKR_USER.search(photo)
    return found[1] if found else None


def _strata(row: Mapping[str, str]) -> dict[str, str | float]:
    strata: dict[str, str | float] = {}
    if row.get("s3_label", "") in SCENES:
        strata["scene"] = SCENES[row["s3_label"]]
    strata["geotag_decimals"] = float(min(_decimals(row["lat"]), _decimals(row["lon"])))
    if row.get("accuracy"):
        strata["flickr_accuracy"] = _number(row["accuracy"])
    return strata


def _decimals(text: str) -> int:
    return len(text.strip().rpartition(".")[2].rstrip("0")) if "." in text else 0


def _number(text: str) -> str | float:
    try:
        value = float(text)
    except ValueError:
        return text
    return value if math.isfinite(value) else text


def _landmarks(benchmark: Benchmark, folder: Path, swap_lat_lon: bool, place_column: str | None) -> list[Sample]:
    """Photos of landmarks: `query/mml_query.csv` has the positions, `query/mml_query_ground.csv` the photos."""
    if place_column not in (None, LANDMARK):
        raise UserError(f"photos of {benchmark.name} are of one place where they have the same {LANDMARK}")
    places = folder / "query" / "mml_query.csv"
    truth = {row["landmark_id"]: truth for _, row, truth in _located_rows(places, "landmark_id", swap_lat_lon)}
    table = folder / "query" / "mml_query_ground.csv"
    photos = folder / benchmark.photos[0]
    samples: list[Sample] = []
    for number, row in _rows(table, ("landmark_id", "images")):
        landmark = row["landmark_id"]
        if landmark not in truth:
            raise UserError(f"{table}, row {number}: landmark {landmark!r} is not in {places.name}: fetch both again")
        samples += [_landmark_photo(photo, photos, truth[landmark], landmark) for photo in row["images"].split()]
    refuse_repeated((sample.photo for sample in samples), table)
    return samples


def _landmark_photo(photo: str, photos: Path, truth: Point, landmark: str) -> Sample:
    if not _LANDMARK_PHOTO.fullmatch(photo):
        raise UserError(f"{photo!r} is not the id of a photo of landmarks: fetch the tables again")
    path = photos.joinpath(*photo[:3], f"{photo}.jpg")
    return Sample(photo, path, truth, None, {LANDMARK: landmark}, landmark)


def _rows(table: Path, needed: Sequence[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Rows with their line numbers and lower-case keys."""

    def check(names: list[str]) -> None:
        lacking = [name.upper() for name in needed if name not in names]
        if lacking:
            raise UserError(f"{table} has no column {', '.join(lacking)}: is it the right table?")

    return table_rows(table, check, "fetch it again, or give a CSV in UTF-8")
