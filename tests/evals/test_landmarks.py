"""`python -m evals.landmarks` on a tiny copy of MMLandmarks, by positions and by tiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from evals import landmarks
from evals.landmarks import read_test_set, score_landmarks
from evals.runs.picture_vectors import KeptVectors
from evals.scores.retrieval import RetrievalGallery
from retrieval.encoders.base import EncoderIdentity, Vectors
from retrieval.photos.photo import Photo
from tests.retrieval.crossview.landmarks import write_landmarks


class ColourEncoder:
    """A photo's vector is its mean colour; so is that of a position's landmark. It counts what it is asked for."""

    identity = EncoderIdentity(name="colours", revision="1", dim=3)

    def __init__(self) -> None:
        self.asked = 0

    def photos(self, photos: Sequence[Photo]) -> Vectors:
        self.asked += len(photos)
        colours = np.stack([photo.rgb.mean(axis=(0, 1)) - 128.0 for photo in photos])
        return np.asarray(colours / np.linalg.norm(colours, axis=1, keepdims=True), dtype=np.float32)

    def together(self, vectors: Vectors) -> Vectors:
        mean = vectors.mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean), dtype=np.float32)

    def gallery(self, data: landmarks.LandmarkData, kept: KeptVectors, /) -> RetrievalGallery:
        names = [*data.index_names, *(landmark.tiles[0] for landmark in data.landmarks)]
        of = np.array([-1] * len(data.index_names) + list(range(len(data.landmarks))))
        return RetrievalGallery(
            kept.of("tiles", names, self.photos), np.concatenate([data.index_deg, data.positions_deg]), of
        )


def test_photos_and_landmarks_are_scored_with_and_without_the_answers(tmp_path: Path) -> None:
    data = read_test_set(write_landmarks(tmp_path / "mml"), needs_tiles=True, allow_partial=False)
    encoder = ColourEncoder()
    scores = score_landmarks(encoder, data, KeptVectors(data.folder, tmp_path / "kept", encoder.identity, 2))
    assert [(score.queries, score.gallery) for score in scores] == [
        (what, gallery)
        for what in ("photo (12)", "landmark (6)")
        for gallery in ("with the queries' own (16)", "without (10)", "their own alone (6)")
    ]
    assert scores[0].recall[1].estimate == scores[0].accuracy[1.0].estimate == 1.0
    assert (scores[1].recall, scores[1].accuracy[1.0].estimate) == ({}, 0.0)
    assert scores[1].median_km > 100.0
    asked = encoder.asked
    assert asked == 12 + 16
    again = score_landmarks(encoder, data, KeptVectors(data.folder, tmp_path / "kept", encoder.identity, 2))
    assert (again, encoder.asked) == (scores, asked)  # the vectors were kept
    other = EncoderIdentity(name="colours", revision="2", dim=3)
    score_landmarks(encoder, data, KeptVectors(data.folder, tmp_path / "kept", other, 2))
    assert encoder.asked == 2 * asked


def test_a_photo_that_cannot_be_read_is_a_miss(tmp_path: Path) -> None:
    data = read_test_set(write_landmarks(tmp_path / "mml"), needs_tiles=True, allow_partial=False)
    (data.folder / data.landmarks[0].photos[0]).write_bytes(b"<html>")
    encoder = ColourEncoder()
    photo, *_, of_landmark = score_landmarks(
        encoder, data, KeptVectors(data.folder, tmp_path / "kept", encoder.identity, 1)
    )
    assert photo.recall[25].estimate == pytest.approx(11 / 12)
    assert of_landmark.recall[25].estimate == 1.0


def test_positions_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_landmarks(tmp_path / "mml")
    for tile in (folder / "query" / "satellite").rglob("*.png"):
        tile.unlink()  # positions alone are needed
    arguments = ["--data", str(folder), "--encoder", "compact", "--out", str(tmp_path / "out"), "--workers", "1"]
    assert landmarks.main(arguments) == 0
    said = capsys.readouterr().out
    assert "| photo (12) | with the queries' own (16) |" in said
    assert "| landmark (6) | without (10) | – |" in said
    (folder / "query" / "ground").rename(folder / "away")
    assert landmarks.main([*arguments, "--allow-partial"]) == 2
    assert "/query/ground is there: fetch them" in capsys.readouterr().err


def test_missing_pictures_are_refused_or_left_out_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_landmarks(tmp_path / "mml")
    next((folder / "query" / "ground").rglob("*.jpg")).unlink()
    arguments = ["--data", str(folder), "--encoder", "compact", "--out", str(tmp_path / "out"), "--workers", "1"]
    assert landmarks.main(arguments) == 2
    assert "1 of 12 pictures are not in" in capsys.readouterr().err
    assert landmarks.main([*arguments, "--allow-partial"]) == 0
    assert "PARTIAL, 1 pictures are missing" in capsys.readouterr().out


def test_tiles_by_the_command_with_a_trained_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch", reason="training needs the train extra")
    from retrieval.training.config import CrossviewConfig, load_config
    from retrieval.training.crossview.recipe import train_crossview
    from retrieval.training.distributed import ProcessGroup
    from tests.retrieval.crossview.places import write_crossview_config

    folder = write_landmarks(tmp_path / "mml", train=30)
    changes = {"data__layout": "mmlandmarks", "data__validation_share": 0.3, "loop__epochs": 1, "data__photos": 2}
    config = load_config(write_crossview_config(folder, **changes))
    assert isinstance(config, CrossviewConfig)
    train_crossview(config, ProcessGroup(torch.device("cpu")), [])
    arguments = ["--data", str(folder), "--crossview", str(folder / "run"), "--out", str(tmp_path / "out")]
    assert landmarks.main([*arguments, "--device", "cpu", "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "MMLandmarks, tiny-crossview: photos to tiles" in said
    assert "| landmark (6) | their own alone (6) |" in said


def test_the_test_set_is_never_trained_on(tmp_path: Path) -> None:
    from retrieval.training.crossview.config import PlacesConfig
    from retrieval.training.crossview.places import read_places

    folder = write_landmarks(tmp_path, train=30)
    places = read_places(PlacesConfig(folder=folder, layout="mmlandmarks", validation_share=0.3))
    assert {place.part for place in places} == {"train", "validation"}
    assert len(places) == 30
    assert all(name.startswith("train/") for place in places for name in (*place.photos, *place.tiles))
    assert places[4].text == "Bridge 4 is a bridge"
