"""A satellite atlas from the command line: built, listed, fitted, matched and shown, in this process."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("torch", reason="the cross-view encoder needs the train extra")

from agents.schemas import Answer
from apps.cli import run
from evals import fit_satellite
from evals.fitting import satellite_fit
from geo.tiles import TileBounds, tiles_in
from tests.retrieval.crossview.tile_world import (
    MATCHED,
    place_bounds,
    texture,
    write_crossview_encoder,
    write_photos,
    write_tiles,
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data home with the encoder in `encoder`, tiles in `tiles` and the atlas `towns`."""
    folder = tmp_path_factory.mktemp("home")
    write_crossview_encoder(folder / "encoder")
    write_tiles(folder / "tiles", date="<b>2021</b>")
    given = ["--table", folder / "tiles" / "tiles.csv", "--pictures", folder / "tiles"]
    assert tiles(folder, "towns", *given) == 0
    return folder


def tiles(home: Path, name: str, *options: Any) -> int:
    chosen = ["--satellite-encoder", home / "encoder", "--home", home, *options]
    return run(["atlas", "tiles", name, *map(str, chosen)])


def matching(home: Path) -> list[str]:
    return ["--satellite-atlas", "towns", "--satellite-encoder", str(home / "encoder"), "--home", str(home)]


def fit(home: Path) -> int:
    folder = home / "known"
    table = write_photos(folder, range(0, 24, 3))
    chosen = ["--photos", str(folder), "--table", str(table), *matching(home), "--strategy", "jury", "--no-signs"]
    return fit_satellite.main(chosen)


def test_from_tiles_to_an_answer_with_both_pictures(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(satellite_fit, "LEAST_PLACES", 8)
    assert fit(home) == 0
    assert "8 of 8 photos were compared" in capsys.readouterr().out
    assert len(list((home / "encoder").glob("satellite_record.*.json"))) == 1
    monkeypatch.setenv("GEOSLEUTH_SATELLITE_PICTURES", str(home / "tiles"))
    Image.fromarray(texture(MATCHED, 1)).save(tmp_path / "photo.png")
    files = {option: tmp_path / f"out.{option}" for option in ("geojson", "kml", "map")}
    options = [part for option, file in files.items() for part in (f"--{option}", str(file))]
    locate = ["locate", str(tmp_path / "photo.png"), "--no-signs", *matching(home)]
    assert run([*locate, *options]) == 0
    told = capsys.readouterr().out
    assert f"satellite tile {MATCHED}.png (Somebody, <b>2021</b>)" in " ".join(told.split())
    features = json.loads(files["geojson"].read_text())["features"]
    [tile, *_] = [one for one in features if one["properties"]["kind"] == "satellite_tile"]
    assert tile["properties"]["tile_id"] == f"{MATCHED}.png"
    south, west, north, east = place_bounds(MATCHED)
    assert sorted(tile["geometry"]["coordinates"][0])[0] == pytest.approx([west, south])
    assert sorted(tile["geometry"]["coordinates"][0])[-1] == pytest.approx([east, north])
    kml = ET.fromstring(files["kml"].read_text())  # noqa: S314 - our own output
    names = [node.text or "" for node in kml.iter("{http://www.opengis.net/kml/2.2}name")]
    assert f"Satellite tile {MATCHED}.png" in names
    page = files["map"].read_text()
    assert page.count("the photo") >= 1
    assert "<b>2021</b>" not in page
    assert page.count("data:image/jpeg") > 3
    assert run([*locate, "--json", "--max-precision", "country"]) == 0
    coarse = Answer.model_validate_json(capsys.readouterr().out)
    assert (coarse.matches, f"{MATCHED}.png" in coarse.model_dump_json()) == ((), False)


def test_the_atlas_is_listed_verified_and_deleted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tiles(home, "other", "--table", home / "tiles" / "tiles.csv", "--pictures", home / "tiles") == 0
    assert run(["atlas", "info", "other", "--json", "--home", str(home)]) == 0
    [listed] = json.loads(capsys.readouterr().out)
    assert (listed["kind"], listed["count"]) == ("tile", 50)
    assert run(["atlas", "verify", "other", "--home", str(home)]) == 0
    assert run(["atlas", "delete", "other", "--yes", "--home", str(home)]) == 0
    assert run(["atlas", "info", "other", "--home", str(home)]) == 2


def test_an_area_is_built_from_a_folder_of_tiles(home: Path, tmp_path: Path) -> None:
    area = TileBounds(48.80, 2.30, 48.81, 2.32)
    for number, tile in enumerate(tiles_in(area, 15)):
        file = tmp_path / "tree" / str(tile.zoom) / str(tile.x) / f"{tile.y}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(texture(number)).save(file)
    edges = ",".join(map(str, area))
    assert tiles(home, "area", "--area", edges, "--zoom", 15, "--pictures", tmp_path / "tree") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --table CSV and --pictures FOLDER"),
        (["--area", "48,2,49", "--zoom", "15"], "give SOUTH,WEST,NORTH,EAST"),
        (["--area", "48,2,49,3", "--zoom", "15"], "Blue Marble is too coarse"),
        (["--area", "48,2,49,3", "--zoom", "15", "--source", "Nobody.Nothing"], "Nobody.Nothing"),
    ],
)
def test_what_is_missing_is_said(
    home: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tiles(home, "never", *options) == 2
    assert message in capsys.readouterr().err
    assert not (home / "atlases" / "never").exists()
