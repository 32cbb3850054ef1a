"""What letting a GPS atlas's candidates stand apart is worth: how near the nearest of 100 candidates comes.

python -m benchmarks.spread_recall --data ../shared/data
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.dev_photos import DEFAULT_DATA, load_dev_photos
from evals import metrics
from geo.gazetteer import Gazetteer
from geo.point import Point
from geo.sphere import Floats, distance_km, lat_lon_array
from graphs.opening import DEFAULT_ATLAS_SIZE
from retrieval.candidate import AtlasKind, Candidate
from retrieval.encoder import load_encoder
from retrieval.photo import load_photo
from retrieval.spread import spread_out
from tools.photo_search import SPREAD_FROM, SPREAD_KM

LIMIT = 100


def main() -> None:
    """Measure on the calibration photos and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder with im2gps3k_dev/")
    photos = load_dev_photos(parser.parse_args().data).part("calibration")
    encoder, every = load_encoder("compact"), Gazetteer().coordinates()
    places_deg = every.lat_lon_deg[:DEFAULT_ATLAS_SIZE]
    queries = encoder.encode_photos([load_photo(path) for path in photos.paths]).fused
    similarity = queries @ encoder.encode_points(places_deg).T
    nearest_km: dict[str, list[float]] = {"most similar": [], "standing apart": []}
    for row, truth in zip(similarity, photos.lat_lon_deg, strict=True):
        best = np.argsort(-row)[: LIMIT * SPREAD_FROM]
        found = [_candidate(places_deg[i], float(row[i]), rank) for rank, i in enumerate(best)]
        for name, kept in (("most similar", found[:LIMIT]), ("standing apart", spread_out(found, SPREAD_KM, LIMIT))):
            nearest_km[name].append(float(distance_km(truth, lat_lon_array(c.point for c in kept)).min()))
    for name, away_km in nearest_km.items():
        shares = "  ".join(f"{t:g} km {100 * metrics.accuracy(away_km, t):.1f} %" for t in metrics.THRESHOLDS_KM)
        print(f"{name:15s} nearest candidate within {shares}  median {metrics.median_km(away_km):.0f} km")


def _candidate(lat_lon_deg: Floats, similarity: float, rank: int) -> Candidate:
    point = Point(lat=float(lat_lon_deg[0]), lon=float(lat_lon_deg[1]))
    return Candidate(point=point, similarity=similarity, atlas="w", kind=AtlasKind.GPS, item_id=str(rank), rank=rank)


if __name__ == "__main__":
    main()
