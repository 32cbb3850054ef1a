"""Places of the generated world that are matched to tiles: their photos, and what a coarse stage says of them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from belief.prior import default_prior
from belief.records import Record
from belief.witnesses.reports import ReportedPlace
from benchmarks.simulation.city_blocks import PlacedBlock, drawn_cities, drawn_world
from geo.point import Point
from geo.sphere import destination
from geo.tiles import TileBounds
from retrieval.crossview.encoder import CrossviewEncoder
from retrieval.encoders.base import Vectors

CITIES = {"train": 100, "fit": 40, "test": 60}
SIDES = {"train": 7, "fit": 12, "test": 12}
"""Blocks a side of each city."""

PHOTOS = 3
QUERIES = {"fit": 600, "test": 800}
UNMATCHABLE = 0.25
"""Share of the places whose photos show nothing of them; by hand, as all numbers of this world."""

RECORD = Record(shares=(0.10, 0.20, 0.30, 0.15, 0.10, 0.15))
"""Of the simulated coarse stage: how far from the truth it names a place; kernels of 0.3 to 800 km, and anywhere."""

PRIOR_SAMPLE = 4096


class Query(NamedTuple):
    """A place that is looked for: its block, vectors of its photos (k, dim), what the coarse stage said."""

    block: PlacedBlock
    truth_deg: tuple[float, float]
    vectors: Vectors
    matchable: bool
    coarse: ReportedPlace


def world(part: str, seed: int) -> list[PlacedBlock]:
    """The blocks of a part; parts share no city."""
    cities = drawn_cities(sum(CITIES.values()), seed)
    names = list(CITIES)
    start = sum(CITIES[name] for name in names[: names.index(part)])
    return drawn_world(cities[start : start + CITIES[part]], SIDES[part], seed * 10 + names.index(part))


def write_places(folder: Path, seed: int) -> int:
    """Write the pictures of the training part and their table; how many places."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    blocks = world("train", seed)
    with (folder / "places.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["photo", "tile", "lat", "lon", "place"])
        for number, block in enumerate(blocks):
            tile, centre = f"pictures/{number}.png", block.bounds.centre
            Image.fromarray(_rgb(block)).save(folder / tile)
            for photo in range(PHOTOS):
                name = f"pictures/{number}-{photo}.png"
                Image.fromarray(block.photo(photo)).save(folder / name)
                table.writerow([name, tile, f"{centre.lat:.6f}", f"{centre.lon:.6f}", number])
    return len(blocks)


def _rgb(block: PlacedBlock) -> NDArray[np.uint8]:
    rgb = block.tile().rgb
    assert rgb is not None, "generated tiles hold their picture"  # noqa: S101  # for the type checker
    return rgb


def drawn_queries(
    count: int, part: str, blocks: Sequence[PlacedBlock], encoder: CrossviewEncoder, seed: int, evenly: bool = False
) -> list[Query]:
    """Places of a part with their photos and what the coarse stage says: drawn as photos are taken, or evenly."""
    rng = np.random.default_rng([seed, len(part)])
    density = default_prior().density([(at.lat, at.lon) for at in (block.bounds.centre for block in blocks)])
    queries = []
    chance = None if evenly else density / density.sum()
    for index in rng.choice(len(blocks), count, replace=False, p=chance).tolist():
        block, matchable = blocks[index], bool(rng.random() >= UNMATCHABLE)
        photos = [block.photo(number, matchable=matchable) for number in range(PHOTOS)]
        truth = _inside(block.bounds, rng)
        queries.append(Query(block, truth, encoder.encode_photos(photos), matchable, _coarse(truth, rng)))
    return queries


def _inside(bounds: TileBounds, rng: np.random.Generator) -> tuple[float, float]:
    south, west, north, east = bounds
    return float(rng.uniform(south, north)), float(rng.uniform(west, east))


def _coarse(truth_deg: tuple[float, float], rng: np.random.Generator) -> ReportedPlace:
    """A place as far from the truth as `RECORD` says; "anywhere" is where photos are taken."""
    kernel = int(rng.choice(len(RECORD.shares), p=RECORD.shares))
    scales_km = (0.3, 3.0, 25.0, 150.0, 800.0)
    if kernel == len(scales_km):
        anywhere_deg = default_prior().sample(PRIOR_SAMPLE)
        return ReportedPlace(*anywhere_deg[int(rng.integers(PRIOR_SAMPLE))].tolist())
    # A density that falls as exp(-d / s) on a plane has distances of a gamma distribution of shape 2.
    at = destination(Point(lat=truth_deg[0], lon=truth_deg[1]), rng.uniform(0, 360), rng.gamma(2.0, scales_km[kernel]))
    return ReportedPlace(at.lat, at.lon)
