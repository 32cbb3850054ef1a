"""`make demo`: the same photo located alone, and with a recorded reading of a model that looked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agents.chat_models.recorded import read_rows
from belief.parameters import default_parameters
from core.files import sha256_of_file
from examples.demo import RECORDING, summer_palace
from geo.point import Point
from geo.sphere import point_distance_km
from tests.apps.conftest import ROOT, environment

SUMMER_PALACE = Point(lat=39.999, lon=116.271)


@pytest.fixture(scope="module")
def photo() -> Path:
    pytest.importorskip("sklearn", reason="the demo photo ships with scikit-learn")
    return summer_palace()


def test_the_recording_is_of_the_demo_photo_and_its_model_has_a_record(photo: Path) -> None:
    (row,) = read_rows(RECORDING)
    assert row.photo_sha256 == sha256_of_file(photo)
    assert default_parameters().records.name_of(f"recorded:{RECORDING.name}") == "frontier-2026-11"


@pytest.mark.usefixtures("photo")
def test_the_demo_shows_two_answers_and_their_maps(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "examples.demo", "--out", str(tmp_path / "out")],
        env=environment(tmp_path / "home"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    alone, _, with_a_model = run.stdout.partition("A model looks at the photo")
    assert "Next to nothing to go by" in alone
    assert "What would help" in alone
    assert "Next to nothing" not in with_a_model
    for said in ("A recording", "November 2026", "photo.png and nothing else", "Beijing", "Evidence"):
        assert said in with_a_model
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"alone.html", "alone.png", "with_a_model.html", "with_a_model.png"}
    assert not (tmp_path / "home" / "atlases").exists()
    points = [json.loads(line)["point"] for line in (tmp_path / "home" / "audit.jsonl").read_text().splitlines()]
    away_km = [point_distance_km(SUMMER_PALACE, Point(lat=lat, lon=lon)) for lat, lon in points]
    assert away_km[0] > 1000.0
    assert away_km[1] < 1.0
