"""The published layout of MMLandmarks, and what is said of a copy that is damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import UserError
from retrieval.crossview.mmlandmarks import first_sentence, read_index_tiles, read_landmarks
from tests.retrieval.crossview.landmarks import write_landmarks


def test_landmarks_have_photos_tiles_position_and_text(tmp_path: Path) -> None:
    write_landmarks(tmp_path, train=3)
    first = read_landmarks(tmp_path, "train")[1]
    assert (first.landmark_id, first.position_deg) == ("1", (30.1, -99.9))
    assert first.photos[0] == "train/ground/0/0/0/0001g00000000000.jpg"
    assert first.tiles[0] == "train/satellite/0/0/0/0001s10000000000.png"  # the last one listed is the latest
    assert all((tmp_path / name).is_file() for name in (*first.photos, *first.tiles, first.text))
    assert first_sentence(tmp_path / first.text) == "Bridge 1 is a bridge"
    assert [one.landmark_id for one in read_landmarks(tmp_path, "query")] == [str(n) for n in range(3, 9)]
    tiles = read_index_tiles(tmp_path)
    assert (len(tiles), tiles[2].position_deg) == (10, (40.2, -90.0))
    assert (tmp_path / tiles[2].name).is_file()


def test_the_outdoor_photos_are_another_table(tmp_path: Path) -> None:
    write_landmarks(tmp_path, train=3)
    (tmp_path / "train" / "mml_train_ground_subset.csv").write_text("landmark_id,images\n2,0002g10000000000\n")
    (only,) = read_landmarks(tmp_path, "train", outdoor_only=True)
    assert (only.landmark_id, only.photos) == ("2", ("train/ground/0/0/0/0002g10000000000.jpg",))


@pytest.mark.parametrize("text", ['{"Lead": 3}', "[]", "[" * 100_000, "{", '{"Lead": ""}', "{}"])
def test_a_text_that_is_none_is_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    assert first_sentence(tmp_path / "a.json") == first_sentence(tmp_path / "missing.json") == ""


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("train.csv", lambda text: text.replace("30.100", "north"), r"line 3: 'north', '-99.900' is no position"),
        ("train.csv", lambda text: text.replace("\n1,", "\n0,"), r"line 3: '0' is listed twice"),
        ("train.csv", lambda text: text.replace("\n1,", "\n7,"), r"landmark '1' has no position or no tile"),
        ("train.csv", lambda text: text.replace("lat", "north"), r"has no column lat: fetch the tables again"),
        ("train_satellite.csv", lambda text: text.replace("\n1,", "\n2,"), r"landmark '1' has no position or no tile"),
        ("train_ground.csv", lambda text: text.replace("0001g0", "../../a"), r"line 3: '\.\./\.\./.*' is no id"),
        ("train_text.csv", lambda text: text.replace("json", "xml"), r"has no column json"),
    ],
)
def test_a_damaged_table_is_named(tmp_path: Path, table: str, change: Callable[[str], str], message: str) -> None:
    write_landmarks(tmp_path, train=3)
    path = tmp_path / "train" / f"mml_{table}"
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match=message):
        read_landmarks(tmp_path, "train")


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mml_train\.csv .*github\.com/Oshkr/mmlandmarks"):
        read_landmarks(tmp_path, "train")
    with pytest.raises(UserError, match=r"mml_index_satellite\.csv"):
        read_index_tiles(tmp_path)
