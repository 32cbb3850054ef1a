"""What a search gains from several photos of one place: their mean vector against each photo alone and other ways.

    python -m benchmarks.accuracy.photos_of_one_place --data ../shared/data [--tables FOLDER]

Places are photos by one photographer within 100 m of the first, two or more; queries are the calibration and validation
photographers', the reference the training photographers'. `--tables` writes both as benchmarks for `evals.run`.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from belief.parameters import Parameters, default_parameters
from belief.witnesses.retrieval import candidate_weights
from benchmarks.accuracy.mobilenet import mobilenet_embeddings
from benchmarks.dev_photos import DEFAULT_DATA, DevPhotos, load_dev_photos
from evals.scores.distance import clustered_bootstrap, geoscore
from geo.point import Point
from geo.sphere import distance_km
from retrieval.candidate import AtlasKind, Candidate
from retrieval.encoders.registry import load_encoder
from retrieval.photos.photo import load_photo
from retrieval.photos.together import MOST_TOGETHER
from retrieval.regions import rank_regions

WITHIN_KM = 0.1
CANDIDATES = 50

Floats = NDArray[np.float64]
Combine = Callable[[Floats], Floats]
"""A function from similarities (photos, references) to one of each reference (references,)."""

COMBINED: dict[str, Combine] = {
    "mean of the vectors": lambda similarities: similarities.mean(axis=0),
    "greatest similarity": lambda similarities: similarities.max(axis=0),
}


def places_of(photos: DevPhotos, rows: Sequence[int]) -> list[list[int]]:
    """Rows of photos by place, at most as many as a query may have; places with one photo are left out."""
    places: list[list[int]] = []
    by_author: dict[str, list[list[int]]] = defaultdict(list)
    for row in rows:
        own = by_author[photos.authors[row]]
        at = photos.lat_lon_deg[row]
        near = next((p for p in own if float(distance_km(photos.lat_lon_deg[p[0]], at)) <= WITHIN_KM), None)
        if near is not None:
            near.append(row)
            continue
        own.append([row])
        places.append(own[-1])
    return [place[:MOST_TOGETHER] for place in places if len(place) > 1]


def first_region(similarity: Floats, lat_lon_deg: Floats, parameters: Parameters, encoder: str) -> Floats:
    """The centre of the heaviest region of the candidates."""
    best = np.argsort(-similarity)[:CANDIDATES]
    weights = weights_of(similarity[best], parameters, encoder)
    centre = rank_regions(lat_lon_deg[best], weights)[0].centre
    return np.array([centre.lat, centre.lon])


def weights_of(similarity: Floats, parameters: Parameters, encoder: str) -> Floats:
    candidates = [
        Candidate(
            point=Point(lat=0, lon=0),
            similarity=float(min(1.0, value)),
            atlas="reference",
            kind=AtlasKind.PHOTO,
            item_id=str(rank),
            rank=rank,
        )
        for rank, value in enumerate(similarity)
    ]
    return candidate_weights(candidates, parameters, encoder)


def pooled_region(similarities: Floats, lat_lon_deg: Floats, parameters: Parameters, encoder: str) -> Floats:
    """The heaviest region where each photo's candidates have their own weights, and these are averaged."""
    weights = np.zeros(len(lat_lon_deg))
    for similarity in similarities:
        best = np.argsort(-similarity)[:CANDIDATES]
        weights[best] += weights_of(similarity[best], parameters, encoder) / len(similarities)
    kept = np.flatnonzero(weights)
    centre = rank_regions(lat_lon_deg[kept], weights[kept])[0].centre
    return np.array([centre.lat, centre.lon])


def measure(photos: DevPhotos, vectors: NDArray[np.float32], encoder: str) -> None:
    """Print the GeoScore of every way, and its difference to the mean of the single photos."""
    reference, places = parts(photos)
    at, parameters = photos.lat_lon_deg[reference], default_parameters()
    points: dict[str, list[float]] = defaultdict(list)
    for place in places:
        truth = photos.lat_lon_deg[place[0]]
        similarities = (vectors[place] @ vectors[reference].T).astype(np.float64)

        def score(answer: Floats, truth: Floats = truth) -> float:
            return float(geoscore([float(distance_km(truth, answer))])[0])

        nearest = [score(at[one.argmax()]) for one in similarities]
        regions = [score(first_region(one, at, parameters, encoder)) for one in similarities]
        points["nearest: each photo alone"].append(float(np.mean(nearest)))
        points["region: each photo alone"].append(float(np.mean(regions)))
        for name, combine in COMBINED.items():
            combined = combine(similarities)
            points[f"nearest: {name}"].append(score(at[combined.argmax()]))
            points[f"region: {name}"].append(score(first_region(combined, at, parameters, encoder)))
        points["region: mean of the weights"].append(score(pooled_region(similarities, at, parameters, encoder)))
    authors = [photos.authors[place[0]] for place in places]
    print(f"{sum(map(len, places))} photos of {len(places)} places by {len(set(authors))} people; {encoder}")
    for name, scores in sorted(points.items()):
        alone = np.array(points[f"{name.partition(':')[0]}: each photo alone"])
        gain = clustered_bootstrap(np.array(scores) - alone, authors)
        print(f"{name:32}{np.mean(scores):6.0f}{gain.estimate:+8.0f} ({gain.low:+.0f} to {gain.high:+.0f})")


def parts(photos: DevPhotos) -> tuple[list[int], list[list[int]]]:
    """Rows of the reference, and the places of the queries."""
    train = {item.item_id for item in photos.part("train").items}
    reference = [row for row, item in enumerate(photos.items) if item.item_id in train]
    queries = [row for row, item in enumerate(photos.items) if item.item_id not in train]
    return reference, places_of(photos, queries)


def write_tables(photos: DevPhotos, folder: Path) -> None:
    """Write `reference` and `queries`, each a table with PLACE beside a link to the photos."""
    reference, places = parts(photos)
    named = {row: f"place{number}" for number, place in enumerate(places) for row in place}
    for name, rows in (("reference", reference), ("queries", sorted(named))):
        (folder / name).mkdir(parents=True, exist_ok=True)
        images = folder / name / "images"
        if not images.exists():
            images.symlink_to(photos.items[0].path.parent.resolve())
        with (folder / name / "truth.csv").open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream)
            table.writerow(["IMG_ID", "AUTHOR", "LAT", "LON", "PLACE"])
            for row in rows:
                table.writerow(
                    [photos.items[row].item_id, photos.authors[row], *photos.lat_lon_deg[row], named.get(row)]
                )


def main() -> None:
    """Measure, print, and write tables if they are wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--tables", type=Path, help="folder to write the two benchmarks into")
    chosen = parser.parse_args()
    photos = load_dev_photos(chosen.data)
    if chosen.tables:
        write_tables(photos, chosen.tables)
    encoder = load_encoder("compact", 2)
    parts_of_32 = [photos.paths[start : start + 32] for start in range(0, len(photos.paths), 32)]
    vectors = [encoder.encode_photos([load_photo(path) for path in some]).fused for some in parts_of_32]
    measure(photos, np.concatenate(vectors), f"{encoder.identity.name}@{encoder.identity.revision}")
    measure(photos, mobilenet_embeddings(chosen.data / "weights", photos.paths), "MobileNetV1")


if __name__ == "__main__":
    main()
