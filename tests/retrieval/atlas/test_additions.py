"""Photos added to an atlas: once each, resumable, and unseen by readers until they are all there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from geo.point import Point
from retrieval.atlas.additions import add_photos
from retrieval.atlas.atlas import open_atlas
from retrieval.atlas.build import build_gps_atlas, build_photo_atlas
from retrieval.atlas.draft import atlas_lock
from retrieval.atlas.failures import read_failures
from retrieval.atlas.integrity import record_files
from retrieval.atlas.manifest import AtlasError, draft_of, read_manifest, write_manifest
from retrieval.atlas.sources import PhotoItem
from retrieval.atlas.verify import store_checksum
from retrieval.encoders.base import PhotoVectors
from retrieval.photos.photo import Photo
from retrieval.stores.base import EdgeSettings, StoredItem
from retrieval.stores.registry import StorePlace, default_store_settings, open_store
from tests.fakes.atlas_items import DIM, WaveEncoder, gallery
from tests.fakes.photo_files import jpeg

ROOT = Path(__file__).parents[3]


def photos(folder: Path, numbers: range, author: str | None = None) -> list[PhotoItem]:
    """Photos that differ, each at a place of its own."""
    return [
        PhotoItem(f"{i}.jpg", jpeg(folder / f"{i}.jpg", seed=i), Point(lat=i / 4, lon=i / 2), author) for i in numbers
    ]


def contents(folder: Path) -> dict[str, tuple[int, str | None, Point]]:
    with open_atlas(folder, WaveEncoder()) as atlas:
        assert atlas.verify().ok
        return {item.item_id: (item.id, item.extra.get("author"), item.point) for item in atlas.items()}


@pytest.mark.parametrize("engine", ["qdrant-edge", "faiss"])
def test_photos_are_added_once(engine: str, tmp_path: Path) -> None:
    if engine == "faiss":
        pytest.importorskip("faiss")
    folder, store = tmp_path / "mine", default_store_settings(engine)
    first = photos(tmp_path / "a", range(3), "ann")
    build_photo_atlas(folder, WaveEncoder(), first, source="a", store=store)
    more = [*photos(tmp_path / "b", range(2, 6), "bob"), PhotoItem("again.jpg", tmp_path / "b" / "5.jpg")]
    done = add_photos(folder, WaveEncoder(), more, source="b")
    assert (done.added, done.skipped, done.manifest.count, done.manifest.total) == (3, 2, 6, 6)
    found = contents(folder)
    assert [name for name, _ in sorted(found.items(), key=lambda pair: pair[1])] == [f"{i}.jpg" for i in range(6)]
    assert [found[f"{i}.jpg"][1] for i in range(6)] == ["ann"] * 3 + ["bob"] * 3
    manifest = read_manifest(folder)
    assert (manifest.sources, manifest.added[0].total, manifest.failed) == ("a; b", 3, 0)
    assert add_photos(folder, WaveEncoder(), more, source="b")[1:] == (0, 5)
    assert build_photo_atlas(folder, WaveEncoder(), first, source="a", store=store) == read_manifest(folder) == manifest


def test_the_result_is_that_of_one_build(tmp_path: Path) -> None:
    everything = photos(tmp_path / "a", range(5), "ann")
    whole = build_photo_atlas(tmp_path / "whole", WaveEncoder(), everything)
    build_photo_atlas(tmp_path / "grown", WaveEncoder(), everything[:2])
    for start in (2, 4):
        add_photos(tmp_path / "grown", WaveEncoder(), everything[: start + 2])
    assert read_manifest(tmp_path / "grown").checksum == whole.checksum


def test_another_photo_of_the_same_name_gets_a_name_of_its_own(tmp_path: Path) -> None:
    build_photo_atlas(tmp_path / "mine", WaveEncoder(), photos(tmp_path / "a", range(2)))
    other = PhotoItem("0.jpg", jpeg(tmp_path / "card" / "0.jpg", seed=9), Point(lat=50, lon=50))
    assert add_photos(tmp_path / "mine", WaveEncoder(), [other]).added == 1
    (new,) = set(contents(tmp_path / "mine")) - {"0.jpg", "1.jpg"}
    assert new.startswith("0-")
    assert new.endswith(".jpg")
    assert contents(tmp_path / "mine")[new][2] == Point(lat=50, lon=50)


def test_a_failed_photo_is_tried_again_in_its_old_place(tmp_path: Path) -> None:
    items = photos(tmp_path / "a", range(3))
    content = items[1].path.read_bytes()
    items[1].path.write_bytes(b"no photo")
    build_photo_atlas(tmp_path / "mine", WaveEncoder(), items)
    for _ in range(2):
        done = add_photos(tmp_path / "mine", WaveEncoder(), items)
        assert (done.added, done.skipped) == (0, 2)
        assert (done.manifest.total, done.manifest.count, done.manifest.failed) == (3, 2, 1)
    assert [failure.item_id for failure in read_failures(tmp_path / "mine")] == ["1.jpg"]
    items[1].path.write_bytes(content)
    done = add_photos(tmp_path / "mine", WaveEncoder(), items)
    assert (done.added, done.manifest.total, done.manifest.failed) == (1, 3, 0)
    assert contents(tmp_path / "mine")["1.jpg"][0] == 1
    assert read_failures(tmp_path / "mine") == []


def test_items_of_an_atlas_without_hashes_are_known_by_name_and_position(tmp_path: Path) -> None:
    items = photos(tmp_path / "a", range(3))
    build_photo_atlas(tmp_path / "mine", WaveEncoder(), items)
    vectors = tmp_path / "mine" / "vectors"
    with open_store(EdgeSettings(), StorePlace(vectors, "mine", DIM)) as store:
        page = next(store.scroll())
        store.upsert([StoredItem(item.id, item.point, item.item_id) for item in page.items], page.vectors)
        checksum = store_checksum(store)
        store.flush()
    record_files(vectors)
    write_manifest(tmp_path / "mine", read_manifest(tmp_path / "mine").model_copy(update={"checksum": checksum}))
    moved = PhotoItem("2.jpg", items[2].path, Point(lat=60, lon=60))
    assert add_photos(tmp_path / "mine", WaveEncoder(), [*items[:2], moved])[1:] == (1, 2)


def test_what_cannot_be_added_to_is_refused(tmp_path: Path) -> None:
    items = photos(tmp_path / "a", range(2))
    build_gps_atlas(tmp_path / "places", WaveEncoder(), *gallery(10))
    build_photo_atlas(tmp_path / "mine", WaveEncoder(), items[:1])
    with pytest.raises(AtlasError, match="holds places, not photos"):
        add_photos(tmp_path / "places", WaveEncoder(), items)
    with pytest.raises(AtlasError, match="no atlas at"):
        add_photos(tmp_path / "none", WaveEncoder(), items)
    with pytest.raises(AtlasError, match="made by encoder"):
        add_photos(tmp_path / "mine", WaveEncoder("2"), items)
    with atlas_lock(tmp_path / "mine"), pytest.raises(UserError, match="being built by another process"):
        add_photos(tmp_path / "mine", WaveEncoder(), items)
    assert set(contents(tmp_path / "mine")) == {"0.jpg"}


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from retrieval.atlas import additions, draft
from tests.fakes.atlas_items import WaveEncoder
from tests.retrieval.atlas.test_additions import photos
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
folder, when = Path(sys.argv[1]), sys.argv[4]
if when == "copy":
    additions.shutil.copytree = die
if when == "publish":
    draft.record_files = die
if when == "swap":
    draft.write_manifest = lambda f, manifest, write=draft.write_manifest: (f == folder and die(), write(f, manifest))
progress = die if when == "encode" else None
additions.add_photos(folder, WaveEncoder(), photos(Path(sys.argv[2]), range(20)), source="b", progress=progress)
"""


@pytest.mark.parametrize("when", ["copy", "encode", "publish", "swap"])
def test_an_addition_that_is_killed_goes_on_and_readers_see_the_old_state(when: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    build_photo_atlas(folder, WaveEncoder(), photos(tmp_path / "a", range(2)))
    before = contents(folder)
    command = [sys.executable, "-c", KILLED, str(folder), str(tmp_path / "b"), str(ROOT), when]
    killed = subprocess.run(command, capture_output=True, check=False, env=dict(os.environ))
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert contents(folder) == before
    encoded: list[int] = []

    class CountingEncoder(WaveEncoder):
        def encode_photos(self, photos: Sequence[Photo]) -> PhotoVectors:
            encoded.append(len(photos))
            return super().encode_photos(photos)

    done = add_photos(folder, CountingEncoder(), photos(tmp_path / "b", range(20)), source="b")
    assert (done.added, done.skipped) == (18, 2)
    assert sum(encoded) == {"encode": 2, "publish": 0}.get(when, 18), "what was stored before the kill is kept"
    assert set(contents(folder)) == {f"{i}.jpg" for i in range(20)}
    assert not draft_of(folder).exists()
    assert len(list(folder.glob("vectors*"))) == 2


def test_readers_are_undisturbed_while_photos_are_added(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    build_photo_atlas(folder, WaveEncoder(), photos(tmp_path / "a", range(2)))
    query = np.full(DIM, DIM**-0.5, dtype=np.float32)
    with open_atlas(folder, WaveEncoder()) as atlas:

        def read(*_: int) -> None:
            assert set(contents(folder)) == {candidate.item_id for candidate in atlas.search(query, 9)}

        add_photos(folder, WaveEncoder(), photos(tmp_path / "b", range(4)), progress=read)
        assert len(atlas.search(query, 9)) == 2
    assert len(contents(folder)) == 4
