"""`geosleuth locate` as a user runs it: a process of its own, with a small real system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from agents.schemas import Answer
from apps.cli import app
from tests.apps.conftest import Run
from tests.fakes.photo_files import BAD, ODD_BUT_GOOD, jpeg

ROOT = Path(__file__).resolve().parents[2]
Made = Callable[[Path], Path]


def assert_one_line_error(run: Any, *wanted: str) -> None:
    lines = run.stderr.strip().splitlines()
    assert run.returncode == 2, run.stderr
    assert len(lines) == 1, run.stderr
    assert lines[0].startswith("geosleuth: error: ")
    assert run.stdout == ""
    for text in wanted:
        assert text in lines[0]


def test_an_answer_says_where_how_sure_and_why(geosleuth: Run, system: Any, tmp_path: Path) -> None:
    run = geosleuth("locate", jpeg(tmp_path / "photo.jpg"), *system)
    assert run.returncode == 0, run.stderr
    for wanted in ("photo.jpg", "coordinates", "radius", "confidence", "Alternatives", "Evidence", "search_photos · "):
        assert wanted in run.stdout
    assert run.stderr == ""


def test_json_is_the_answer_and_nothing_else(geosleuth: Run, system: Any, tmp_path: Path) -> None:
    run = geosleuth("locate", jpeg(tmp_path / "photo.jpg"), "--json", *system)
    answer = Answer.model_validate_json(run.stdout)
    assert answer.versions.atlases == ("small",)
    assert answer.hypotheses


def test_every_map_is_written_and_named(geosleuth: Run, system: Any, tmp_path: Path) -> None:
    files = {option: tmp_path / f"out.{option}" for option in ("geojson", "kml", "map", "png")}
    options = [part for option, file in files.items() for part in (f"--{option}", file)]
    run = geosleuth("locate", jpeg(tmp_path / "photo.jpg"), "--json", *options, *system)
    assert run.returncode == 0, run.stderr
    assert all(f"wrote {file}" in run.stderr for file in files.values())
    assert json.loads(files["geojson"].read_text())["type"] == "FeatureCollection"
    assert ET.fromstring(files["kml"].read_text()).tag.endswith("kml")  # noqa: S314 - our own output
    assert files["map"].read_text().startswith("<!doctype html>")
    assert Image.open(files["png"]).size == (1200, 675)
    assert json.loads(run.stdout)["status"] in ("answered", "abstained")


def test_the_photo_can_be_left_out_of_the_map(geosleuth: Run, system: Any, tmp_path: Path) -> None:
    page = tmp_path / "map.html"
    run = geosleuth("locate", jpeg(tmp_path / "photo.jpg"), "--map", page, "--no-photo", *system)
    assert run.returncode == 0, run.stderr
    assert '"thumbnail":null' in page.read_text()


def test_max_precision_coarsens_every_output(geosleuth: Run, system: Any, tmp_path: Path) -> None:
    geojson = tmp_path / "out.geojson"
    run = geosleuth(
        "locate", jpeg(tmp_path / "photo.jpg"), "--json", "--max-precision", "country", "--geojson", geojson, *system
    )
    answer = Answer.model_validate_json(run.stdout)
    assert answer.candidates == ()
    assert answer.place is None or answer.place.city is None
    assert not [f for f in json.loads(geojson.read_text())["features"] if f["properties"]["kind"] == "candidate"]


@pytest.mark.parametrize("name", ODD_BUT_GOOD)
def test_odd_photos_are_located(name: str, geosleuth: Run, system: Any, tmp_path: Path) -> None:
    file_name, make = ODD_BUT_GOOD[name]
    run = geosleuth("locate", make(tmp_path / file_name), *system)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(file_name)


@pytest.mark.parametrize("name", BAD)
def test_bad_photos_are_a_one_line_error(name: str, geosleuth: Run, tmp_path: Path) -> None:
    file_name, make = BAD[name]
    assert_one_line_error(geosleuth("locate", make(tmp_path / file_name)), file_name)


def test_a_missing_file_is_a_one_line_error(geosleuth: Run, tmp_path: Path) -> None:
    assert_one_line_error(geosleuth("locate", tmp_path / "nowhere.jpg"), "nowhere.jpg", "no such file")


def test_an_empty_folder_is_a_one_line_error(geosleuth: Run, tmp_path: Path) -> None:
    assert_one_line_error(geosleuth("locate", tmp_path), "no photos here")


def test_a_file_without_permission_is_a_one_line_error(
    geosleuth: Run, tmp_path: Path, without_privileges: list[str]
) -> None:
    photo = jpeg(tmp_path / "closed.jpg")
    photo.chmod(0)
    assert_one_line_error(geosleuth("locate", photo, prefix=without_privileges), "closed.jpg", "permission denied")


def test_places_that_cannot_be_written_are_a_one_line_error(
    geosleuth: Run, encoder: Path, tmp_path: Path, without_privileges: list[str]
) -> None:
    photo, closed = jpeg(tmp_path / "photo.jpg"), tmp_path / "closed"
    closed.mkdir(mode=0o555)
    page = geosleuth("locate", photo, "--map", closed / "a.html", prefix=without_privileges)
    assert_one_line_error(page, "a.html", "no permission")
    records = geosleuth("locate", photo, "--jsonl", closed / "a.jsonl", prefix=without_privileges)
    assert_one_line_error(records, "a.jsonl", "no permission")
    build = ("atlas", "build", "x", "--gps", "5", "--encoder", encoder)
    assert_one_line_error(geosleuth(*build, home=closed, prefix=without_privileges), "closed")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--encoder", "bert"), ("'bert'", "compact")),
        (("--model", "hal"), ("'hal'", "offline")),
        (("--strategy", "guess"), ("'guess'", "refine", "retrieval")),
        (("--max-precision", "atom"), ("atom", "street", "continent")),
        (("--max-precison", "city"), ("--max-precison",)),
        (("--threads", "0"), ("--threads",)),
        (("--map", "nowhere/out.html"), ("nowhere",)),
        (("--png", "."), ("folder",)),
        (("--sun-height", "120"), ("--sun-height",)),
        (("--taken-at", "yesterday"), ("--taken-at", "ISO 8601", "2024-06-21T17:30+02:00")),
        (("--taken-at", "1700-01-01"), ("--taken-at", "1700")),
        (("--part-of-day", "teatime"), ("--part-of-day", "morning")),
    ],
)
def test_wrong_options_are_a_one_line_error(options: Any, wanted: Any, geosleuth: Run, tmp_path: Path) -> None:
    assert_one_line_error(geosleuth("locate", jpeg(tmp_path / "photo.jpg"), *options), *wanted)


def test_the_sun_becomes_evidence(geosleuth: Run, system: Any, tmp_path: Path) -> None:
    sun = ("--taken-at", "2024-06-21T12:00:00Z", "--sun-height", "60")
    run = geosleuth("locate", jpeg(tmp_path / "photo.jpg"), "--json", *sun, *system)
    answer = Answer.model_validate_json(run.stdout)
    assert "sun" in {item.kind.value for item in answer.evidence}
    assert "one photo" in geosleuth("locate", tmp_path, *sun, *system).stderr


def test_json_of_many_photos_is_refused(geosleuth: Run, tmp_path: Path) -> None:
    jpeg(tmp_path / "a.jpg")
    jpeg(tmp_path / "b.jpg")
    assert_one_line_error(geosleuth("locate", tmp_path, "--json"), "--jsonl")


def test_debug_shows_where_an_error_came_from(geosleuth: Run, tmp_path: Path) -> None:
    run = geosleuth("--debug", "locate", tmp_path / "nowhere.jpg")
    assert run.returncode == 1
    assert "Traceback" in run.stderr
    assert "PhotoError" in run.stderr


def test_nothing_to_do_shows_the_help(geosleuth: Run) -> None:
    run = geosleuth()
    assert run.returncode == 0
    assert all(name in run.stdout for name in ("locate", "atlas", "doctor"))
    assert_one_line_error(geosleuth("locate"), "Missing argument")


_RUN_AND_LIST_MODULES = """
import sys
from apps.cli import run
status = run(sys.argv[2:])
open(sys.argv[1], "w").write(" ".join(sys.modules))
sys.exit(status)
"""
HEAVY = {"anthropic", "fastapi", "genai_prices", "hishel", "onnxruntime", "openai", "qdrant_client", "torch", "uvicorn"}
NOT_FOR_HELP = {*HEAVY, "PIL", "httpx", "langchain_core", "langgraph", "langsmith", "numpy", "pydantic", "rich"}
NOT_FOR_LOCATE = {
    *HEAVY,
    *("apps.chat.loop", "apps.commands.atlas", "apps.commands.chat", "apps.commands.mcp", "apps.commands.serve"),
    *("apps.maps.picture", "apps.service", "graphs.checkpoints", "retrieval.training", "tools.services.tile_client"),
}


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [(["--help"], NOT_FOR_HELP), (["locate", "photo.jpg", "--no-signs", "--home", "home"], NOT_FOR_LOCATE)],
    ids=["help", "locate"],
)
def test_a_command_imports_nothing_that_it_does_not_need(
    arguments: list[str], unwanted: set[str], tmp_path: Path
) -> None:
    jpeg(tmp_path / "photo.jpg")
    listed = tmp_path / "modules.txt"
    command = [sys.executable, "-c", _RUN_AND_LIST_MODULES, str(listed), *arguments]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GEOSLEUTH_")}
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, env={**variables, "PYTHONPATH": str(ROOT)})
    assert not unwanted & set(listed.read_text().split())


def test_the_list_of_commands_says_how_the_help_of_each_begins() -> None:
    group: Any = typer.main.get_command(app)
    for name, listed in group.commands.items():
        command = group.get_command(typer.Context(group), name)
        assert command.help.startswith(listed.help)
        assert not any("completion" in option for parameter in command.params for option in parameter.opts)
