"""What each part of the offline machine is worth, on photos whose photographers training never saw.

    python -m benchmarks.accuracy.offline_machine --data ../shared/data --out runs/offline_machine

Prints a Markdown table and writes the distances of every photo to `distances.csv`. The photo atlas holds the
training photos; nothing here is fitted on the validation photos. An abstention is a miss.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from agents.schemas import Answer, EvidenceKind
from benchmarks.accuracy.mobilenet import mobilenet_embeddings
from benchmarks.dev_photos import DEFAULT_DATA, DevPhotos, load_dev_photos
from evals.scores import distance
from geo.sphere import distance_km
from graphs.settings import WORLD_ATLAS, Settings
from graphs.system import GeoSleuth
from retrieval.atlas.build import build_photo_atlas
from retrieval.encoders.base import PhotoVectors
from retrieval.encoders.registry import load_encoder
from retrieval.photos.photo import Photo, load_photo

Floats = NDArray[np.float64]

PHOTO_ATLAS = "train-photos"
PARIS_DEG = (48.8566, 2.3522)
SIGN_KINDS = {EvidenceKind.SIGN, EvidenceKind.LANGUAGE, EvidenceKind.PLACE_NAME}


class Measured(NamedTuple):
    """Distances of every system on n photos; which of them have telling signs; the whole machine's radii (n, 2)."""

    test: DevPhotos
    km: dict[str, Floats]
    signs: NDArray[np.bool_]
    radii_km: Floats


def best_constant(train: DevPhotos) -> int:
    """The training photo whose position, answered for all of them, scores most GeoScore."""
    away_km = distance_km(train.lat_lon_deg[:, None], train.lat_lon_deg[None, :])
    return int(distance.geoscore(away_km).mean(axis=0).argmax())


def densest_constant(train: DevPhotos) -> int:
    """The training photo with most others within 25 km."""
    away_km = distance_km(train.lat_lon_deg[:, None], train.lat_lon_deg[None, :])
    return int((away_km <= 25.0).sum(axis=0).argmax())


def nearest_neighbour_km(
    queries: NDArray[np.float32], references: NDArray[np.float32], test: DevPhotos, train: DevPhotos
) -> Floats:
    """Distance from each test photo to its most similar training photo by cosine."""
    best = (queries @ references.T).argmax(axis=1)
    return distance_km(test.lat_lon_deg, train.lat_lon_deg[best])


def encode(photos: Sequence[Photo]) -> PhotoVectors:
    """All three views of the photos by the compact encoder."""
    return load_encoder("compact").encode_photos(photos)


def build_atlas(home: Path, train: DevPhotos) -> None:
    """The photo atlas of the training photos, unless it is there."""
    folder = home / "atlases" / PHOTO_ATLAS
    if not folder.exists():
        build_photo_atlas(folder, load_encoder("compact"), train.items, source="training photos")


def answers(photos: Sequence[Photo], **chosen: object) -> list[Answer]:
    """The machine's answers with the given settings."""
    settings = Settings.model_validate({"atlases": (WORLD_ATLAS, PHOTO_ATLAS), **chosen})
    label = f"{settings.strategy}{'' if settings.read_signs else ', no signs'}, {'+'.join(settings.atlases)}"
    with GeoSleuth.open(settings) as system:
        return [system.locate(photo) for photo in tqdm(photos, desc=label)]


def answer_km(given: Sequence[Answer], test: DevPhotos) -> Floats:
    """Distance of each answer from the truth; NaN where the machine abstained."""
    guesses = [(np.nan, np.nan) if a.point is None else (a.point.lat, a.point.lon) for a in given]
    return distance_km(test.lat_lon_deg, guesses)


def radii_km(given: Sequence[Answer]) -> Floats:
    """The 50 % and 90 % radii of n answers, (n, 2); NaN where the machine abstained."""
    return np.array([(a.radius_50_km or np.nan, a.radius_90_km or np.nan) for a in given])


def saw_signs(given: Sequence[Answer]) -> NDArray[np.bool_]:
    """Which photos have evidence from signs that says something about a place."""
    return np.array([any(e.kind in SIGN_KINDS and e.log_likelihood_ratio for e in a.evidence) for a in given])


def row(name: str, away_km: Floats, authors: Sequence[str]) -> str:
    """One line of the table: accuracies with Wilson intervals, median km, GeoScore with a bootstrap over authors."""
    cells = []
    for threshold_km in distance.THRESHOLDS_KM:
        share, low, high = (100 * value for value in distance.accuracy_interval(away_km, threshold_km))
        cells.append(f"{share:.1f} ({low:.1f}–{high:.1f})")
    score = distance.clustered_bootstrap(distance.geoscore(away_km), authors)
    cells += [f"{distance.median_km(away_km):,.0f}", f"{score.estimate:.0f} ({score.low:.0f}–{score.high:.0f})"]
    return f"| {name} | {' | '.join(cells)} | {int(np.isnan(away_km).sum())} |"


def difference(name: str, ours_km: Floats, theirs_km: Floats, authors: Sequence[str]) -> str:
    """Paired difference of GeoScore and of the accuracies in points, with intervals over authors."""
    gains = [distance.geoscore(ours_km) - distance.geoscore(theirs_km)]
    for threshold_km in distance.THRESHOLDS_KM:
        ours, theirs = distance.hits(ours_km, threshold_km), distance.hits(theirs_km, threshold_km)
        gains += [100.0 * (ours.astype(float) - theirs)]
    intervals = [distance.clustered_bootstrap(gain, authors) for gain in gains]
    return f"| {name} | " + " | ".join(f"{i.estimate:+.1f} ({i.low:+.1f} to {i.high:+.1f})" for i in intervals) + " |"


def measure(data: Path, home: Path, part: str) -> Measured:
    """Every system on one part of the photos."""
    every = load_dev_photos(data)
    train, test = every.part("train"), every.part(part)
    build_atlas(home, train)
    photos = [load_photo(path) for path in tqdm(test.paths, desc="decode")]
    references, queries = encode([load_photo(path) for path in train.paths]), encode(photos)
    teacher = mobilenet_embeddings(data / "weights", every.paths)
    of_path = dict(zip(every.paths, teacher, strict=True))
    km: dict[str, Floats] = {
        "constant, best GeoScore on train": distance_km(test.lat_lon_deg, train.lat_lon_deg[best_constant(train)]),
        "constant, densest 25 km on train": distance_km(test.lat_lon_deg, train.lat_lon_deg[densest_constant(train)]),
        "constant, Paris": distance_km(test.lat_lon_deg, PARIS_DEG),
        "pretrained MobileNetV1, 1-NN": nearest_neighbour_km(
            np.stack([of_path[p] for p in test.paths]), np.stack([of_path[p] for p in train.paths]), test, train
        ),
    }
    for view in PhotoVectors._fields:
        km[f"compact {view}, 1-NN"] = nearest_neighbour_km(
            getattr(queries, view), getattr(references, view), test, train
        )
    km["fused, GPS atlas only"] = answer_km(
        answers(photos, home=home, strategy="retrieval", atlases=(WORLD_ATLAS,)), test
    )
    km["fused + regions"] = answer_km(answers(photos, home=home, strategy="clusters"), test)
    km["machine, no signs"] = answer_km(answers(photos, home=home, read_signs=False), test)
    default = answers(photos, home=home, atlases=(WORLD_ATLAS,))
    km["whole machine, GPS atlas only (as shipped)"] = answer_km(default, test)
    whole = answers(photos, home=home)
    km["whole offline machine"] = answer_km(whole, test)
    return Measured(test, km, saw_signs(whole), radii_km(whole))


def report(found: Measured) -> str:
    """The tables as Markdown."""
    test, km, signs, _ = found
    heads = " | ".join(f"{t:g} km" for t in distance.THRESHOLDS_KM)
    rule = "|---" * (len(distance.THRESHOLDS_KM) + 4) + "|"
    lines = [f"{len(test.items)} photos by {len(set(test.authors))} photographers", ""]
    lines += [f"| system | {heads} | median km | GeoScore | no answer |", rule]
    lines += [row(name, away_km, test.authors) for name, away_km in km.items()]
    whole, no_signs = km["whole offline machine"], km["machine, no signs"]
    lines += ["", f"| paired difference | GeoScore | {heads} |", "|---" * (len(distance.THRESHOLDS_KM) + 2) + "|"]
    for name in ("constant, best GeoScore on train", "constant, Paris", "compact fused, 1-NN"):
        lines.append(difference(f"whole machine − {name}", whole, km[name], test.authors))
    lines.append(difference("signs − no signs, all photos", whole, no_signs, test.authors))
    if signs.any():
        name = f"signs − no signs, the {int(signs.sum())} photos with telling signs"
        signed_authors = [author for author, has in zip(test.authors, signs, strict=True) if has]
        lines.append(difference(name, whole[signs], no_signs[signs], signed_authors))
    return "\n".join([*lines, "", *coverage(whole, found.radii_km)])


def coverage(away_km: Floats, radii: Floats) -> list[str]:
    """How many true places lie within the radii that should hold 50 % and 90 % of them."""
    lines = []
    for share, radius in zip((50, 90), radii.T, strict=True):
        held = distance.wilson_interval(int((away_km <= radius).sum()), len(away_km))
        lines.append(
            f"The {share} % radius (median {np.nanmedian(radius):,.0f} km) holds"
            f" {100 * held.estimate:.0f} % ({100 * held.low:.0f}–{100 * held.high:.0f})."
        )
    return lines


def write_distances(path: Path, found: Measured) -> None:
    """One row a photo: its id, author, whether it has telling signs, and each system's distance in km."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["photo", "author", "telling_signs", *found.km])
        for i, item in enumerate(found.test.items):
            distances = (f"{away_km[i]:.3f}" for away_km in found.km.values())
            writer.writerow([item.item_id, item.author, int(found.signs[i]), *distances])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder with im2gps3k_dev/ and weights/")
    parser.add_argument("--out", type=Path, default=Path("runs/offline_machine"), help="atlases and results go here")
    parser.add_argument("--part", default="validation", choices=("validation", "calibration"))
    arguments = parser.parse_args()
    found = measure(arguments.data, arguments.out / "home", arguments.part)
    table = report(found)
    print(table)
    (arguments.out / f"{arguments.part}.md").write_text(table + "\n", encoding="utf-8")
    write_distances(arguments.out / f"{arguments.part}_distances.csv", found)


if __name__ == "__main__":
    main()
