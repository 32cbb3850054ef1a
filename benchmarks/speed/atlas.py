"""How fast an atlas is: build, reopen, search, recall, completeness of filtered search, memory, disk, under writes.

Run on demand, on a quiet machine (processor time is shown beside wall time, for one that is not):

    python -m benchmarks.speed.atlas --points 1000000 --dim 256 [--vectors gps|gaussian] [--store qdrant-edge]

`gps` vectors are random Fourier features of real places through a random two-layer network, normalised, with
queries that are noisy copies: clustered, with near-ties, like a GPS atlas. `gaussian` ones have no structure at all.
They are encoded into a temporary file before anything is measured. Build and search each run in a process of their
own, so that the memory of each is its own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from geo.places.gazetteer import Gazetteer
from geo.point import Point
from geo.sphere import distance_km, unit_vectors
from retrieval.atlas.atlas import atlas_info, open_atlas
from retrieval.atlas.build import GPS_BATCH, SCAN_UP_TO, ItemSource, build_atlas
from retrieval.atlas.engines import EncodedBatch
from retrieval.candidate import AtlasKind
from retrieval.encoders.base import EncoderIdentity, PhotoVectors, Vectors
from retrieval.stores.base import Hit, StoredItem, StoreSettings, VectorStore
from retrieval.stores.filters import Near
from retrieval.stores.registry import STORES, StorePlace, default_store_settings, open_store

T = TypeVar("T")
SAME_SCORE = 1e-4
LIMIT, LIMIT_IN_CIRCLE = 20, 50
WRITE_BATCH, EXACT_BATCH = 256, 50_000


class RandomEncoder:
    """Fixed random vectors of positions, of either kind."""

    def __init__(self, dim: int, kind: str) -> None:
        self.identity = EncoderIdentity(name=f"random-{kind}", revision="1", dim=dim)
        rng = np.random.default_rng(0)
        scales = np.repeat([1.0, 8.0, 64.0, 256.0], 128)
        self._waves = rng.standard_normal((3, len(scales))) * scales
        self._layers = [rng.standard_normal((1024, 512)) / 32, rng.standard_normal((512, dim)) / 22]

    def encode_points(self, lat_lon_deg: NDArray[np.float64]) -> Vectors:
        """Vectors (n, dim) of positions (n, 2)."""
        if self.identity.name == "random-gaussian":
            return _unit(_seeded_gaussians(lat_lon_deg, self.identity.dim))
        angles = unit_vectors(lat_lon_deg) @ self._waves
        hidden = np.concatenate([np.sin(angles), np.cos(angles)], axis=1) @ self._layers[0]
        return _unit(np.maximum(hidden, 0.0) @ self._layers[1])

    def encode_photos(self, photos: object) -> PhotoVectors:
        """Not what this encoder is for."""
        raise NotImplementedError(f"no photos here: {photos}")


def _seeded_gaussians(lat_lon_deg: NDArray[np.float64], dim: int) -> NDArray[np.float64]:
    seed = abs(hash(lat_lon_deg.tobytes())) % 2**32
    return np.random.default_rng(seed).standard_normal((len(lat_lon_deg), dim))


def _unit(rows: NDArray[np.float64]) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def real_positions(count: int) -> NDArray[np.float64]:
    """Positions (count, 2) of real places; beyond their number, places moved by about 5 km."""
    places = Gazetteer().coordinates().lat_lon_deg
    rng = np.random.default_rng(1)
    extra = places[rng.integers(len(places), size=max(0, count - len(places)))]
    moved = extra + rng.normal(0, 0.05, extra.shape)
    everything = np.concatenate([places[rng.permutation(len(places))], moved])[:count]
    return np.stack([everything[:, 0].clip(-90, 90), (everything[:, 1] + 180) % 360 - 180], axis=1).round(6)


class StoredVectors(NamedTuple):
    """Vectors in a file of float32 rows, with their positions (n, 2): they are encoded once, and built from there."""

    file: Path
    lat_lon_deg: NDArray[np.float64]
    identity: EncoderIdentity

    def rows(self) -> Vectors:
        """The vectors (n, dim), mapped from the file."""
        return np.memmap(self.file, np.float32, mode="r", shape=(len(self.lat_lon_deg), self.identity.dim))

    def items(self, ids: Sequence[int], first: int = 0) -> list[StoredItem]:
        """The items of some rows, numbered from `first`."""
        places = self.lat_lon_deg[list(ids)].tolist()
        numbered = zip(ids, places, strict=True)
        return [StoredItem(first + i, Point(lat=lat, lon=lon), str(first + i)) for i, (lat, lon) in numbered]

    def source(self) -> ItemSource:
        """What an atlas is built from."""
        rows = self.rows()

        def encode(ids: Sequence[int]) -> EncodedBatch:
            return EncodedBatch(self.items(ids), np.asarray(rows[list(ids)]), [])

        return ItemSource(AtlasKind.GPS, "synthetic", "-", len(rows), GPS_BATCH, encode)


def encoded(file: Path, points: int, dim: int, kind: str) -> StoredVectors:
    """Positions and their vectors, written to a file batch by batch."""
    encoder, positions = RandomEncoder(dim, kind), real_positions(points)
    with file.open("wb") as stream:
        for start in range(0, points, GPS_BATCH):
            stream.write(encoder.encode_points(positions[start : start + GPS_BATCH]).tobytes())
    return StoredVectors(file, positions, encoder.identity)


def queries(vectors: Vectors, count: int) -> Vectors:
    """Noisy copies of stored vectors, at a cosine of about 0.8, as a photo's vector might be."""
    rng = np.random.default_rng(2)
    chosen = vectors[rng.integers(len(vectors), size=count)]
    return _unit(chosen + 0.75 * _unit(rng.standard_normal(chosen.shape)))


def circles(positions: NDArray[np.float64], count: int) -> list[Near]:
    """Circles of 1 to 3,000 km around places, as many small as large."""
    rng = np.random.default_rng(3)
    centres = positions[rng.integers(len(positions), size=count)].tolist()
    return [Near(Point(lat=lat, lon=lon), 10 ** rng.uniform(0, 3.5)) for lat, lon in centres]


def in_own_process(function: Callable[..., T], *arguments: object) -> T:
    """What a function returns in a new process, whose memory is then its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def memory_gb(field: str) -> float:
    """A field of this process's memory in GB: VmHWM (the peak), VmRSS, or RssAnon (without mapped files)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024 / 1e9


class Timed(NamedTuple):
    """Searches: (wall, processor) milliseconds (n, 2), and the numbers of the items that each found."""

    ms: NDArray[np.float64]
    found: list[list[int]]


class Searched(NamedTuple):
    """All searches of a process, everywhere and in circles, and its memory after them."""

    everywhere: Timed
    inside: Timed
    reopen_s: float
    rss_gb: float
    anonymous_gb: float


def timed_searches(search_store: Callable[..., Sequence[Hit]], asked: Vectors, areas: Sequence[Near] | None) -> Timed:
    """Search for each query, each in its circle if there are circles."""
    times, found = [], []
    for number, query in enumerate(asked):
        limit, near = (LIMIT_IN_CIRCLE, areas[number]) if areas else (LIMIT, None)
        start = np.array([time.perf_counter(), time.process_time()])
        hits = search_store(query, limit, near=near)
        times.append(1e3 * (np.array([time.perf_counter(), time.process_time()]) - start))
        found.append([hit.item.id for hit in hits])
    return Timed(np.array(times), found)


class _Named(NamedTuple):
    """An encoder by its identity alone: everything is encoded already."""

    identity: EncoderIdentity


def build(folder: Path, stored: StoredVectors, settings: StoreSettings) -> tuple[float, float, float]:
    """Build the atlas: wall and processor seconds, and peak memory in GB."""
    start, processor = time.perf_counter(), time.process_time()
    build_atlas(folder, _Named(stored.identity), stored.source(), settings, None)
    return time.perf_counter() - start, time.process_time() - processor, memory_gb("VmHWM")


def search(folder: Path, identity: EncoderIdentity, asked: Vectors, areas: Sequence[Near]) -> Searched:
    """Search a complete atlas, after ten searches that are not measured."""
    start = time.perf_counter()
    with open_atlas(folder, _Named(identity)) as atlas:
        reopen_s = time.perf_counter() - start
        timed_searches(atlas.search_items, asked[:10], None)
        everywhere, inside = (timed_searches(atlas.search_items, asked, among) for among in (None, areas))
        return Searched(everywhere, inside, reopen_s, memory_gb("VmRSS"), memory_gb("RssAnon"))


def search_while_written(
    folder: Path, stored: StoredVectors, settings: StoreSettings, asked: Vectors, areas: Sequence[Near]
) -> tuple[Timed, Timed, float]:
    """Search a store to which a thread writes more vectors meanwhile; also how many it wrote a second."""
    place = StorePlace(folder / "vectors", folder.name, stored.identity.dim)
    with open_store(settings, place) as store, _writing(store, stored) as batches:
        start = time.perf_counter()
        everywhere, inside = (timed_searches(store.search, asked, among) for among in (None, areas))
        return everywhere, inside, len(batches) * WRITE_BATCH / (time.perf_counter() - start)


@contextmanager
def _writing(store: VectorStore, stored: StoredVectors) -> Iterator[list[int]]:
    """Write from a thread until the end, without a pause; the list grows by one a batch."""
    rows, ended, batches = stored.rows(), threading.Event(), list[int]()

    def write() -> None:
        while not ended.is_set():
            start = len(batches) * WRITE_BATCH % (len(rows) - WRITE_BATCH)
            first = len(rows) + len(batches) * WRITE_BATCH - start
            ids = range(start, start + WRITE_BATCH)
            store.upsert(stored.items(ids, first), np.asarray(rows[list(ids)]))
            batches.append(start)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield batches
    finally:
        ended.set()
        thread.join()


def exact_best(vectors: Vectors, asked: Vectors) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The true best of each query: numbers and similarities, both (queries, LIMIT)."""
    ids, scores = np.zeros((len(asked), 0), np.int64), np.zeros((len(asked), 0), np.float32)
    for start in range(0, len(vectors), EXACT_BATCH):
        block = asked @ vectors[start : start + EXACT_BATCH].T
        scores = np.concatenate([scores, block], axis=1)
        ids = np.concatenate([ids, np.broadcast_to(np.arange(start, start + block.shape[1]), block.shape)], axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :LIMIT]
        ids, scores = np.take_along_axis(ids, best, axis=1), np.take_along_axis(scores, best, axis=1)
    return ids, scores


def recalls(vectors: Vectors, asked: Vectors, found: Sequence[Sequence[int]]) -> tuple[float, float]:
    """Recall against exact search: by item, and by score (an item as good as the last right one counts)."""
    best, scores = exact_best(vectors, asked)
    by_item = [len(set(ids) & set(right.tolist())) / LIMIT for ids, right in zip(found, best, strict=True)]
    least = scores[:, -1] - SAME_SCORE
    by_score = [
        np.sum(vectors[ids] @ query >= low) / LIMIT for ids, query, low in zip(found, asked, least, strict=True)
    ]
    return float(np.mean(by_item)), float(np.mean(by_score))


def binary_recall(vectors: Vectors, asked: Vectors, oversampling: int) -> float:
    """Recall of sign bits: the `oversampling * LIMIT` nearest by Hamming distance, rescored by the originals.

    The bits of every vector are compared, as no store of ours keeps them: what a graph over them loses is not in it.
    """
    bits, best = np.packbits(vectors > 0, axis=1), exact_best(vectors, asked)[0]
    found = []
    for query, right in zip(asked, best, strict=True):
        distances = np.bitwise_count(bits ^ np.packbits(query > 0)).sum(axis=1)
        rescored = np.argpartition(distances, oversampling * LIMIT)[: oversampling * LIMIT]
        found.append(len(set(rescored.tolist()) & set(right.tolist())) / LIMIT)
    return float(np.mean(found))


def completeness(positions: NDArray[np.float64], areas: Sequence[Near], found: Sequence[Sequence[int]]) -> float:
    """Share of circles answered with exactly their matches, or `LIMIT_IN_CIRCLE` of them."""
    right = 0
    for near, ids in zip(areas, found, strict=True):
        centre = np.array([near.centre.lat, near.centre.lon])
        inside = distance_km(centre, positions) <= near.radius_km
        right += bool(inside[ids].all()) and len(ids) == min(LIMIT_IN_CIRCLE, int(inside.sum()))
    return right / len(areas)


def measure(home: Path, arguments: argparse.Namespace, settings: StoreSettings) -> Iterator[tuple[str, str, str]]:
    """Rows of measurement, value and target."""
    stored, folder = encoded(home / "vectors.f32", arguments.points, arguments.dim, arguments.vectors), home / "bench"
    vectors = stored.rows()
    asked, areas = queries(vectors, arguments.queries), circles(stored.lat_lon_deg, arguments.queries)
    wall_s, processor_s, peak_gb = in_own_process(build, folder, stored, settings)
    yield "build, s", f"{wall_s:.1f} (processor {processor_s:.1f})", ""
    yield "build, peak memory, GB", f"{peak_gb:.2f}", ""
    yield "folder, MB", f"{atlas_info(folder).size_bytes / 1e6:.0f}", ""
    searched = in_own_process(search, folder, stored.identity, asked, areas)
    yield "reopen, s", f"{searched.reopen_s:.2f}", "<= 1"
    yield "memory, GB (without mapped files)", f"{searched.rss_gb:.2f} ({searched.anonymous_gb:.2f})", ""
    yield from _times("search", searched.everywhere, "<= 20")
    by_item, by_score = recalls(vectors, asked, searched.everywhere.found)
    yield f"recall@{LIMIT} by item", f"{by_item:.4f}", ">= 0.98"
    yield f"recall@{LIMIT} by score ({SAME_SCORE:g})", f"{by_score:.4f}", ">= 0.98"
    yield from _times("in a circle", searched.inside)
    yield "in a circle, complete", f"{completeness(stored.lat_lon_deg, areas, searched.inside.found):.4f}", "1"
    for times in (2, 4, 16) if arguments.sign_bits else ():
        yield f"recall@{LIMIT} of sign bits, {times}-fold", f"{binary_recall(vectors, asked[:60], times):.4f}", ""
    if settings.engine != "qdrant-server":
        everywhere, inside, rate = in_own_process(search_while_written, folder, stored, settings, asked, areas)
        yield "vectors written a second", f"{rate:,.0f}", ""
        yield from _times("search, meanwhile", everywhere, "<= 20")
        yield from _times("in a circle, meanwhile", inside)


def _times(name: str, times: Timed, target_p99: str = "") -> Iterator[tuple[str, str, str]]:
    for share, target in ((0.5, ""), (0.99, target_p99)):
        wall, processor = np.quantile(times.ms, share, axis=0)
        yield f"{name}, {share:.0%}, ms", f"{wall:.2f} (processor {processor:.2f})", target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--vectors", choices=("gps", "gaussian"), default="gps")
    parser.add_argument("--store", choices=tuple(STORES), default="qdrant-edge")
    parser.add_argument("--settings", type=json.loads, default={}, help='JSON over the defaults, {"hnsw": {"m": 24}}')
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--sign-bits", action="store_true", help="also measure the recall of sign bits")
    parser.add_argument("--folder", type=Path, help="where to build, and delete it again; room for 3 kB a vector")
    arguments = parser.parse_args()
    chosen = arguments.settings
    if arguments.store == "qdrant-edge":
        chosen = {"index": "scan" if arguments.points <= SCAN_UP_TO else "hnsw"} | chosen
    settings = default_store_settings(arguments.store)
    settings = type(settings).model_validate(settings.model_dump() | chosen)
    print(f"{arguments.points} points, {arguments.dim}-d, {arguments.vectors} vectors, {settings.model_dump_json()}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as home:
        for name, value, target in measure(Path(home), arguments, settings):
            print(f"{name:<36} {value:>28}   {target}", flush=True)


if __name__ == "__main__":
    main()
