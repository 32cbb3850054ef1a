"""GeoSleuth's regions against the published geographic reranker, on the same candidate lists.

    python -m benchmarks.accuracy.regions_vs_published --data ../shared/data [--encoder compact] [--tune]

Candidates are the training photos nearest to each validation photo (split by author) in the space of the pretrained
MobileNetV1 embedding, or of a GeoSleuth encoder. `--tune` looks at training photos only: five folds by author.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.mobilenet import mobilenet_embeddings
from benchmarks.accuracy.published_recipe import published_order, published_order_vectorised
from benchmarks.dev_photos import load_dev_photos
from evals.scores import distance
from geo.sphere import distance_km
from retrieval.regions import rank_regions, vote_weights
from retrieval.splits import part_indices, split_by_author

LIST_LENGTHS = (20, 50, 100)


class Photos(NamedTuple):
    """A photo collection: file names, photographers, and positions (n, 2) in degrees."""

    names: list[str]
    authors: list[str]
    lat_lon_deg: NDArray[np.float64]


class Query(NamedTuple):
    """A validation photo: where it was taken, and its candidates, the most similar first."""

    truth: NDArray[np.float64]
    lat_lon_deg: NDArray[np.float64]
    similarity: NDArray[np.float64]


Chooser = Callable[[Query], NDArray[np.float64]]
"""The position (2,) in degrees that a method puts first."""


def read_photos(data: Path) -> Photos:
    """The development photos."""
    dev = load_dev_photos(data)
    return Photos([item.item_id for item in dev.items], list(dev.authors), dev.lat_lon_deg)


def mobilenet_vectors(data: Path, photos: Photos) -> NDArray[np.float32]:
    """The pretrained embedding of each photo."""
    return mobilenet_embeddings(data / "weights", [data / "im2gps3k_dev" / "images" / name for name in photos.names])


def encoder_vectors(data: Path, photos: Photos, name: str) -> NDArray[np.float32]:
    from retrieval.encoders.registry import load_encoder
    from retrieval.photos.photo import load_photo

    encoder = load_encoder(name)
    paths = [data / "im2gps3k_dev" / "images" / photo for photo in photos.names]
    parts = [paths[start : start + 32] for start in range(0, len(paths), 32)]
    return np.concatenate([encoder.encode_photos([load_photo(path) for path in part]).fused for part in parts])


def queries(
    photos: Photos, vectors: NDArray[np.float32], asked: Sequence[int], reference: Sequence[int]
) -> Iterator[Query]:
    known = np.array(reference)
    for index in asked:
        similarity = (vectors[known] @ vectors[index]).astype(np.float64)
        order = np.argsort(-similarity, kind="stable")[: max(LIST_LENGTHS)]
        yield Query(photos.lat_lon_deg[index], photos.lat_lon_deg[known[order]], similarity[order])


def folds(photos: Photos) -> Iterator[tuple[list[int], list[int]]]:
    """(asked, reference) of the training photos: five folds by author, dealt four times."""
    train = part_indices(photos.authors, "train")
    authors = [photos.authors[i] for i in train]
    for salt, fold in itertools.product(("regions-cv", "cv-b", "cv-c", "cv-d"), map(str, range(5))):
        part = split_by_author(authors, {str(k): 0.2 for k in range(5)}, salt)
        yield (
            [i for i, p in zip(train, part, strict=True) if p == fold],
            [i for i, p in zip(train, part, strict=True) if p != fold],
        )


def cut(query: Query, length: int) -> Query:
    return Query(query.truth, query.lat_lon_deg[:length], query.similarity[:length])


def nearest(query: Query) -> NDArray[np.float64]:
    return np.asarray(query.lat_lon_deg[0])


def published(query: Query) -> NDArray[np.float64]:
    return np.asarray(query.lat_lon_deg[published_order(query.lat_lon_deg)[0]])


def ours(query: Query) -> NDArray[np.float64]:
    centre = rank_regions(query.lat_lon_deg, vote_weights(query.similarity))[0].centre
    return np.array([centre.lat, centre.lon])


def errors_km(asked: Sequence[Query], choose: Chooser) -> NDArray[np.float64]:
    return np.array([float(distance_km(choose(q), q.truth)) for q in asked])


def report_accuracy(asked: Sequence[Query], lengths: Sequence[int] = LIST_LENGTHS) -> None:
    methods: dict[str, Chooser] = {"nearest": nearest, "published": published, "regions": ours}
    for length in lengths:
        lists = [cut(query, length) for query in asked]
        km = {name: errors_km(lists, choose) for name, choose in methods.items()}
        for name, away in km.items():
            shares = [distance.accuracy_interval(away, limit) for limit in distance.THRESHOLDS_KM]
            cells = [f"{100 * i.estimate:5.1f} [{100 * i.low:4.1f},{100 * i.high:5.1f}]" for i in shares]
            score = distance.geoscore(away).mean()
            print(
                f"n={length:3d} {name:9s} {'  '.join(cells)}  median {np.median(away):5.0f} km  GeoScore {score:6.1f}"
            )
        print(f"n={length:3d} paired    {'  '.join(paired(km['regions'], km['published']))}")


def paired(mine: NDArray[np.float64], theirs: NDArray[np.float64]) -> list[str]:
    """Photos only the first got within each threshold, minus those only the second did, with a 95 % bootstrap."""
    random = np.random.default_rng(0)
    cells = []
    for limit in distance.THRESHOLDS_KM:
        gain = (mine <= limit).astype(int) - (theirs <= limit).astype(int)
        draws = gain[random.integers(0, len(gain), (4000, len(gain)))].mean(axis=1) * 100
        low, high = np.percentile(draws, (2.5, 97.5))
        cells.append(f"+{(gain > 0).sum()}-{(gain < 0).sum()} ({low:+.1f},{high:+.1f})")
    return cells


def report_timing(asked: Sequence[Query], rounds: int) -> None:
    """Medians per query, each method on 100 lists in a row, in turns, so that load falls on all alike."""
    methods: dict[str, Callable[[Query], object]] = {
        "published": lambda q: published_order(q.lat_lon_deg),
        "published, distances vectorised": lambda q: published_order_vectorised(q.lat_lon_deg),
        "rank_regions": lambda q: rank_regions(q.lat_lon_deg, vote_weights(q.similarity)),
    }
    print(f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}")
    for length in LIST_LENGTHS:
        lists = [cut(query, length) for query in asked[:100]]
        times: dict[str, list[float]] = {name: [] for name in methods}
        for (name, method), query in itertools.chain(
            *([*itertools.product(methods.items(), lists)] for _ in range(rounds))
        ):
            begin = time.perf_counter()
            method(query)
            times[name].append(time.perf_counter() - begin)
        base = float(np.median(times["published"]))
        for name, taken in times.items():
            middle = float(np.median(taken))
            print(f"n={length:3d} {name:36s} {middle * 1e6:8.1f} us  {base / middle:5.1f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with im2gps3k_dev/ and weights/")
    parser.add_argument("--encoder", help="a GeoSleuth encoder instead of MobileNetV1")
    parser.add_argument(
        "--tune", action="store_true", help="training photos only: five folds by author, dealt four times"
    )
    parser.add_argument("--rounds", type=int, default=5, help="times each list is timed")
    arguments = parser.parse_args()
    photos = read_photos(arguments.data)
    vectors = (
        encoder_vectors(arguments.data, photos, arguments.encoder)
        if arguments.encoder
        else mobilenet_vectors(arguments.data, photos)
    )
    if arguments.tune:
        asked = [query for fold in folds(photos) for query in queries(photos, vectors, *fold)]
    else:
        parts = (part_indices(photos.authors, part) for part in ("validation", "train"))
        asked = list(queries(photos, vectors, *parts))
    print(f"{len(asked)} photos; accuracy in % within {distance.THRESHOLDS_KM} km, with 95 % Wilson intervals")
    print("paired: photos only `regions` got, only `published` got, and the 95 % interval of the difference in points")
    report_accuracy(asked)
    report_timing(asked, arguments.rounds)


if __name__ == "__main__":
    main()
