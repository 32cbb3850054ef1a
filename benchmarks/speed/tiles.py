"""How fast a photo's vector is matched to satellite tiles: narrowing by the belief, comparison, the witness; memory.

    nice -n 19 python -m benchmarks.speed.tiles --tiles 1000000 [--dim 1024] [--queries 40]

Vectors are random, clustered by city; tiles lie around populous places as in a collection of landmarks. Queries are
noisy copies of tiles' vectors, with a coarse belief of a model that was some kilometres wrong. The store is that of
`build_tile_atlas`: int8 copies in memory, the best rescored by the originals on disk; recall is against exact search
of the same atlas in the same areas. The load average is shown, and processor time beside wall time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from belief.parameters import SatelliteRecord
from belief.witnesses.reports import ReportedPlace
from belief.witnesses.satellite import SHARES, narrowed_areas, satellite_log_ratio, tile_pins
from benchmarks.simulation.satellite_matching import LIMIT, coarse_belief
from geo.places.gazetteer import Gazetteer
from geo.sphere import Floats
from geo.tiles import TileBounds
from retrieval.atlas.atlas import atlas_info
from retrieval.crossview.tile_atlas import TILE_STORE, TileAtlas, build_tile_atlas, open_tile_atlas
from retrieval.crossview.tiles import SatelliteTile
from retrieval.encoders.base import EncoderIdentity, Vectors

SIDE_DEG = 0.002
PER_CITY = 100
TIMED = ("narrow", "compare", "log ratio", "belief")
"""The last: the belief on a support with the tiles, without this witness; any new witness costs that."""


class RandomTiles:
    """Vectors of tiles by their number, which their one pixel says: near a vector of their city's."""

    def __init__(self, dim: int, alike: float = 0.0) -> None:
        self.identity = EncoderIdentity(name="random-tiles", revision=f"{alike:g}", dim=dim)
        self._alike = alike

    def encode_tiles(self, tiles: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Vectors (n, dim) of numbers, each as an array of three bytes."""
        return np.stack([self.vector(int.from_bytes(tile.tobytes()[:4], "little")) for tile in tiles])

    def vector(self, number: int) -> Vectors:
        """The vector of a tile."""
        vectors = _city_vectors(number // PER_CITY, self.identity.dim, self._alike)
        return np.asarray(vectors[number % PER_CITY])


@lru_cache(maxsize=8)
def _city_vectors(city: int, dim: int, alike: float) -> Vectors:
    rng = np.random.default_rng(city)
    own = _unit(0.6 * rng.standard_normal(dim) + rng.standard_normal((PER_CITY, dim)))
    common = _unit(np.random.default_rng(1_000_003).standard_normal(dim))
    return _unit(np.sqrt(alike) * common + np.sqrt(1.0 - alike) * own)


def _unit(vectors: Floats) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), dtype=np.float32)


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


class Query(NamedTuple):
    """The vector of a photo of a tile, and what the coarse stage says of it."""

    vector: Vectors
    coarse: ReportedPlace


def drawn_queries(encoder: RandomTiles, count: int, queries: int) -> Iterator[Query]:
    """Noisy copies of tiles' vectors; the coarse stage names a place some kilometres off."""
    rng, tiles = np.random.default_rng(3), TilesAroundPlaces(count)
    for number in rng.integers(count, size=queries).tolist():
        at = tiles[number].bounds.centre
        vector = _unit(encoder.vector(number) + 0.75 * _unit(rng.standard_normal(encoder.identity.dim)))
        yield Query(vector, ReportedPlace(at.lat + rng.normal(0.0, 0.05), at.lon + rng.normal(0.0, 0.05)))


def build(folder: Path, encoder: RandomTiles, count: int) -> None:
    """Build the atlas and print how long it took."""
    start = time.perf_counter(), time.process_time()
    with PeakMemory() as memory:
        build_tile_atlas(folder, encoder, TilesAroundPlaces(count))
    wall_s, processor_s = time.perf_counter() - start[0], time.process_time() - start[1]
    size_mb = atlas_info(folder).size_bytes / 1e6
    print(
        f"build, with the drawing of vectors: {wall_s:.0f} s (processor {processor_s:.0f} s),"
        f" at most {memory.gb:.2f} GB of memory of its own; folder {size_mb:,.0f} MB",
        flush=True,
    )


def query(folder: Path, encoder: RandomTiles, count: int, queries: int) -> None:
    """Match queries and print how long each step took, and the memory of this process."""
    shares = ((0.2, 0.2, 0.1, 0.1, 0.4),)
    record = SatelliteRecord(temperatures=(0.02, 0.08), edges=(), shares=shares)
    before_gb, start = own_memory_gb(), time.perf_counter()
    with open_tile_atlas(folder, encoder) as atlas:
        print(f"opened in {time.perf_counter() - start:.1f} s", flush=True)
        asked = drawn_queries(encoder, count, queries + 1)
        times = [match(atlas, one.vector, one.coarse, record) for one in asked]
        print(f"memory of its own: {own_memory_gb():.2f} GB, of which {before_gb:.2f} GB without the atlas")
    milliseconds = 1e3 * np.array(times[1:])
    matching = milliseconds[:, :3].sum(axis=1, keepdims=True)
    whole = np.concatenate([milliseconds, matching], axis=1)
    for step, column in zip((*TIMED, "first 3"), whole.transpose(1, 0, 2), strict=True):
        (wall, processor), (wall_95, processor_95) = np.quantile(column, [0.5, 0.95], axis=0)
        print(
            f"{step:9} median {wall:6.1f} ms (processor {processor:6.1f}), 95 % {wall_95:.1f} ms ({processor_95:.1f})",
            flush=True,
        )


def recall(folder: Path, encoder: RandomTiles, count: int, queries: int) -> None:
    """Print which share of the tiles that exact search finds is found, in each area and in the whole atlas."""
    exact = TILE_STORE.model_copy(update={"filtered": "exact"})
    found: dict[str, list[float]] = {}
    with open_tile_atlas(folder, encoder) as quick, open_tile_atlas(folder, encoder, exact) as slow:
        for one in drawn_queries(encoder, count, queries):
            for share, area in zip(SHARES, narrowed_areas(coarse_belief(one.coarse)), strict=True):
                wanted, got = (
                    {hit.item.id for hit in atlas.atlas.search_items(one.vector, LIMIT, near=area)}
                    for atlas in (slow, quick)
                )
                found.setdefault(f"{share:.0%}", []).append(len(wanted & got) / max(len(wanted), 1))
    areas = ", ".join(f"{np.mean(shares):.4f} in the area of {share} of the belief" for share, shares in found.items())
    print(f"recall@{LIMIT} against exact search, {queries} queries: {areas}", flush=True)


class PeakMemory:
    """The most that this process has in memory of its own within a `with`, seen every tenth of a second."""

    def __init__(self) -> None:
        self.gb, self._ended = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            self.gb = max(self.gb, own_memory_gb())


def own_memory_gb() -> float:
    """What this process has in memory now, without pages of files, which the system may drop."""
    return int(_memory_kb("RssAnon")) / 1e6


def _memory_kb(field: str) -> str:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{field}:"))


def main() -> None:
    """Print build time, memory, the time of each step and recall; each is measured in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--alike", type=float, default=0.0, help="cosine that tiles of anywhere have with each other")
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--exact-queries", type=int, default=10, help="for the recall; each reads all vectors twice")
    parser.add_argument("--folder", type=Path, help="keep the atlas here")
    parser.add_argument("--only", choices=("build", "query", "recall"))
    chosen = parser.parse_args()
    if chosen.only is None:
        with tempfile.TemporaryDirectory() as home:
            measure_all(chosen, chosen.folder or Path(home) / "tiles")
    elif chosen.only == "build":
        build(chosen.folder, RandomTiles(chosen.dim, chosen.alike), chosen.tiles)
    elif chosen.only == "query":
        query(chosen.folder, RandomTiles(chosen.dim, chosen.alike), chosen.tiles, chosen.queries)
    else:
        recall(chosen.folder, RandomTiles(chosen.dim, chosen.alike), chosen.tiles, chosen.exact_queries)


def measure_all(chosen: argparse.Namespace, folder: Path) -> None:
    """Run the three steps, each with the load of the machine before it."""
    print(f"{chosen.tiles:,} tiles, {chosen.dim}-d, {os.cpu_count()} cores", flush=True)
    for step in ("build", "query", "recall"):
        print(f"[{step}; load average {os.getloadavg()[0]:.1f}]", flush=True)
        again = [sys.executable, "-m", "benchmarks.speed.tiles", *sys.argv[1:], "--folder", str(folder)]
        subprocess.run([*again, "--only", step], check=True)  # noqa: S603  # our own


if __name__ == "__main__":
    main()
