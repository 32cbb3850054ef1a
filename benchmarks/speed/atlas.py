"""How fast an atlas is: build, reopen, search, recall against exact search, completeness of filtered search, size.

Run on demand, on a quiet machine (processor time is shown beside wall time, for one that is not):

    python benchmarks/speed/atlas.py --points 100000 --dim 256 [--vectors gps|gaussian] [--store qdrant-edge]

`gps` vectors are random Fourier features of real places through a random two-layer network, normalised, with
queries that are noisy copies: clustered, with near-ties, like a GPS atlas. `gaussian` ones have no structure at all.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geo.places.gazetteer import Gazetteer
from geo.point import Point
from geo.sphere import distance_km, unit_vectors
from retrieval.atlas.atlas import Atlas, atlas_info, open_atlas
from retrieval.atlas.build import build_gps_atlas
from retrieval.encoders.base import EncoderIdentity, PhotoVectors, Vectors
from retrieval.stores.base import StoreSettings
from retrieval.stores.filters import Near
from retrieval.stores.registry import STORES, default_store_settings

SAME_SCORE = 1e-4


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


def queries(vectors: Vectors, count: int) -> Vectors:
    """Noisy copies of stored vectors, at a cosine of about 0.8, as a photo's vector might be."""
    rng = np.random.default_rng(2)
    chosen = vectors[rng.integers(len(vectors), size=count)]
    return _unit(chosen + 0.75 * _unit(rng.standard_normal(chosen.shape)))


def timed_ms(call: Callable[[int], object], rounds: int) -> NDArray[np.float64]:
    """Wall and processor times of `rounds` calls, in milliseconds, shape (rounds, 2)."""
    times = []
    for i in range(rounds):
        start = np.array([time.perf_counter(), time.process_time()])
        call(i)
        times.append(1e3 * (np.array([time.perf_counter(), time.process_time()]) - start))
    return np.array(times)


def recalls(atlas: Atlas, vectors: Vectors, asked: Vectors, limit: int = 20) -> tuple[float, float]:
    """Recall@limit against exact search: by item, and by score (an item as good as the last right one counts)."""
    by_item, by_score = [], []
    for query in asked:
        exact = vectors @ query
        best = np.argsort(-exact, kind="stable")[:limit]
        found = atlas.search(query, limit)
        ids = [int(candidate.item_id) for candidate in found]
        by_item.append(len(set(ids) & set(best.tolist())) / limit)
        by_score.append(np.sum(exact[ids] >= exact[best[-1]] - SAME_SCORE) / limit)
    return float(np.mean(by_item)), float(np.mean(by_score))


def binary_recall(vectors: Vectors, asked: Vectors, oversampling: int, limit: int = 20) -> float:
    """Recall@limit of sign bits: the `oversampling * limit` nearest by Hamming distance, rescored by the originals.

    The bits of every vector are compared, as no store of ours keeps them: what a graph over them loses is not in it.
    """
    bits, found = np.packbits(vectors > 0, axis=1), []
    for query in asked:
        distances = np.bitwise_count(bits ^ np.packbits(query > 0)).sum(axis=1)
        rescored = np.argsort(distances, kind="stable")[: oversampling * limit]
        best = np.argsort(-(vectors @ query), kind="stable")[:limit]
        found.append(len(set(rescored.tolist()) & set(best.tolist())) / limit)
    return float(np.mean(found))


def filter_completeness(atlas: Atlas, positions: NDArray[np.float64], asked: Vectors) -> tuple[float, float]:
    """Share of circles answered with exactly their matches, or `limit` of them; median milliseconds."""
    rng = np.random.default_rng(3)
    right, times = 0, []
    for query in asked:
        centre, radius_km, limit = positions[rng.integers(len(positions))], 10 ** rng.uniform(0, 3.5), 50
        near = Near(Point(lat=centre[0], lon=centre[1]), radius_km)
        inside = set(np.flatnonzero(distance_km(centre, positions) <= radius_km).tolist())
        start = time.perf_counter()
        found = {int(candidate.item_id) for candidate in atlas.search(query, limit, near=near)}
        times.append(1e3 * (time.perf_counter() - start))
        right += found <= inside and len(found) == min(limit, len(inside))
    return right / len(asked), float(np.median(times))


def measure(folder: Path, arguments: argparse.Namespace, settings: StoreSettings) -> list[tuple[str, str, str]]:
    """Rows of measurement, value and target."""
    encoder, positions = RandomEncoder(arguments.dim, arguments.vectors), real_positions(arguments.points)
    vectors = np.concatenate([encoder.encode_points(positions[i : i + 2048]) for i in range(0, len(positions), 2048)])
    start, processor = time.perf_counter(), time.process_time()
    build_gps_atlas(folder, encoder, positions, [str(i) for i in range(len(positions))], store=settings)
    build_s, processor_s = time.perf_counter() - start, time.process_time() - processor
    start, processor = time.perf_counter(), time.process_time()
    atlas = open_atlas(folder, encoder)
    reopen_s, reopen_processor_s = time.perf_counter() - start, time.process_time() - processor
    asked = queries(vectors, arguments.queries)
    with atlas:
        atlas.search(asked[0], 20)
        search_ms = timed_ms(lambda i: atlas.search(asked[i], 20), len(asked))
        by_item, by_score = recalls(atlas, vectors, asked)
        complete, filtered_ms = filter_completeness(atlas, positions, asked)
        size_mb = atlas_info(folder).size_bytes / 1e6
    return [
        ("first build, s", f"{build_s:.1f} (processor {processor_s:.1f})", "<= 90"),
        ("reopen, s", f"{reopen_s:.2f} (processor {reopen_processor_s:.2f})", "<= 1"),
        ("search median, ms", "{:.2f} (processor {:.2f})".format(*np.median(search_ms, axis=0)), "<= 5"),
        ("search 95 %, ms", f"{np.quantile(search_ms[:, 0], 0.95):.2f}", ""),
        ("recall@20 by item", f"{by_item:.4f}", ">= 0.99"),
        (f"recall@20 by score ({SAME_SCORE:g})", f"{by_score:.4f}", ">= 0.99"),
        *_binary_rows(vectors, asked[:60]),
        ("filtered search complete", f"{complete:.4f}", "1"),
        ("filtered search median, ms", f"{filtered_ms:.2f}", ""),
        ("folder, MB", f"{size_mb:.0f}", ""),
    ]


def _binary_rows(vectors: Vectors, asked: Vectors) -> list[tuple[str, str, str]]:
    found = {times: binary_recall(vectors, asked, times) for times in (2, 4, 16)}
    return [(f"recall@20 of sign bits, {times}-fold", f"{recall:.4f}", "") for times, recall in found.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--vectors", choices=("gps", "gaussian"), default="gps")
    parser.add_argument("--store", choices=tuple(STORES), default="qdrant-edge")
    parser.add_argument("--settings", type=json.loads, default={}, help='JSON over the defaults, {"hnsw": {"m": 24}}')
    parser.add_argument("--queries", type=int, default=300)
    arguments = parser.parse_args()
    defaults = default_store_settings(arguments.store)
    settings = type(defaults).model_validate(defaults.model_dump() | arguments.settings)
    with tempfile.TemporaryDirectory() as home:
        rows = measure(Path(home) / "bench", arguments, settings)
    print(f"{arguments.points} points, {arguments.dim}-d, {arguments.vectors} vectors, {settings.model_dump_json()}")
    for name, value, target in rows:
        print(f"{name:<32} {value:>28}   {target}")


if __name__ == "__main__":
    main()
