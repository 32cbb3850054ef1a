"""Photos encoded on Ray's workers: what one process gives, also where workers die and builds are cut off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
from typing_extensions import override

from core.errors import UserError
from core.files import write_atomic
from geo.point import Point
from retrieval.atlas.atlas import open_atlas
from retrieval.atlas.build import build_photo_atlas
from retrieval.atlas.engines import EncodingEngine, make_engine
from retrieval.atlas.failures import read_failures
from retrieval.atlas.manifest import MANIFEST_FILE, SHARD_FOLDER, draft_of, read_manifest
from retrieval.atlas.sources import PhotoItem
from retrieval.encoders.base import PhotoVectors
from retrieval.photos.collections import open_collection
from retrieval.photos.photo import Photo, PhotoError
from retrieval.stores.base import ServerSettings
from tests.fakes.atlas_items import WaveEncoder
from tests.fakes.photo_files import jpeg, truncated_jpeg
from tests.fakes.services.qdrant_rest import fake_qdrant
from tests.fakes.tool_calls import Answering, Reply, Server

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="ray comes with the ray extra")
COUNT = 160


class NotingEncoder(WaveEncoder):
    """Takes a while, and says in a folder which processes encoded how many batches."""

    def __init__(self, folder: Path, pause_s: float) -> None:
        super().__init__()
        self._folder, self._pause_s = folder, pause_s

    @override
    def encode_photos(self, photos: Sequence[Photo]) -> PhotoVectors:
        with (self._folder / str(os.getpid())).open("a") as stream:
            stream.write("x")
        time.sleep(self._pause_s)
        return super().encode_photos(photos)


@pytest.fixture(scope="module", autouse=True)
def two_workers() -> Iterator[None]:
    """One start of Ray for all tests."""
    make_engine("ray", WaveEncoder)
    from retrieval.atlas.ray_engine import connected

    with connected(None, 2):
        yield


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[PhotoItem]:
    folder = tmp_path_factory.mktemp("photos")
    paths = [jpeg(folder / f"{i:03d}.jpg", i) for i in range(COUNT)]
    truncated_jpeg(paths[40])
    paths[90].unlink()
    return [PhotoItem(path.name, path, Point(lat=i / 3, lon=-i), "ann") for i, path in enumerate(paths)]


@pytest.fixture(scope="module")
def local(items: list[PhotoItem], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The atlas that one process builds."""
    folder = tmp_path_factory.mktemp("local") / "mine"
    build_photo_atlas(folder, WaveEncoder(), items)
    return folder


def assert_same(folder: Path, local: Path) -> None:
    """The manifest holds a checksum of every item with every bit of its vector."""
    assert json.loads((folder / MANIFEST_FILE).read_text()) == json.loads((local / MANIFEST_FILE).read_text())
    assert read_failures(folder) == read_failures(local)
    assert not (folder / SHARD_FOLDER).exists()


def engine(notes: Path, pause_s: float = 0.0) -> EncodingEngine:
    notes.mkdir(exist_ok=True)
    made = make_engine("ray", partial(NotingEncoder, notes, pause_s))
    assert made is not None
    return made


def batches(notes: Path) -> int:
    return sum(file.stat().st_size for file in notes.iterdir())


def test_workers_give_what_one_process_gives(items: list[PhotoItem], local: Path, tmp_path: Path) -> None:
    reports: list[tuple[int, int]] = []
    folder = tmp_path / "mine"
    build_photo_atlas(
        folder, WaveEncoder(), items, engine=engine(tmp_path / "n"), progress=lambda *r: reports.append(r)
    )
    assert_same(folder, local)
    assert reports[-1] == (COUNT, COUNT)
    assert str(os.getpid()) not in {file.name for file in (tmp_path / "n").iterdir()}


def test_workers_read_tars_and_web_servers(
    items: list[PhotoItem], local: Path, tmp_path: Path, serve: Callable[[Answering], Server]
) -> None:
    held = {item.item_id: item.path.read_bytes() for item in items if item.path.exists()}
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        for item in items:
            if item.item_id in held:
                tar.add(item.path, item.item_id)
    server = serve(lambda path: Reply(body=held[path[1:]]) if path[1:] in held else Reply(404))
    for number, named in enumerate((str(tmp_path / "photos.tar"), f"http://{server.host}")):
        collection, listed = open_collection(named), list[PhotoItem]()
        for item in items:
            try:
                listed.append(replace(item, file=collection.find(item.item_id)))
            except PhotoError as error:
                listed.append(replace(item, problem=str(error)))
        folder = tmp_path / str(number) / "mine"
        build_photo_atlas(folder, WaveEncoder(), listed, engine=engine(tmp_path / "n"))
        made, plain = read_manifest(folder), read_manifest(local)
        assert (made.checksum, made.count, made.failed) == (plain.checksum, plain.count, plain.failed)


def test_a_server_gets_what_one_process_gives(items: list[PhotoItem], tmp_path: Path) -> None:
    with fake_qdrant() as server:
        settings = ServerSettings(url=server.url)
        plain = build_photo_atlas(tmp_path / "plain", WaveEncoder(), items, store=settings)
        made = build_photo_atlas(tmp_path / "mine", WaveEncoder(), items, store=settings, engine=engine(tmp_path / "n"))
        assert (made.checksum, made.count, made.failed) == (plain.checksum, plain.count, plain.failed)
        with open_atlas(tmp_path / "mine", WaveEncoder(), settings) as atlas:
            assert len(list(atlas.items())) == COUNT - 2


def test_killed_workers_lose_and_double_nothing(items: list[PhotoItem], local: Path, tmp_path: Path) -> None:
    notes, killed = tmp_path / "n", set[str]()
    slow = engine(notes, 0.3)
    over = threading.Event()

    def kill() -> None:
        while len(killed) < 3 and not over.wait(0.05):
            for file in list(notes.iterdir())[:3]:
                if file.name not in killed and len(killed) < 3:
                    os.kill(int(file.name), signal.SIGKILL)
                    killed.add(file.name)

    killer = threading.Thread(target=kill)
    killer.start()
    build_photo_atlas(tmp_path / "mine", WaveEncoder(), items, engine=slow)
    over.set()
    killer.join()
    assert len(killed) == 3
    assert_same(tmp_path / "mine", local)


class DeadlyEncoder(WaveEncoder):
    """Ends its process, as a decoder that crashes does, over a photo of a name, or over as many at once."""

    def __init__(self, name: str, photos: int) -> None:
        super().__init__()
        self._name, self._photos = name, photos

    @override
    def encode_photos(self, photos: Sequence[Photo]) -> PhotoVectors:
        if len(photos) >= self._photos or any(photo.name == self._name for photo in photos):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_photos(photos)


def test_a_photo_that_kills_workers_is_listed_and_the_others_are_stored(
    items: list[PhotoItem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.atlas.ray_engine.MAX_DEATHS", 1)
    first = items[:32]
    deadly = make_engine("ray", partial(DeadlyEncoder, "005.jpg", 99))
    manifest = build_photo_atlas(tmp_path / "mine", WaveEncoder(), first, engine=deadly)
    (failure,) = read_failures(tmp_path / "mine")
    assert (manifest.count, failure.item_id) == (31, "005.jpg")
    assert "ends the process (tries: 1)" in failure.reason


def test_photos_that_kill_workers_only_together_end_the_build_with_one_error(
    items: list[PhotoItem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.atlas.ray_engine.MAX_DEATHS", 1)
    deadly = make_engine("ray", partial(DeadlyEncoder, "", 2))
    with pytest.raises(UserError, match=r"workers die over the photos 000.jpg to 003.jpg.*take them out"):
        build_photo_atlas(tmp_path / "mine", WaveEncoder(), items[:4], engine=deadly)
    manifest = build_photo_atlas(tmp_path / "mine", WaveEncoder(), items[:4], engine=engine(tmp_path / "n"))
    assert manifest.count == 4


def test_what_a_killed_build_left_of_ray_is_ended_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from retrieval.atlas.ray_engine import end_orphans

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    folders = {name: tmp_path / f"gs-{pid}-abc" for name, pid in (("dead", ended.pid), ("alive", os.getpid()))}
    waiting = [sys.executable, "-c", "import time; time.sleep(600)"]
    agents = {}
    for name, folder in folders.items():
        folder.mkdir()
        agents[name] = subprocess.Popen([*waiting, f"--session={folder}/ray"])
    try:
        end_orphans()
        assert agents["dead"].wait(60.0) == -signal.SIGKILL
        assert agents["alive"].poll() is None
        assert [folder.exists() for folder in folders.values()] == [False, True]
    finally:
        for agent in agents.values():
            agent.kill()
            agent.wait()


def test_an_encoder_that_kills_workers_when_it_is_loaded_is_one_error(
    items: list[PhotoItem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.atlas.ray_engine.MAX_DEATHS", 1)
    deadly = make_engine("ray", partial(os._exit, 1))
    with pytest.raises(UserError, match="the encoder wave cannot be loaded"):
        build_photo_atlas(tmp_path / "mine", WaveEncoder(), items[:4], engine=deadly)


def test_a_build_that_was_cut_off_does_the_rest(items: list[PhotoItem], local: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"

    def stop(done: int, _: int) -> None:
        if done >= 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_photo_atlas(folder, WaveEncoder(), items, engine=engine(tmp_path / "n"), progress=stop)
    kept = sorted((draft_of(folder) / SHARD_FOLDER).iterdir())
    assert len(kept) >= 4
    damaged = bytearray(kept[0].read_bytes())
    damaged[len(damaged) // 3] ^= 255
    kept[0].write_bytes(damaged)
    build_photo_atlas(folder, WaveEncoder(), items, engine=engine(tmp_path / "again"))
    assert_same(folder, local)
    assert batches(tmp_path / "again") == COUNT // 16 - len(kept) + 1


def test_a_disk_that_fills_is_one_error_and_what_was_done_is_kept(
    items: list[PhotoItem], local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def full_after_three(path: Path, data: bytes) -> None:
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        write_atomic(path, data)
        written.append(path)

    monkeypatch.setattr("retrieval.atlas.ray_engine.write_atomic", full_after_three)
    with pytest.raises(UserError, match="No space left on device; make room and run the same command"):
        build_photo_atlas(tmp_path / "mine", WaveEncoder(), items, engine=engine(tmp_path / "n"))
    monkeypatch.undo()
    build_photo_atlas(tmp_path / "mine", WaveEncoder(), items, engine=engine(tmp_path / "again"))
    assert_same(tmp_path / "mine", local)
    assert batches(tmp_path / "again") == COUNT // 16 - 3


def test_a_worker_with_another_encoder_is_one_error(items: list[PhotoItem], tmp_path: Path) -> None:
    other = make_engine("ray", partial(WaveEncoder, "2"))
    with pytest.raises(UserError, match="another version of the encoder wave"):
        build_photo_atlas(tmp_path / "mine", WaveEncoder(), items, engine=other)


@pytest.mark.parametrize("text", ["spark", "ray@", "ray://", "local@here"])
def test_an_engine_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="engine"):
        make_engine(text, WaveEncoder)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "retrieval.atlas.ray_engine", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'geosleuth\[ray\]'"):
        make_engine("ray", WaveEncoder)
