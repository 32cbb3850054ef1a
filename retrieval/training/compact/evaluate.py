"""Measure an exported encoder on authors that are not trained on.

    python -m retrieval.training.compact.evaluate configs/compact.yaml [FOLDER] [key=value ...]

References are the training photos, queries the validation photos. Run once
for each version that ships; every choice is made on the inner split instead.
The pretrained teacher's embedding is measured too. The scores are added to the
card of the encoder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from core.errors import UserError
from geo.places.gazetteer import Gazetteer
from geo.sphere import distance_km, medoid_index
from retrieval.encoders.base import PhotoEncoder, Vectors
from retrieval.encoders.registry import ENCODERS, load_encoder
from retrieval.photos.photo import Photo
from retrieval.training.compact.crop_cache import photos_of, read_rgb
from retrieval.training.compact.teachers import ImageTeacher, teachers_folder
from retrieval.training.config import CompactConfig, load_compact_config, require_arguments
from retrieval.training.validation import (
    Scores,
    accuracy,
    markdown_table,
    nearest_scores,
    within_top,
)

TEACHER, TOP = "MobileNetV1 (pretrained)", 20
ScoresByMethod = dict[str, Scores]


def evaluate(config: CompactConfig, encoder: PhotoEncoder) -> ScoresByMethod:
    """Scores of each view and of the teacher on the validation photos."""
    known, wanted = photos_of(config.data, "train"), photos_of(config.data, "validation")
    known_deg, wanted_deg = known.positions_deg, wanted.positions_deg
    centre = np.repeat(known_deg[[medoid_index(known_deg)]], len(wanted_deg), axis=0)
    scores = {"constant (medoid of the training photos)": accuracy(distance_km(wanted_deg, centre))}
    teacher = ImageTeacher(teachers_folder(config.data), config.threads)
    references, queries = ({TEACHER: _teacher_vectors(teacher, config, part.ids)} for part in (known, wanted))
    references |= _views(encoder, config, known.ids)
    views = _views(encoder, config, wanted.ids)
    for name, vectors in (queries | views).items():
        scores[f"{name}: nearest photo"] = nearest_scores(vectors, wanted_deg, references[name], known_deg)
        scores[f"{name}: best of {TOP} photos"] = within_top(vectors, wanted_deg, references[name], known_deg, TOP)
    places_deg = np.asarray(Gazetteer().coordinates().lat_lon_deg, dtype=np.float64)
    gallery = encoder.encode_points(places_deg)
    for name, vectors in views.items():
        nearest = nearest_scores(vectors, wanted_deg, gallery, places_deg)
        scores[f"{name}: nearest of {len(gallery):,} places"] = nearest
        scores[f"{name}: best of {TOP} places"] = within_top(vectors, wanted_deg, gallery, places_deg, TOP)
    return scores


def _views(encoder: PhotoEncoder, config: CompactConfig, names: list[str]) -> dict[str, Vectors]:
    parts = []
    for start in tqdm(range(0, len(names), 16), desc="photos"):
        batch = names[start : start + 16]
        photos = [Photo(read_rgb(config.data, name), sha256=name, name=name) for name in batch]
        parts.append(encoder.encode_photos(photos))
    return {view: np.concatenate([getattr(part, view) for part in parts]) for view in parts[0]._fields}


def _teacher_vectors(teacher: ImageTeacher, config: CompactConfig, names: list[str]) -> Vectors:
    return np.stack([teacher.embedding(read_rgb(config.data, name)) for name in tqdm(names, desc="teacher")])


def record(card: Path, revision: str, scores: ScoresByMethod) -> None:
    """Add the scores to an encoder's card."""
    content = json.loads(card.read_text(encoding="utf-8"))
    rounded = {method: {key: round(value, 4) for key, value in row.items()} for method, row in scores.items()}
    content["validation"] = {"revision": revision, "scores": rounded}
    card.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Run from the command line."""
    require_arguments(arguments, __doc__)
    folders = [one for one in arguments[1:] if "=" not in one] or [str(ENCODERS["compact"].folder)]
    overrides = [one for one in arguments[1:] if "=" in one]
    try:
        config, encoder = load_compact_config(Path(arguments[0]), overrides), load_encoder(folders[0])
        scores = evaluate(config, encoder)
        record(Path(folders[0]) / "card.json", encoder.identity.revision, scores)
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    sys.stdout.write(f"{encoder.identity.name} {encoder.identity.revision}\n\n{markdown_table(scores)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
