"""How fast a photo's vector is matched to satellite tiles: narrowing by the belief, comparison, the witness; memory.

    python -m benchmarks.speed.tiles --tiles 100000 --dim 1024 [--store qdrant-edge]

Vectors are random, clustered by city; tiles lie around populous places as in a collection of landmarks. Queries are
noisy copies of tiles' vectors, with a coarse belief of a model that was some kilometres wrong. Run it on a quiet
machine: processor time is shown beside wall time, for one that is not.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from belief.parameters import SatelliteRecord
from belief.witnesses.reports import ReportedPlace
from belief.witnesses.satellite import narrowed_areas, satellite_log_ratio, tile_pins
from benchmarks.simulation.satellite_matching import LIMIT, coarse_belief
from geo.places.gazetteer import Gazetteer
from geo.sphere import Floats
from geo.tiles import TileBounds
from retrieval.atlas.atlas import atlas_info
from retrieval.crossview.tile_atlas import TileAtlas, build_tile_atlas, open_tile_atlas
from retrieval.crossview.tiles import SatelliteTile
from retrieval.encoders.base import EncoderIdentity, Vectors
from retrieval.stores.registry import STORES, default_store_settings

SIDE_DEG = 0.002
PER_CITY = 100
TIMED = ("narrow", "compare", "log ratio", "belief")
"""The last: the belief on a support with the tiles, without this witness; any new witness costs that."""


class RandomTiles:
    """Vectors of tiles by their number, which their one pixel says: near a vector of their city's."""

    def __init__(self, dim: int) -> None:
        self.identity = EncoderIdentity(name="random-tiles", revision="1", dim=dim)

    def encode_tiles(self, tiles: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Vectors (n, dim) of numbers, each as an array of three bytes."""
        return np.stack([self.vector(int.from_bytes(tile.tobytes()[:4], "little")) for tile in tiles])

    def vector(self, number: int) -> Vectors:
        """The vector of a tile."""
        dim = self.identity.dim
        city = np.random.default_rng([1, number // PER_CITY]).standard_normal(dim)
        own = np.random.default_rng([2, number]).standard_normal(dim)
        return _unit(0.6 * city + own)


def _unit(vector: Floats) -> Vectors:
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


class TilesAroundPlaces(Sequence[SatelliteTile]):
    """Tiles in squares of 100 around populous places, made when they are asked for."""

    def __init__(self, count: int) -> None:
        places = Gazetteer().coordinates()
        self._centres = places.lat_lon_deg[np.argsort(-places.population, kind="stable")[: -(-count // PER_CITY)]]
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, number: int) -> SatelliteTile: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[SatelliteTile]: ...

    def __getitem__(self, number: int | slice) -> SatelliteTile | Sequence[SatelliteTile]:
        if isinstance(number, slice):
            return [self[one] for one in range(self._count)[number]]
        if number >= self._count:
            raise IndexError(number)
        lat, lon = np.clip(self._centres[number // PER_CITY], -85.0, 85.0)
        south = float(lat + SIDE_DEG * (number % PER_CITY // 10 - 5))
        west = float(lon + SIDE_DEG * (number % 10 - 5))
        rgb = np.frombuffer(number.to_bytes(12, "little"), dtype=np.uint8).reshape(2, 2, 3)
        bounds = TileBounds(south, west, south + SIDE_DEG, west + SIDE_DEG)
        return SatelliteTile(str(number), bounds, "17", "random", "", rgb=rgb)


def match(
    atlas: TileAtlas, vector: Vectors, coarse: ReportedPlace, record: SatelliteRecord
) -> list[tuple[float, float]]:
    """Wall and processor seconds of narrowing, comparing, the log ratio, and the belief that it needs."""
    belief = coarse_belief(coarse)
    belief.densest(0.5)  # what the coarse stage costs anyway
    clock = [(time.perf_counter(), time.process_time())]
    areas = narrowed_areas(belief)
    clock.append((time.perf_counter(), time.process_time()))
    compared = atlas.compare(vector, areas, LIMIT)
    clock.append((time.perf_counter(), time.process_time()))
    refined = coarse_belief(coarse, tile_pins(compared))
    refined.densest(0.5)
    clock.append((time.perf_counter(), time.process_time()))
    satellite_log_ratio(refined, compared, atlas.covers, record)
    clock.append((time.perf_counter(), time.process_time()))
    steps = [(late[0] - early[0], late[1] - early[1]) for early, late in pairwise(clock)]
    return [steps[0], steps[1], steps[3], steps[2]]


def build(folder: Path, encoder: RandomTiles, count: int, store: str) -> None:
    """Build the atlas and print how long it took."""
    start = time.perf_counter(), time.process_time()
    build_tile_atlas(folder, encoder, TilesAroundPlaces(count), store=default_store_settings(store))
    wall_s, processor_s = time.perf_counter() - start[0], time.process_time() - start[1]
    print(f"build, with the drawing of vectors: {wall_s:.0f} s (processor {processor_s:.0f} s)", flush=True)


def query(folder: Path, encoder: RandomTiles, count: int, queries: int) -> None:
    """Match queries and print how long each step took, and the peak of memory."""
    rng, tiles = np.random.default_rng(3), TilesAroundPlaces(count)
    shares = ((0.2, 0.2, 0.1, 0.1, 0.4),)
    record = SatelliteRecord(temperatures=(0.02, 0.08), edges=(), shares=shares)
    times = []
    with open_tile_atlas(folder, encoder) as atlas:
        for number in rng.integers(count, size=queries + 1).tolist():
            at = tiles[number].bounds.centre
            vector = _unit(encoder.vector(number) + 0.75 * _unit(rng.standard_normal(encoder.identity.dim)))
            coarse = ReportedPlace(at.lat + rng.normal(0.0, 0.05), at.lon + rng.normal(0.0, 0.05))
            times.append(match(atlas, vector, coarse, record))
        size_mb = atlas_info(folder).size_bytes / 1e6
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"folder {size_mb:,.0f} MB; peak memory of a process that reads it {peak_gb:.2f} GB")
    milliseconds = 1e3 * np.array(times[1:])
    matching = milliseconds[:, :3].sum(axis=1, keepdims=True)
    whole = np.concatenate([milliseconds, matching], axis=1)
    for step, column in zip((*TIMED, "first 3"), whole.transpose(1, 0, 2), strict=True):
        (wall, processor), (wall_95, processor_95) = np.quantile(column, [0.5, 0.95], axis=0)
        print(
            f"{step:9} median {wall:6.1f} ms (processor {processor:6.1f}), 95 % {wall_95:.1f} ms ({processor_95:.1f})"
        )


def main() -> None:
    """Print build time, memory and the time of each step; building and querying are processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--store", choices=tuple(STORES), default="qdrant-edge")
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--folder", type=Path, help="keep the atlas here")
    parser.add_argument("--only", choices=("build", "query"))
    chosen = parser.parse_args()
    if chosen.only is None:
        print(f"{chosen.tiles:,} tiles, {chosen.dim}-d, {chosen.store}", flush=True)
        with tempfile.TemporaryDirectory() as home:
            folder = str(chosen.folder or Path(home) / "tiles")
            for step in ("build", "query"):
                again = [sys.executable, "-m", "benchmarks.speed.tiles", *sys.argv[1:], "--folder", folder]
                subprocess.run([*again, "--only", step], check=True)  # noqa: S603  # our own
    elif chosen.only == "build":
        build(chosen.folder, RandomTiles(chosen.dim), chosen.tiles, chosen.store)
    else:
        query(chosen.folder, RandomTiles(chosen.dim), chosen.tiles, chosen.queries)


if __name__ == "__main__":
    main()
