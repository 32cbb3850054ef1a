"""`geosleuth locate --together`: one answer, one row and one map for several photos of one place."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from agents.schemas import Answer
from apps.cli import run
from retrieval.photos.together import MOST_TOGETHER, joined_sha256
from tests.fakes.photo_files import BAD, jpeg

Locate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def locate(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Locate:
    """The command in this process, over a home without atlases; status, standard output and error."""
    monkeypatch.setenv("GEOSLEUTH_HOME", str(tmp_path / "home"))

    def run_now(*arguments: object) -> tuple[int, str, str]:
        status = run(["locate", "--no-signs", *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run_now


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    return [jpeg(tmp_path / "place" / f"{name}.jpg", seed=seed) for seed, name in enumerate("ab")]


def test_several_photos_have_one_answer_and_one_map(locate: Locate, pair: list[Path], tmp_path: Path) -> None:
    files = {option: tmp_path / f"out.{option}" for option in ("geojson", "csv", "png", "map")}
    options = [part for option, file in files.items() for part in (f"--{option}", file)]
    status, out, errors = locate("--together", *pair, "--json", *options)
    assert status == 0, errors
    answer = Answer.model_validate_json(out)
    assert len(answer.photo_sha256s) == 2
    features = json.loads(files["geojson"].read_text())["features"]
    assert [one["properties"]["kind"] for one in features].count("answer") == 1
    assert features[0]["properties"]["photo"] == "a.jpg + b.jpg"
    assert features[0]["properties"]["more_photo_sha256s"] == list(answer.more_photo_sha256s)
    [row] = csv.DictReader(files["csv"].open(encoding="utf-8"))
    assert (row["photo"], row["sha256"]) == ("a.jpg + b.jpg", joined_sha256(answer.photo_sha256s))
    assert Image.open(files["png"]).size == (1200, 675)
    assert all(sha256 in files["map"].read_text() for sha256 in answer.photo_sha256s)


def test_a_folder_is_one_place_and_its_row_names_every_photo(locate: Locate, pair: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    command = ("--together", pair[0].parent, "--jsonl", file)
    status, _, errors = locate(*command)
    assert (status, "1 photos: 1 answered" in errors) == (0, True), errors
    [row] = map(json.loads, file.read_text().splitlines())
    assert row["photo"] == "a.jpg + b.jpg"
    assert [one["photo"] for one in row["photos"]] == ["a.jpg", "b.jpg"]
    assert row["sha256"] == joined_sha256([one["sha256"] for one in row["photos"]])
    assert "1 of 1 photos are done already" in locate(*command)[2]
    jpeg(pair[1], seed=7)
    assert "rows of other photos of the same name: 1" in locate(*command)[2]
    assert len(file.read_text().splitlines()) == 2


def test_a_photo_of_the_set_that_cannot_be_used_fails_the_set(locate: Locate, pair: list[Path], tmp_path: Path) -> None:
    BAD["truncated JPEG"][1](pair[1])
    file = tmp_path / "run.jsonl"
    status, out, errors = locate("--together", *pair)
    assert (status, out) == (2, "")
    assert "b.jpg" in errors
    status, _, errors = locate("--together", *pair, "--jsonl", file)
    [row] = map(json.loads, file.read_text().splitlines())
    assert (status, row["status"], len(row["photos"])) == (1, "failed", 2)
    jpeg(pair[1], seed=1)
    assert "trying 1 failed photos again" in locate("--together", *pair, "--jsonl", file, "--retry-failed")[2]
    assert [json.loads(line)["status"] for line in file.read_text().splitlines()] == ["answered"]


@pytest.mark.parametrize(
    ("names", "options", "problem"),
    [
        (["a"], [], "--together takes two photos of one place, or more"),
        (["a", "b", "copy"], [], "copy.jpg is the same file as a.jpg"),
        (list("abcdefghi"), [], f"9 photos of one place: at most {MOST_TOGETHER}"),
        (["a", "b"], ["--ask"], "--together cannot go with --ask or --thread"),
        (["a", "b"], ["--taken-at", "2024-06-21T12:00Z", "--jsonl", "run.jsonl"], "without --jsonl"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    locate: Locate, tmp_path: Path, names: list[str], options: list[str], problem: str
) -> None:
    files = [jpeg(tmp_path / f"{name}.jpg", seed=ord(name[0]) if name != "copy" else ord("a")) for name in names]
    status, out, errors = locate("--together", *files, *options)
    assert (status, out, len(errors.splitlines())) == (2, "", 1)
    assert problem in errors
