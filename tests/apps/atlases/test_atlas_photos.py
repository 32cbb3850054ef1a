"""`geosleuth atlas build` and `add` of photos: in a folder, in tars, on a web server."""

from __future__ import annotations

import json
import signal
import subprocess
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

from tests.apps.conftest import Run, command, environment
from tests.apps.test_cli_locate import assert_one_line_error
from tests.fakes.photo_files import jpeg, text_named_jpg
from tests.fakes.tool_calls import Answering, Reply, Server


def test_a_photo_atlas_is_built_from_a_table(geosleuth: Run, encoder: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    names = [jpeg(photos / f"{i}.jpg", seed=i).name for i in range(4)]
    text_named_jpg(photos / "bad.jpg")
    rows = [f"{name},{10 + i},{20 + i},me" for i, name in enumerate([*names, "bad.jpg"])]
    table = tmp_path / "photos.csv"
    table.write_text("\n".join(["file,lat,lon,author", *rows]))
    columns = ("--file-column", "file", "--lat-column", "lat", "--lon-column", "lon")
    build = ("atlas", "build", "mine", "--photos", photos, "--table", table, *columns, "--encoder", encoder)
    run = geosleuth(*build, home=tmp_path / "home")
    assert run.returncode == 0, run.stderr
    assert "atlas mine: 4 items, 1 could not be used" in run.stderr
    search = ("atlas", "search", "mine", photos / "2.jpg", "--encoder", encoder, "--json")
    best = json.loads(geosleuth(*search, home=tmp_path / "home").stdout)[0]
    assert (best["item_id"], best["point"]) == ("2.jpg", {"lat": 12.0, "lon": 22.0})
    assert geosleuth(*build, home=tmp_path / "home").returncode == 0  # the same build again changes nothing
    jpeg(photos / "new.jpg", seed=9)
    table.write_text("\n".join(["file,lat,lon,author", *rows, "new.jpg,1,2,me"]))
    add = ("atlas", "add", *build[2:])
    added = geosleuth(*add, home=tmp_path / "home")
    assert added.returncode == 0, added.stderr
    assert "1 photo added, 4 in the atlas already\natlas mine: 5 items, 1 could not be used" in added.stderr


def test_photos_in_tars_and_on_a_web_server(
    geosleuth: Run, encoder: Path, tmp_path: Path, serve: Callable[[Answering], Server]
) -> None:
    files = [jpeg(tmp_path / "photos" / f"{i}.jpg", seed=i) for i in range(3)]
    for file in files:
        with tarfile.open(tmp_path / f"{file.stem}.tar", "w") as tar:
            tar.add(file, file.name)
    held = {f"/{file.name}": file.read_bytes() for file in files}
    server = serve(lambda path: Reply(body=held[path]) if path in held else Reply(404))
    table, options = tmp_path / "t.csv", ("--encoder", encoder)
    address = f"http://{server.host}"
    table.write_text(
        "\n".join(["IMG_ID,LAT,LON", *(f"{address}/{i}.jpg,{i},{i}" for i in range(4)), "http://a/1.jpg,1,1"])
    )
    made = geosleuth("atlas", "build", "web", "--photos", address, "--table", table, *options, home=tmp_path / "home")
    assert "atlas web: 3 items, 2 could not be used" in made.stderr
    failed = (tmp_path / "home" / "atlases" / "web" / "failed.jsonl").read_text()
    assert "/3.jpg: is not there" in failed
    assert "http://a/1.jpg: does not begin with http://127.0.0.1" in failed
    table.write_text("\n".join(["IMG_ID,LAT,LON", *(f"{i}.jpg,{i},{i}" for i in range(3))]))
    tars = ("--photos", tmp_path / "*.tar", "--table", table, *options)
    assert "0 photos added, 3 in" in geosleuth("atlas", "add", "web", *tars, home=tmp_path / "home").stderr
    made = geosleuth("atlas", "build", "tars", *tars, home=tmp_path / "home")
    assert "atlas tars: 3 items" in made.stderr
    unlisted = geosleuth("atlas", "build", "x", "--photos", "https://a.example", *options, home=tmp_path / "home")
    assert_one_line_error(unlisted, "cannot be listed: give a table")


def test_an_interrupted_build_does_not_wait_for_a_server(
    encoder: Path, tmp_path: Path, serve: Callable[[Answering], Server]
) -> None:
    asked, over = threading.Event(), threading.Event()

    def answer(_: str) -> Reply:
        asked.set()
        over.wait(60.0)
        return Reply(404)

    (tmp_path / "t.csv").write_text("IMG_ID,LAT,LON\na.jpg,1,1\n")
    address = f"http://{serve(answer).host}"
    build = ("atlas", "build", "web", "--photos", address, "--table", tmp_path / "t.csv", "--encoder", encoder)
    with subprocess.Popen(command(*build), env=environment(tmp_path / "home"), stderr=subprocess.PIPE) as process:
        try:
            assert asked.wait(60.0)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30.0)
            assert process.returncode == 130
            assert errors.splitlines()[-1] == b"geosleuth: interrupted"
        finally:
            process.kill()
            over.set()
