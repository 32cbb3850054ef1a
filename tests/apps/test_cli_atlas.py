"""`geosleuth atlas`, and atlases that cannot be used."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from retrieval.atlas.atlas import open_atlas
from retrieval.encoders.registry import load_encoder
from tests.apps.conftest import Run, command, environment
from tests.apps.test_cli_locate import assert_one_line_error
from tests.fakes.photo_files import jpeg
from tests.fakes.tiny_encoder import write_tiny_encoder


@pytest.fixture
def own_home(home: Path, tmp_path: Path) -> Path:
    """A copy of the small system's home, to be damaged."""
    return Path(shutil.copytree(home, tmp_path / "home"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return jpeg(tmp_path / "photo.jpg")


def manifest(home: Path) -> Path:
    return home / "atlases" / "small" / "atlas.json"


def test_info_says_what_is_there(geosleuth: Run) -> None:
    run = geosleuth("atlas", "info")
    assert run.returncode == 0
    for wanted in ("small", "gps", "complete", "500", "tiny@", "qdrant-edge"):
        assert wanted in run.stdout
    (found,) = json.loads(geosleuth("atlas", "info", "--json").stdout)
    assert found["count"] == 500
    assert found["size_bytes"] > 0


def test_verify_checks_and_tells(geosleuth: Run, encoder: Path) -> None:
    run = geosleuth("atlas", "verify", "small", "--encoder", encoder)
    assert run.returncode == 0
    assert run.stdout.count("ok") == 4
    assert json.loads(geosleuth("atlas", "verify", "small", "--encoder", encoder, "--json").stdout)["ok"] is True


def test_verify_finds_a_wrong_checksum(geosleuth: Run, encoder: Path, own_home: Path) -> None:
    fields = json.loads(manifest(own_home).read_text())
    manifest(own_home).write_text(json.dumps(fields | {"checksum": "0" * 64}))
    run = geosleuth("atlas", "verify", "small", "--encoder", encoder, home=own_home)
    assert run.returncode == 1
    assert "WRONG  checksum" in run.stdout


def test_search_lists_the_most_similar_items(geosleuth: Run, encoder: Path, photo: Path) -> None:
    run = geosleuth("atlas", "search", "small", photo, "--limit", "7", "--encoder", encoder, "--json")
    found = json.loads(run.stdout)
    assert [item["rank"] for item in found] == list(range(7))
    near = ("--near", "35,105,1500")
    close = json.loads(geosleuth("atlas", "search", "small", photo, *near, "--encoder", encoder, "--json").stdout)
    assert close
    assert all(15.0 < item["point"]["lat"] < 55.0 and 80.0 < item["point"]["lon"] < 130.0 for item in close)


@pytest.mark.parametrize("near", ["here", "1,2", "95,0,10", "1,2,-3", "1,2,nan"])
def test_a_wrong_circle_is_a_one_line_error(near: str, geosleuth: Run, photo: Path) -> None:
    assert_one_line_error(geosleuth("atlas", "search", "small", photo, f"--near={near}"), "--near")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("build", "x"), "--gps"),
        (("build", "x", "--photos", "no-*.tar"), "no tar file at"),
        (("build", "../x", "--gps", "5"), "no name for an atlas"),
        (("build", "x", "--gps", "5", "--store", "sqlite"), "qdrant-edge"),
        (("build", "x", "--photos", "nowhere"), "nowhere"),
        (("add", "x"), "--photos"),
        (("add", "x", "--photos", "nowhere"), "nowhere"),
        (("info", "nothing"), "no atlas at"),
        (("verify", "nothing"), "no atlas at"),
        (("frobnicate",), "frobnicate"),
    ],
)
def test_wrong_commands_are_a_one_line_error(
    arguments: Any, wanted: str, geosleuth: Run, encoder: Path, tmp_path: Path
) -> None:
    needs_encoder = arguments[0] in ("add", "build", "verify")
    options = ("--encoder", encoder) if needs_encoder else ()
    assert_one_line_error(geosleuth("atlas", *arguments, *options, home=tmp_path / "home"), wanted)


def test_an_atlas_of_another_encoder_is_refused(geosleuth: Run, photo: Path, tmp_path: Path) -> None:
    other = write_tiny_encoder(tmp_path / "other", seed=1)
    run = geosleuth("locate", photo, "--encoder", other, "--atlas", "small")
    assert_one_line_error(run, "small was made by encoder tiny@")


@pytest.mark.parametrize("text", ["", "{", '{"name": "small"}', "\x00\xff"])
def test_a_damaged_manifest_is_a_one_line_error(
    text: str, geosleuth: Run, system: Any, photo: Path, own_home: Path
) -> None:
    manifest(own_home).write_text(text)
    assert_one_line_error(geosleuth("locate", photo, *system, home=own_home), "damaged", "--replace")


def test_an_atlas_with_a_damaged_manifest_is_replaced(geosleuth: Run, encoder: Path, own_home: Path) -> None:
    manifest(own_home).write_text("{")
    build = ("atlas", "build", "small", "--gps", "500", "--replace", "--encoder", encoder)
    assert geosleuth(*build, home=own_home).returncode == 0


def test_an_atlas_without_vectors_is_a_one_line_error(geosleuth: Run, system: Any, photo: Path, own_home: Path) -> None:
    shutil.rmtree(manifest(own_home).parent / "vectors")
    assert_one_line_error(geosleuth("locate", photo, *system, home=own_home), "small")


def test_damaged_vectors_are_a_one_line_error_and_replaced(
    geosleuth: Run, system: Any, encoder: Path, photo: Path, own_home: Path
) -> None:
    """Bytes at which the engine panics."""
    (tracker,) = manifest(own_home).parent.rglob("mutable_id_tracker.mappings")
    tracker.write_bytes(bytes(byte ^ 0xFF for byte in tracker.read_bytes()))
    assert_one_line_error(geosleuth("locate", photo, *system, home=own_home), "damaged", "--replace")
    assert_one_line_error(geosleuth("atlas", "verify", "small", "--encoder", encoder, home=own_home), "damaged")
    build = ("atlas", "build", "small", "--gps", "500", "--replace", "--encoder", encoder)
    assert geosleuth(*build, home=own_home).returncode == 0
    assert geosleuth("atlas", "verify", "small", "--encoder", encoder, home=own_home).returncode == 0


def test_a_half_built_atlas_is_a_one_line_error(geosleuth: Run, system: Any, photo: Path, own_home: Path) -> None:
    fields = json.loads(manifest(own_home).read_text())
    manifest(own_home).write_text(json.dumps(fields | {"state": "building"}))
    assert_one_line_error(geosleuth("locate", photo, *system, home=own_home), "half-built", "same build again")


HOLD = """
import sys
from pathlib import Path
from retrieval.atlas.atlas import open_atlas
from retrieval.encoders.registry import load_encoder
with open_atlas(Path(sys.argv[1]), load_encoder(sys.argv[2])):
    sys.stdout.write("held\\n"); sys.stdout.flush()
    sys.stdin.read()
"""


@pytest.fixture
def held(own_home: Path, encoder: Path) -> Iterator[Path]:
    """The home while another process has its atlas open."""
    arguments = [sys.executable, "-c", HOLD, str(manifest(own_home).parent), str(encoder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, env=environment(own_home), stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield own_home
        holder.communicate("")


def test_an_atlas_that_another_process_reads_is_read(geosleuth: Run, system: Any, photo: Path, held: Path) -> None:
    run = geosleuth("locate", photo, *system, home=held)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("count", [2, 8])
def test_processes_read_one_atlas_at_once_while_another_is_built(
    count: int, system: Any, encoder: Path, photo: Path, own_home: Path
) -> None:
    pipe, where = subprocess.PIPE, environment(own_home)
    build = command("atlas", "build", "other", "--gps", "5000", "--encoder", encoder)
    locate = command("locate", photo, *system, "--json")
    with ExitStack() as started:
        builder = started.enter_context(subprocess.Popen(build, env=where, stderr=pipe, text=True))
        readers = [
            started.enter_context(subprocess.Popen(locate, env=where, stdout=pipe, stderr=pipe, text=True))
            for _ in range(count)
        ]
        printed = [reader.communicate(timeout=300) for reader in readers]
        assert (builder.wait(300), [reader.returncode for reader in readers]) == (0, [0] * count), printed
    points = {json.dumps(json.loads(out)["point"]) for out, _ in printed}
    assert len(points) == 1
    assert {errors for _, errors in printed} == {""}


def test_processes_that_find_no_atlas_of_the_world_build_it_once(system: Any, photo: Path, tmp_path: Path) -> None:
    """The other waits for it, and both answer."""
    home, pipe = tmp_path / "home", subprocess.PIPE
    locate = command("locate", photo, *system, "--atlas", "world", "--json")
    locate.remove("small")
    locate.remove("--atlas")
    with ExitStack() as started:
        both = [
            started.enter_context(subprocess.Popen(locate, env=environment(home), stdout=pipe, stderr=pipe, text=True))
            for _ in range(2)
        ]
        printed = [one.communicate(timeout=300) for one in both]
    assert [one.returncode for one in both] == [0, 0], printed
    assert sum("Building the atlas" in errors for _, errors in printed) == 1, printed


def test_an_atlas_that_is_named_twice_is_one_atlas(geosleuth: Run, system: Any, photo: Path) -> None:
    run = geosleuth("locate", photo, *system, "--atlas", "small", "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["versions"]["atlases"] == ["small"]


def test_the_console_script_and_the_module_are_the_same(home: Path) -> None:
    script = Path(sys.executable).with_name("geosleuth")
    if not script.exists():
        pytest.skip("the package is not installed here, so there is no console script")
    as_script = subprocess.run(
        [str(script), "--help"], capture_output=True, text=True, env=environment(home), check=True
    )
    as_module = subprocess.run(command("--help"), capture_output=True, text=True, env=environment(home), check=True)
    assert as_script.stdout == as_module.stdout


def test_an_atlas_is_built_with_the_settings_that_a_plan_prints(geosleuth: Run, encoder: Path, own_home: Path) -> None:
    build = ("atlas", "build", "graph", "--gps", "50", "--encoder", encoder, "--store-settings")
    assert geosleuth(*build, '{"index": "hnsw", "hnsw": {"m": 24}}', home=own_home).returncode == 0
    (found,) = json.loads(geosleuth("atlas", "info", "graph", "--json", home=own_home).stdout)
    assert found["store"]["index"] == "hnsw"
    assert found["store"]["hnsw"] == {"m": 24, "ef_construct": 128, "ef_search": 2048}
    assert_one_line_error(geosleuth(*build, '{"shards": 3}', home=own_home), "store qdrant-edge: shards")


def test_an_atlas_moves_in_a_file(geosleuth: Run, encoder: Path, tmp_path: Path) -> None:
    file = tmp_path / "small.tar"
    assert "500 items in" in geosleuth("atlas", "snapshot", "small", "--to", file).stderr
    restored = geosleuth("atlas", "restore", file, "--name", "copy", home=tmp_path / "home")
    assert restored.stderr.strip() == "atlas copy: 500 items"
    assert geosleuth("atlas", "verify", "copy", "--encoder", encoder, home=tmp_path / "home").returncode == 0
    assert_one_line_error(geosleuth("atlas", "restore", file, "--name", "copy", home=tmp_path / "home"), "--replace")


def test_an_atlas_becomes_a_table(geosleuth: Run, encoder: Path, home: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "small.parquet"
    assert "atlas small: 500 items in" in geosleuth("atlas", "export", "small", "--to", file).stderr
    table = parquet.read_table(file)
    assert json.loads(table.schema.metadata[b"geosleuth"])["name"] == "small"
    with open_atlas(home / "atlases" / "small", load_encoder(encoder)) as atlas:
        for page in atlas.pages():
            for item, vector in zip(page.items, page.vectors, strict=True):
                row = table.slice(item.id, 1).to_pylist()[0]
                assert (row["id"], row["item_id"]) == (item.id, item.item_id)
                assert (row["lat"], row["lon"]) == (item.point.lat, item.point.lon)
                assert row["vector"] == vector.tolist()
    assert_one_line_error(geosleuth("atlas", "export", "small", "--to", file), "is there already")
    assert_one_line_error(geosleuth("atlas", "export", "small", "--to", tmp_path / "no" / "a.parquet"), "no folder")


def test_a_plan_says_what_was_measured(geosleuth: Run) -> None:
    shown = geosleuth("atlas", "plan", "--photos", "10000000")
    assert shown.returncode == 0
    for wanted in ("qdrant-server: shards=1", "quantisation=int8", "5.31 GB", "estimate", "here 1,000,000"):
        assert wanted in shown.stdout
    assert (
        """--store-settings '{"quantisation": "int8", "on_disk": true, "hnsw": {"ef_search": 2048}}'""" in shown.stdout
    )
    plan = json.loads(geosleuth("atlas", "plan", "--photos", "100000", "--dim", "1024", "--json").stdout)
    assert plan["store"]["index"] == "scan"
    assert {"name": "memory", "value": 0.45, "unit": "GB"}.items() <= plan["values"][0].items()
    assert_one_line_error(geosleuth("atlas", "plan", "--photos", "10", "--machine-gb", "nan"), "machine_gb is nan")
    assert "Builds nothing" in geosleuth("atlas", "plan", "--help").stdout
