"""Real models' recorded answers through the machine: the model alone, retrieval alone, and both through the ledger.

    python -m benchmarks.accuracy.recorded_ledger fit        # records of initial predictions, on calibration photos
    python -m benchmarks.accuracy.recorded_ledger measure    # accuracy, on validation photos

`fit` writes graphs/inference/sight.json: for each file of answers, how far its positions lie from the truth on the
calibration photos it answered about. `measure` runs the machine with that file and graphs/inference/posterior.json,
both fitted on calibration photos, and writes the table and every photo's distances to --out. Signs are not read, so
that the table compares the model and retrieval alone. A photo without a usable answer is a miss.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from graphs.inference.sight import ANY_MODEL, RINGS_KM
from numpy.typing import NDArray
from tqdm import tqdm

from agents.chat_models.registry import LoadedModel, load_model
from agents.schemas import Answer
from benchmarks.accuracy.offline_machine import PHOTO_ATLAS, answer_km, difference, radii_km, row
from benchmarks.dev_photos import DEFAULT_DATA, DevPhotos, load_dev_photos
from evals.fitting.sight_fit import as_rings, fitted_share, photographer_weights, ring_of
from evals.scores import distance
from geo.sphere import distance_km
from graphs.settings import WORLD_ATLAS, make_settings
from graphs.system import GeoSleuth
from retrieval.photos.photo import Photo, load_photo

Floats = NDArray[np.float64]

FILES = {"gpt-4-turbo": "gpt-4-turbo.jsonl", "o4-mini": "o4-mini.jsonl", "idefics": "idefics-80b-instruct.jsonl"}
MIN_ANSWERS = 20
"""Positions that a model must have given for a record of its own."""

SYSTEMS = (
    "model alone",
    "best candidate, no model",
    "retrieval through the ledger, no model",
    "both through the ledger",
)


class Answered(NamedTuple):
    """The photos of a part that a file has rows for, and the model that replays it."""

    name: str
    model: LoadedModel
    photos: DevPhotos


def of_file(data: Path, name: str, every: DevPhotos, part: str) -> Answered:
    """One file's model and the photos of a part that it has a row for, whatever the row says."""
    path = data / "recorded" / FILES[name]
    with path.open(encoding="utf-8") as lines:
        known = {json.loads(line)["photo"] for line in lines if line.strip()}
    photos = every.part(part)
    rows = [i for i, item in enumerate(photos.items) if item.path.name in known]
    chosen = DevPhotos([photos.items[i] for i in rows], photos.lat_lon_deg[rows], [photos.authors[i] for i in rows])
    return Answered(name, load_model(f"recorded:{path}@{data / 'im2gps3k_dev' / 'images'}"), chosen)


def answers(system: GeoSleuth, photos: Sequence[Photo], label: str) -> list[Answer]:
    """The system's answers, in order."""
    return [system.locate(photo) for photo in tqdm(photos, desc=label)]


def opened(home: Path, strategy: str, model: LoadedModel | None = None) -> GeoSleuth:
    """The machine without signs over the atlases of the offline benchmark."""
    settings = make_settings(
        home=home, atlases=(WORLD_ATLAS, PHOTO_ATLAS), strategy=strategy, read_signs=False, min_confidence=0.0
    )
    return GeoSleuth.open(settings, model=model)


# --- fit


def usual_rings(predicted_deg: Floats, true_deg: Floats, authors: Sequence[str]) -> Floats:
    """How often (5,) another photographer's truth lies in each ring around a predicted position.

    Both (n, 2), degrees.
    """
    away_km = distance_km(predicted_deg[:, None], true_deg[None, :])
    other = np.array([[a != b for b in authors] for a in authors])
    return np.asarray(np.bincount(ring_of(away_km[other]), minlength=len(RINGS_KM)) / other.sum())


def fit(data: Path, home: Path) -> dict[str, object]:
    """The content of graphs/inference/sight.json."""
    every = load_dev_photos(data)
    shares: dict[str, Floats] = {}
    fitted_on: dict[str, str] = {}
    usual: list[Floats] = []
    for name in FILES:
        answered = of_file(data, name, every, "calibration")
        with opened(home, "zero_shot", answered.model) as system:
            given = answers(system, [load_photo(path) for path in answered.photos.paths], name)
        rows = [i for i, answer in enumerate(given) if answer.point is not None]
        predicted = np.array([(a.point.lat, a.point.lon) for a in given if a.point is not None]).reshape(-1, 2)
        fitted_on[name] = f"{len(rows)} positions on {len(given)} calibration photos"
        print(f"{name}: {fitted_on[name]}; {Counter(a.status.value for a in given)}")
        if len(rows) < MIN_ANSWERS:
            continue
        authors = [answered.photos.authors[i] for i in rows]
        weights = photographer_weights(authors)
        true = answered.photos.lat_lon_deg[rows]
        usual.append(usual_rings(predicted, true, authors))
        shares[name] = fitted_share(distance_km(predicted, true)[:, None], np.ones((len(rows), 1)), usual[-1], weights)
    return _parameters(shares, fitted_on, np.mean(usual, axis=0))


def _parameters(shares: dict[str, Floats], fitted_on: dict[str, str], usual: Floats) -> dict[str, object]:
    """An unknown model is trusted half as far as the least accurate of the known."""
    weakest = min(shares, key=lambda name: float(shares[name][:2].sum()))
    records = {name: {"fitted_on": fitted_on[name], "share": as_rings(share)} for name, share in shares.items()}
    doubted = 0.5 * shares[weakest] + 0.5 * usual
    records[ANY_MODEL] = {"fitted_on": f"half {weakest}'s record, half as usual", "share": as_rings(doubted)}
    return {"usual_share": as_rings(usual), "models": records}


# --- measure


def measure(data: Path, home: Path, part: str, out: Path) -> Iterator[str]:
    """Tables for every file, and the distances to `out`. Photo by photo, so that each is encoded once."""
    photos = load_dev_photos(data).part(part)
    answered = [of_file(data, name, load_dev_photos(data), part) for name in FILES]
    with opened(home, "refine") as machine:
        systems = _systems(machine, answered)
        given: dict[str, dict[str, Answer]] = {name: {} for name in systems}
        for item in tqdm(photos.items):
            asked = [label for label in systems if _is_asked(label, item.path, answered)]
            photo = load_photo(item.path)
            for label in asked:
                given[label][item.item_id] = systems[label].locate(photo)
    for file in answered:
        names = {label: f"{file.name}, {label}" if f"{file.name}, {label}" in given else label for label in SYSTEMS}
        found = {label: [given[name][item.item_id] for item in file.photos.items] for label, name in names.items()}
        yield from table(file.name, found, file.photos)
        write_distances(out / f"{part}_{file.name}.csv", found, file.photos)


def _systems(machine: GeoSleuth, answered: Sequence[Answered]) -> dict[str, GeoSleuth]:
    """What is compared: two systems without a model, and two for every model, over the same atlases."""
    systems = {SYSTEMS[1]: machine.with_strategy("retrieval"), SYSTEMS[2]: machine}
    for file in answered:
        systems[f"{file.name}, {SYSTEMS[0]}"] = machine.with_strategy("zero_shot", file.model)
        systems[f"{file.name}, {SYSTEMS[3]}"] = machine.with_strategy("refine", file.model)
    return systems


def _is_asked(label: str, path: Path, answered: Sequence[Answered]) -> bool:
    """Whether a system is asked about a photo: a model only about those that its file has a row for."""
    model = label.partition(", ")[0]
    return all(path in file.photos.paths for file in answered if file.name == model)


def table(name: str, given: dict[str, list[Answer]], photos: DevPhotos) -> Iterator[str]:
    """Accuracies of each system, paired differences, and what became of the replies."""
    km = {label: answer_km(found, photos) for label, found in given.items()}
    heads = " | ".join(f"{t:g} km" for t in distance.THRESHOLDS_KM)
    statuses = Counter(answer.status.value for answer in given[SYSTEMS[0]])
    replies = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
    yield f"\n**{name}**: {len(photos.items)} photos by {len(set(photos.authors))} photographers; replies: {replies}"
    yield f"\n| system | {heads} | median km | GeoScore | no answer |"
    yield "|---" * (len(distance.THRESHOLDS_KM) + 4) + "|"
    for label, away_km in km.items():
        yield row(label, away_km, photos.authors)
    both = km[SYSTEMS[3]]
    yield f"\n| paired difference | GeoScore | {heads} |"
    yield "|---" * (len(distance.THRESHOLDS_KM) + 2) + "|"
    for label in (SYSTEMS[0], SYSTEMS[2]):
        yield difference(f"both − {label}", both, km[label], photos.authors)
    yield "\n" + radius_line(both, given[SYSTEMS[3]])
    sources = Counter(str(answer.point_source) for answer in given[SYSTEMS[3]])
    yield f"Whose coordinates the answers are: {dict(sources.most_common())}"


def radius_line(away_km: Floats, given: Sequence[Answer]) -> str:
    """How many true places the radii hold."""
    held = [float((away_km <= radius).mean()) for radius in radii_km(given).T]
    return f"The 50 % radius holds {held[0]:.0%} of the true places, the 90 % radius {held[1]:.0%}."


def write_distances(path: Path, given: dict[str, list[Answer]], photos: DevPhotos) -> None:
    """One row a photo: its id, author and each system's distance in km."""
    km = {label: answer_km(found, photos) for label, found in given.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["photo", "author", *km])
        for i, item in enumerate(photos.items):
            writer.writerow([item.item_id, item.author, *(f"{away_km[i]:.3f}" for away_km in km.values())])


def main() -> None:
    """Fit or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("fit", "measure"))
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder with im2gps3k_dev/ and recorded/")
    parser.add_argument("--home", type=Path, default=Path("runs/offline_machine/home"), help="where the atlases are")
    parser.add_argument("--out", type=Path, default=Path("runs/recorded_ledger"), help="distances and tables go here")
    parser.add_argument("--sight", type=Path, default=Path("graphs/inference/sight.json"), help="what fit writes")
    parser.add_argument("--part", default="validation", choices=("validation", "calibration"))
    chosen = parser.parse_args()
    if chosen.action == "fit":
        chosen.sight.write_text(json.dumps(fit(chosen.data, chosen.home), indent=2) + "\n", encoding="utf-8")
        return
    lines = list(measure(chosen.data, chosen.home, chosen.part, chosen.out))
    print("\n".join(lines))
    (chosen.out / f"{chosen.part}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
