"""Folder runs: bad photos are recorded, killed runs resume, nothing is lost or doubled."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from apps.commands.photo_files import photo_files
from retrieval.photos.photo import load_photo
from tests.apps.conftest import Run, command, environment
from tests.apps.test_cli_locate import assert_one_line_error
from tests.fakes.photo_files import BAD, jpeg

COUNT = 24


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Good photos, one bad one, in folders with odd names."""
    base = tmp_path / "photos"
    for number in range(COUNT):
        jpeg(base / ("été" if number % 2 else "sub folder") / f"{number:02}.jpg", seed=number)
    BAD["truncated JPEG"][1](base / "cut.jpg")
    return base


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="ascii").splitlines()]


def test_a_bad_photo_is_recorded_and_the_run_goes_on(geosleuth: Run, system: Any, folder: Path, tmp_path: Path) -> None:
    file, page, geojson = tmp_path / "run.jsonl", tmp_path / "map.html", tmp_path / "out.geojson"
    table = tmp_path / "table.csv"
    outputs = ("--jsonl", file, "--csv", table, "--map", page, "--geojson", geojson)
    run = geosleuth("locate", folder, *outputs, *system)
    assert run.returncode == 1
    assert run.stdout == ""
    assert f"{COUNT + 1} photos" in run.stderr
    assert "1 failed" in run.stderr
    found = {row["photo"]: row for row in rows(file)}
    assert len(found) == len(rows(file)) == COUNT + 1
    assert (found["cut.jpg"]["status"], found["cut.jpg"]["answer"]) == ("failed", None)
    assert "cut.jpg" in found["cut.jpg"]["error"]
    assert len(found["cut.jpg"]["sha256"]) == 64
    assert found["été/01.jpg"]["answer"]["photo_sha256"] == found["été/01.jpg"]["sha256"]
    assert page.stat().st_size < 2_500_000
    cells = {row["photo"]: row for row in csv.DictReader(table.open(encoding="utf-8"))}
    assert {name: row["status"] for name, row in cells.items()} == {name: row["status"] for name, row in found.items()}
    assert cells["cut.jpg"]["error"] == found["cut.jpg"]["error"]
    assert float(cells["été/01.jpg"]["lat"]) == found["été/01.jpg"]["answer"]["point"]["lat"]
    features = json.loads(geojson.read_text())["features"]
    assert sum(feature["properties"]["kind"] == "answer" for feature in features) == COUNT


def wait_for_rows(process: subprocess.Popen[bytes], file: Path, wanted: int) -> None:
    until = time.monotonic() + 100.0
    while time.monotonic() < until and process.poll() is None:
        if file.exists() and file.read_bytes().count(b"\n") >= wanted:
            return
        time.sleep(0.005)
    raise AssertionError("the run ended before it could be killed")


def test_a_killed_run_resumes_with_no_row_lost_or_doubled(
    geosleuth: Run, system: Any, folder: Path, home: Path, tmp_path: Path
) -> None:
    file = tmp_path / "run.jsonl"
    arguments = ("locate", folder, "--jsonl", file, *system)
    with subprocess.Popen(command(*arguments), env=environment(home), stderr=subprocess.DEVNULL) as process:
        wait_for_rows(process, file, 5)
        process.send_signal(signal.SIGKILL)
    before = file.read_bytes()
    assert 5 <= before.count(b"\n") <= COUNT
    file.write_bytes(before + b'{"photo": "sub folder/torn.j')  # as a kill within a write leaves it
    resumed = geosleuth(*arguments)
    assert resumed.returncode == 1
    assert "are done already" in resumed.stderr
    assert file.read_bytes().startswith(before)
    assert Counter(row["photo"] for row in rows(file)) == Counter(
        {"cut.jpg": 1} | {f"{'été' if n % 2 else 'sub folder'}/{n:02}.jpg": 1 for n in range(COUNT)}
    )
    again = geosleuth(*arguments)
    assert len(rows(file)) == COUNT + 1
    assert f"{COUNT + 1} of {COUNT + 1} photos are done already" in again.stderr


def test_an_interrupted_run_says_so_and_keeps_its_rows(system: Any, folder: Path, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    arguments = command("locate", folder, "--jsonl", file, *system)
    with subprocess.Popen(arguments, env=environment(home), stderr=subprocess.PIPE) as process:
        wait_for_rows(process, file, 3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == b"geosleuth: interrupted"
    assert b"Traceback" not in errors
    assert len(rows(file)) >= 3


def test_a_run_does_not_go_on_with_another_strategy(geosleuth: Run, system: Any, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    first = sorted((folder / "été").iterdir())[:2]
    assert geosleuth("locate", *first, "--jsonl", file, *system).returncode == 0
    before = file.read_bytes()
    run = geosleuth("locate", folder / "été", "--jsonl", file, *system, "--strategy", "retrieval")
    assert run.returncode == 2
    assert "strategy refine, not retrieval" in run.stderr
    assert file.read_bytes() == before


def test_another_cards_photo_of_the_same_name_gets_its_own_answer(geosleuth: Run, system: Any, tmp_path: Path) -> None:
    file, table = tmp_path / "run.jsonl", tmp_path / "table.csv"
    command = ("locate", tmp_path / "card", "--jsonl", file, "--csv", table, *system)
    for number in (1, 2):
        jpeg(tmp_path / "card" / f"IMG_000{number}.jpg", seed=number)
    assert geosleuth(*command).returncode == 0
    jpeg(tmp_path / "card" / "IMG_0001.jpg", seed=7)
    again = geosleuth(*command)
    assert again.returncode == 0, again.stderr
    assert "1 of 2 photos are done already" in again.stderr
    assert "rows of other photos of the same name: 1;" in again.stderr
    now = load_photo(tmp_path / "card" / "IMG_0001.jpg").sha256
    assert [row["sha256"] for row in rows(file)][2:] == [now]
    assert next(csv.DictReader(table.open(encoding="utf-8")))["sha256"] == now
    third = geosleuth(*command)
    assert "2 of 2 photos are done already" in third.stderr
    assert len(rows(file)) == 3


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (("--strategy", "retrieval"), "strategy refine, not retrieval"),
        (("--allow-metadata",), "allow_metadata off, not on"),
        (("--aim", "25"), "aim geoscore, not 25"),
    ],
)
def test_rows_of_other_settings_are_not_returned(
    options: tuple[str, ...], difference: str, geosleuth: Run, system: Any, tmp_path: Path
) -> None:
    file, photo = tmp_path / "run.jsonl", jpeg(tmp_path / "photo.jpg")
    command = ("locate", photo, "--jsonl", file, "--map", tmp_path / "map.html", *system)
    assert geosleuth(*command).returncode == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    run = geosleuth(*command, *options)
    assert run.returncode == 2
    assert difference in run.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_without_a_run_file_a_line_a_photo_is_printed(geosleuth: Run, system: Any, folder: Path) -> None:
    first, second, *_ = sorted((folder / "été").iterdir())
    run = geosleuth("locate", first, second, folder / "cut.jpg", *system)
    assert run.returncode == 1
    lines = run.stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("été/01.jpg")
    assert "failed: cut.jpg" in lines[2]


def test_a_missing_photo_among_others_is_recorded(geosleuth: Run, system: Any, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    run = geosleuth("locate", folder / "été" / "01.jpg", folder / "été" / "nowhere.jpg", "--jsonl", file, *system)
    assert run.returncode == 1
    assert [(row["photo"], row["status"] == "failed") for row in rows(file)] == [
        ("01.jpg", False),
        ("nowhere.jpg", True),
    ]
    assert rows(file)[1]["sha256"] is None


def test_a_folder_of_bad_photos_writes_no_map(geosleuth: Run, system: Any, tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    for name in ("empty file", "text named .jpg", "1 x 1"):
        BAD[name][1](folder / BAD[name][0])
    run = geosleuth("locate", folder, "--map", tmp_path / "map.html", *system)
    assert run.returncode == 1
    assert "3 failed" in run.stderr
    assert not (tmp_path / "map.html").exists()


def test_a_picture_of_many_answers_is_refused(geosleuth: Run, folder: Path, tmp_path: Path) -> None:
    assert_one_line_error(geosleuth("locate", folder, "--png", tmp_path / "a.png"), "--map")


def test_names_are_relative_to_what_was_named(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    photo = jpeg(inner / "1.jpg")
    other = jpeg(tmp_path / "c" / "2.jpg")
    assert [file.name for file in photo_files([photo], [tmp_path])] == ["a/b/1.jpg"]
    assert [file.name for file in photo_files([photo], [photo])] == ["1.jpg"]
    assert [file.name for file in photo_files([photo, other], [inner, other])] == ["a/b/1.jpg", "c/2.jpg"]


def test_no_permission_is_recorded(
    geosleuth: Run, system: Any, folder: Path, tmp_path: Path, without_privileges: list[str]
) -> None:
    good, closed, *_ = sorted((folder / "été").iterdir())
    closed.chmod(0)
    file = tmp_path / "run.jsonl"
    assert geosleuth("locate", good, closed, "--jsonl", file, *system, prefix=without_privileges).returncode == 1
    first, second = rows(file)
    assert (first["error"], second["status"], second["sha256"]) == (None, "failed", None)
    assert "permission denied" in second["error"]
