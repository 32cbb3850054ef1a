"""Stores whose files are damaged, and disks that fill: one clear error, and never the end of the process."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from retrieval.atlas.atlas import atlas_info, open_atlas
from retrieval.atlas.build import build_gps_atlas
from retrieval.atlas.draft import peak_bytes
from retrieval.atlas.integrity import records_file
from retrieval.atlas.manifest import MANIFEST_FILE, AtlasError, draft_of, read_manifest, write_manifest
from retrieval.stores.base import StoreDamagedError
from retrieval.stores.registry import default_store_settings
from tests.fakes.atlas_items import WaveEncoder, gallery

ROOT = Path(__file__).parents[3]
FEW = 300
QUERY = WaveEncoder().encode_points(np.array([[10.0, 20.0]]))[0]
_MOST_SIMILAR = np.argsort(-(WaveEncoder().encode_points(gallery(FEW)[0]) @ QUERY), kind="stable")[:20]
RIGHT = [f"place-{number}" for number in _MOST_SIMILAR]


def answer(folder: Path) -> list[str]:
    with open_atlas(folder, WaveEncoder()) as atlas:
        return [candidate.item_id for candidate in atlas.search(QUERY, 20)]


def one_error(folder: Path) -> str | None:
    """The message where the atlas is refused; None where it answers."""
    try:
        answer(folder)
    except UserError as error:
        return str(error)
    return None


def build(folder: Path, engine: str = "qdrant-edge", count: int = FEW, *, replace: bool = False) -> None:
    build_gps_atlas(folder, WaveEncoder(), *gallery(count), store=default_store_settings(engine), replace=replace)


@pytest.fixture(scope="module", params=["qdrant-edge", "faiss"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An atlas that is undamaged between examples."""
    if request.param == "faiss":
        pytest.importorskip("faiss")
    folder = tmp_path_factory.mktemp("home") / "atlases" / "world"
    build(folder, request.param)
    return folder


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_flipped_bytes_give_the_right_answer_or_one_error(whole: Path, seed: int) -> None:
    """In every kind of file: were a damaged one read by the engine, this process would end here."""
    chosen = random.Random(seed)
    files = sorted(path for path in whole.rglob("*") if path.is_file() and path.stat().st_size)
    damaged = chosen.choice(files)
    size = damaged.stat().st_size
    where = [chosen.randrange(chosen.choice([min(64, size), size])) for _ in range(chosen.randint(1, 4))]
    flip(damaged, where, bit := chosen.randrange(8))
    try:
        message = one_error(whole)
        assert "\n" not in message if message else answer(whole) == RIGHT
    finally:
        flip(damaged, where, bit)
    assert answer(whole) == RIGHT


def flip(path: Path, offsets: Sequence[int], bit: int) -> None:
    with path.open("r+b") as stream:
        for offset in set(offsets):
            stream.seek(offset)
            (byte,) = stream.read(1)
            stream.seek(offset)
            stream.write(bytes([byte ^ (1 << bit)]))


@pytest.mark.parametrize("change", ["truncated", "gone", "longer"])
def test_a_store_that_lost_or_gained_bytes_is_refused(whole: Path, change: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "world"))
    largest = max((folder / "vectors").rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    if "wal" in largest.parts:
        largest = next((folder / "vectors").rglob("chunk_0.mmap"))
    if change == "gone":
        largest.unlink()
    else:
        with largest.open("r+b") as stream:
            stream.truncate(largest.stat().st_size + (100 if change == "longer" else -100))
    with pytest.raises(StoreDamagedError, match=r"damaged .*--replace"):
        open_atlas(folder, WaveEncoder())
    with pytest.raises(AtlasError, match="there already"):
        build(folder, count=FEW + 1)
    engine = read_manifest(folder).store.engine
    build(folder, engine, replace=True)
    assert answer(folder) == answer(whole)
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def damage_ids(store: Path) -> None:
    """So that the engine panics or aborts when it loads the store."""
    (tracker,) = store.glob("segments/*/mutable_id_tracker.mappings")
    content = bytearray(tracker.read_bytes())
    content[: len(content) // 2] = bytes(byte ^ 0xFF for byte in content[: len(content) // 2])
    tracker.write_bytes(content)


def test_a_store_without_a_list_of_files_is_tried_in_another_process(tmp_path: Path) -> None:
    """As earlier versions built it."""
    folder = tmp_path / "world"
    build(folder)
    records_file(folder / "vectors").unlink()
    right = answer(folder)
    assert records_file(folder / "vectors").exists()
    records_file(folder / "vectors").unlink()
    damage_ids(folder / "vectors")
    with pytest.raises(StoreDamagedError, match="damaged"):
        open_atlas(folder, WaveEncoder())
    build(folder, replace=True)
    assert answer(folder) == right


def test_verifying_a_store_that_the_engine_cannot_read_is_an_error(tmp_path: Path) -> None:
    build(tmp_path / "world")
    damage_ids(tmp_path / "world" / "vectors")
    with pytest.raises(StoreDamagedError, match="the engine cannot read them"):
        open_atlas(tmp_path / "world", WaveEncoder(), for_verification=True)


def cut_off(folder: Path) -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_gps_atlas(folder, WaveEncoder(), *gallery(), progress=stop)


def test_a_half_built_store_that_is_damaged_is_built_from_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "world"
    cut_off(folder)
    assert not folder.exists()
    damage_ids(draft_of(folder) / "vectors")
    build(folder, count=3000)
    with open_atlas(folder, WaveEncoder()) as atlas:
        assert atlas.verify().ok
    assert not draft_of(folder).exists()


def test_what_an_earlier_version_half_built_in_its_own_place_is_gone_on_with(tmp_path: Path) -> None:
    folder = tmp_path / "world"
    cut_off(folder)
    draft_of(folder).rename(folder)
    with pytest.raises(AtlasError, match="half-built"):
        open_atlas(folder, WaveEncoder())
    build(folder, count=3000)
    assert len(answer(folder)) == 20


def test_a_half_built_atlas_is_named_and_another_replaces_it_when_asked(tmp_path: Path) -> None:
    folder = tmp_path / "world"
    cut_off(folder)
    assert atlas_info(folder).manifest.state == "building"
    with pytest.raises(AtlasError, match="--replace"):
        build(folder)
    build(folder, replace=True)
    assert len(answer(folder)) == 20


def test_an_atlas_of_nothing_is_none(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="nothing to build"):
        build_gps_atlas(tmp_path / "empty", WaveEncoder(), [], [])
    assert list(tmp_path.glob("*")) == []
    build(tmp_path / "world")
    found = read_manifest(tmp_path / "world")
    write_manifest(tmp_path / "world", found.model_copy(update={"count": 0, "total": 0}))
    with pytest.raises(AtlasError, match="holds nothing: build it again with --replace"):
        open_atlas(tmp_path / "world", WaveEncoder())


def test_an_atlas_that_is_replaced_is_read_until_the_new_one_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "world"
    build(folder)
    old = answer(folder)

    def read(*_: int) -> None:
        assert answer(folder) == old

    with open_atlas(folder, WaveEncoder()) as still_open:
        build_gps_atlas(folder, WaveEncoder(), *gallery(900), progress=read, replace=True)
        assert len(list(still_open.items())) == FEW
    with open_atlas(folder, WaveEncoder()) as atlas:
        assert len(list(atlas.items())) == 900
    assert sorted(path.name for path in folder.iterdir()) == [
        *(MANIFEST_FILE, "failed.jsonl", "vectors-2", "vectors-2.files.json")
    ]


BUILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from core.errors import UserError
from retrieval.atlas import draft
from retrieval.atlas.build import build_gps_atlas
from tests.fakes.atlas_items import WaveEncoder, gallery
if sys.argv[3] == "unchecked":
    draft.shutil.disk_usage = lambda folder: type("Usage", (), {"free": 1 << 60})
try:
    build_gps_atlas(Path(sys.argv[1]), WaveEncoder(), *gallery())
except UserError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk, and not everywhere")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("first", ["checked", "unchecked"])
def test_a_disk_that_is_full_is_an_error_and_harms_nothing_later(small_disk: Path, first: str) -> None:
    """`unchecked`: as if something else filled the disk after the check; the engine is then killed by a signal."""
    command = [sys.executable, "-c", BUILD, str(small_disk / "world"), str(ROOT)]
    done = subprocess.run([*command, first], capture_output=True, text=True, check=False)
    assert done.returncode
    for _ in range(2):
        again = subprocess.run([*command, "checked"], capture_output=True, text=True, check=False)
        assert (again.returncode, again.stderr.count("\n")) == (1, 1), again.stderr
        assert "MB free: make room" in again.stderr
    assert not (small_disk / "world").exists()
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    finished = subprocess.run([*command, "checked"], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert len(answer(small_disk / "world")) == 20


def test_the_room_that_a_build_takes_is_refused_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=peak_bytes(FEW, 8) - 1))
    with pytest.raises(AtlasError, match=r"an atlas of 300 items needs about \d+ MB, and the disk of .* make room"):
        build(tmp_path / "world")
    assert json.loads((draft_of(tmp_path / "world") / MANIFEST_FILE).read_text())["state"] == "building"
    monkeypatch.undo()
    build(tmp_path / "world")
    assert len(answer(tmp_path / "world")) == 20
