"""Every benchmark by name: the rows of `benchmarks.json`.

Its addresses were looked up in November 2026; some sources are gone, and the notes say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from importlib import resources
from types import MappingProxyType

from pydantic import Field, TypeAdapter

from core.errors import UserError
from core.frozen import Frozen
from evals.scores.distance import THRESHOLDS_KM


class Layout(StrEnum):
    """How a benchmark lists the positions of its photos."""

    TABLE = "table"
    """One CSV, a row a photo."""
    LANDMARKS = "landmarks"
    """Two CSVs: landmarks with positions, and the ids of each landmark's photos."""
    NAMES = "names"
    """One CSV and no photos: each is known by its name alone, by which recorded answers about it are found."""


class SourceFile(Frozen):
    """One file of a benchmark: fetched where its source allows it, or put there by hand.

    An archive is unpacked where it lies; only photos and tables are taken out of it.
    """

    file: str = Field(description="path below the benchmark's folder")
    urls: tuple[str, ...] = Field(description="tried in order; empty: the source wants a person with a browser")
    page: str = Field(description="where a person finds it")
    unpack_to: str | None = Field(None, description="folder for an archive's photos; None: no archive")
    md5_url: str | None = Field(None, description="a text file that begins with the MD5 in hex")
    sha256: str | None = None
    megabytes: float = Field(description="about how large, for people")
    origin: str = Field(description="the authors' own copy, or whose mirror")


class Benchmark(Frozen):
    """A set of photos with known positions."""

    name: str
    summary: str
    expected: int | None = Field(description="photos of the whole set; None: as many as the user's table lists")
    thresholds_km: tuple[float, ...] = THRESHOLDS_KM
    layout: Layout = Layout.TABLE
    photos: tuple[str, ...] = Field(("images",), description="folders the photos may be in, the first that exists")
    files: tuple[SourceFile, ...]
    licence: str
    citation: str
    notes: tuple[str, ...] = Field((), description="what one has to know to compare numbers on it")

    @property
    def has_photos(self) -> bool:
        """Whether there are photos to look at; without, only recorded models can be asked."""
        return self.layout is not Layout.NAMES


_ROWS = TypeAdapter(tuple[Benchmark, ...]).validate_json(
    resources.files("evals.benchmarks").joinpath("benchmarks.json").read_bytes()
)
BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType({benchmark.name: benchmark for benchmark in _ROWS})


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of a name.

    Raises:
        UserError: no such benchmark; the message lists the valid ones.
    """
    if name not in BENCHMARKS:
        raise UserError(f"unknown benchmark {name!r}: choose one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]
