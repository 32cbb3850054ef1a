"""Measure an exported encoder on authors training never saw.

    python -m retrieval.training.compact.evaluate configs/compact.yaml [FOLDER] [key=value ...]

References are the training photos, queries the validation photos. Run once
for each version that ships; every choice is made on the inner split instead.
The pretrained teacher's embedding is measured beside it. The scores are added
to the card of the encoder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from core.errors import UserError
from geo.places.gazetteer import Gazetteer
from geo.sphere import distance_km
from retrieval.encoders.base import PhotoEncoder
from retrieval.encoders.registry import ENCODERS, load_encoder
from retrieval.photos.photo import Photo
from retrieval.splits import part_indices
from retrieval.training import validation
from retrieval.training.compact.photos import CompactPhoto, lat_lon_deg, photo_path, read_rgb, read_table
from retrieval.training.compact.teachers import ImageTeacher, teachers_folder
from retrieval.training.config import TrainingConfig, load_config

TOP = 20
Rows = dict[str, validation.Scores]


def evaluate(config: TrainingConfig, encoder: PhotoEncoder) -> Rows:
    """Scores of each view and of the teacher on the validation photos."""
    rows = read_table(config.data)
    authors = [row.author for row in rows]
    known, wanted = ([rows[i] for i in part_indices(authors, part)] for part in ("train", "validation"))
    known_deg, wanted_deg = lat_lon_deg(known), lat_lon_deg(wanted)
    centre = np.repeat(known_deg[[_medoid(known_deg)]], len(wanted_deg), axis=0)
    found: Rows = {"constant (medoid of the training photos)": validation.accuracy(distance_km(wanted_deg, centre))}
    teacher = ImageTeacher(teachers_folder(config.data), config.threads)
    spaces = {"MobileNetV1 (pretrained)": [_teacher_vectors(teacher, config, part) for part in (known, wanted)]}
    views = [_views(encoder, config, part) for part in (known, wanted)]
    for name in ("image", "semantic", "fused"):
        spaces[name] = [part[name] for part in views]
    for name, (references, queries) in spaces.items():
        found[f"{name}: nearest photo"] = validation.nearest_scores(queries, wanted_deg, references, known_deg)
        found[f"{name}: best of {TOP} photos"] = validation.within_top(queries, wanted_deg, references, known_deg, TOP)
    return found | _gallery_scores(encoder, views[1], wanted_deg)


def _gallery_scores(
    encoder: PhotoEncoder, queries: dict[str, validation.Vectors], wanted_deg: validation.Positions
) -> Rows:
    places_deg = np.asarray(Gazetteer().coordinates().lat_lon_deg, dtype=np.float64)
    gallery, found = encoder.encode_points(places_deg), {}
    for name, vectors in queries.items():
        found[f"{name}: nearest of {len(gallery):,} places"] = validation.nearest_scores(
            vectors, wanted_deg, gallery, places_deg
        )
        found[f"{name}: best of {TOP} places"] = validation.within_top(vectors, wanted_deg, gallery, places_deg, TOP)
    return found


def _medoid(positions_deg: validation.Positions) -> int:
    return int(np.argmin(distance_km(positions_deg[:, None], positions_deg[None]).sum(axis=1)))


def _views(encoder: PhotoEncoder, config: TrainingConfig, rows: list[CompactPhoto]) -> dict[str, validation.Vectors]:
    parts = []
    for start in tqdm(range(0, len(rows), 16), desc="photos"):
        batch = rows[start : start + 16]
        photos = [Photo(read_rgb(photo_path(config.data, row)), sha256=row.name, name=row.name) for row in batch]
        parts.append(encoder.encode_photos(photos))
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in parts[0]._fields}


def _teacher_vectors(teacher: ImageTeacher, config: TrainingConfig, rows: list[CompactPhoto]) -> validation.Vectors:
    return np.stack([teacher.embedding(read_rgb(photo_path(config.data, row))) for row in tqdm(rows, desc="teacher")])


def record(card: Path, revision: str, scores: Rows) -> None:
    """Add the scores to an encoder's card."""
    content = json.loads(card.read_text(encoding="utf-8"))
    rounded = {method: {key: round(value, 4) for key, value in row.items()} for method, row in scores.items()}
    content["validation"] = {"revision": revision, "scores": rounded}
    card.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Run from the command line."""
    if not arguments:
        raise SystemExit("usage: python -m retrieval.training.compact.evaluate CONFIG [FOLDER] [key=value ...]")
    folders = [one for one in arguments[1:] if "=" not in one] or [str(ENCODERS["compact"].folder)]
    overrides = [one for one in arguments[1:] if "=" in one]
    try:
        config, encoder = load_config(Path(arguments[0]), overrides), load_encoder(folders[0])
        scores = evaluate(config, encoder)
        record(Path(folders[0]) / "card.json", encoder.identity.revision, scores)
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    sys.stdout.write(f"{encoder.identity.name} {encoder.identity.revision}\n\n{validation.table(scores)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
