"""The soak of `benchmarks.kills.soak`, small: one kill, few photos, a short chat."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.kills.soak import Memory, chat_turns, soak_folder, write_photos
from graphs.checkpoints import UNDONE_TURNS
from tests.apps.conftest import command, environment
from tests.fakes.photo_files import jpeg
from tests.fakes.tiny_encoder import write_tiny_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    folder = tmp_path_factory.mktemp("home")
    build = command("atlas", "build", "small", "--gps", "500", "--encoder", encoder)
    subprocess.run(build, env=environment(folder), check=True, capture_output=True, timeout=300)
    return folder


STATM = Path("/proc/self/statm")
pytestmark = pytest.mark.skipif(not STATM.exists(), reason="memory is read from /proc")


def test_a_killed_folder_run_has_every_row_once(
    tmp_path: Path, encoder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOSLEUTH_HOME", str(home))
    photos = tmp_path / "photos"
    write_photos([jpeg(tmp_path / "a.jpg", seed=1), jpeg(tmp_path / "b.jpg", seed=2)], 12, photos)
    options = ("--encoder", str(encoder), "--atlas", "small", "--no-signs")
    said = soak_folder(photos, tmp_path, 1, options)
    assert said.startswith("12 photos, killed ")
    assert "every photo has one row" in said


def test_a_chat_keeps_no_more_after_many_turns(tmp_path: Path, encoder: Path, home: Path) -> None:
    options = ("--encoder", str(encoder), "--atlas", "small", "--no-signs", "--home", str(home))
    turns = chat_turns(jpeg(tmp_path / "a.jpg", seed=1), 2 * UNDONE_TURNS, tmp_path, options)
    saved_mb = [sample.saved_mb for sample in turns]
    assert saved_mb[-1] < 1.3 * saved_mb[UNDONE_TURNS]


def test_growth_is_from_the_second_tenth_to_the_last() -> None:
    assert Memory(range(100), [500.0] * 50 + [510.0] * 50).growth == pytest.approx(0.02)
    assert "NOT flat" in str(Memory(range(100), [500.0 + n for n in range(100)]))
    assert ": flat" in str(Memory(range(3), [500.0, 500.0, 500.0]))
