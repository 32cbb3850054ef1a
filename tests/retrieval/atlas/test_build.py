"""Atlases: built, cut off, finished, opened, searched, verified, refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import qdrant_edge

from core.errors import UserError
from geo.point import Point
from geo.sphere import point_distance_km
from retrieval.atlas.atlas import atlas_info, list_atlases, open_atlas
from retrieval.atlas.build import build_gps_atlas
from retrieval.atlas.draft import atlas_lock
from retrieval.atlas.integrity import record_files
from retrieval.atlas.manifest import MANIFEST_FILE, AtlasError, AtlasManifest, read_manifest
from retrieval.candidate import AtlasKind
from retrieval.stores.base import EdgeSettings, StoreDamagedError, StoredItem, StoreLockedError
from retrieval.stores.filters import Near
from retrieval.stores.registry import StorePlace, default_store_settings, open_store
from tests.fakes.atlas_items import COUNT, DIM, WaveEncoder, gallery

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished GPS atlas; tests must not change it."""
    folder = tmp_path_factory.mktemp("home") / "atlases" / "world"
    build_gps_atlas(folder, WaveEncoder(), *gallery(), source="random places")
    return folder


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "world"))


def test_a_position_finds_itself(built: Path) -> None:
    positions, names = gallery()
    with open_atlas(built, WaveEncoder()) as atlas:
        assert (atlas.name, atlas.kind, len(atlas)) == ("world", AtlasKind.GPS, COUNT)
        best, *others = atlas.search(WaveEncoder().encode_points(positions[77:78])[0], 5)
    assert (best.item_id, best.atlas, best.kind, best.rank) == (names[77], "world", AtlasKind.GPS, 0)
    assert (best.point.lat, best.point.lon) == tuple(positions[77])
    assert best.similarity == pytest.approx(1.0, abs=1e-5)
    assert [candidate.rank for candidate in others] == [1, 2, 3, 4]


def test_search_near_a_point_and_without_an_item(built: Path) -> None:
    positions, names = gallery()
    near = Near(Point(lat=-89.0, lon=10.0), 900.0)
    expected = {
        name for name, (lat, lon) in zip(names, positions, strict=True) if near.contains(Point(lat=lat, lon=lon))
    }
    left_out = min(expected)
    query = WaveEncoder().encode_points(positions[:1])[0]
    with open_atlas(built, WaveEncoder()) as atlas:
        assert {c.item_id for c in atlas.search(query, COUNT, near=near)} == expected
        found = atlas.search(query, COUNT, near=near, exclude={"item_id": [left_out]})
    assert {c.item_id for c in found} == expected - {left_out}


def test_a_spread_search_keeps_the_best_of_each_neighbourhood(built: Path) -> None:
    positions, _ = gallery()
    with open_atlas(built, WaveEncoder()) as atlas:
        query = WaveEncoder().encode_points(positions[5:6])[0]
        everything = atlas.search(query, COUNT)
        found = atlas.search_spread(query, 3, 2000.0, COUNT)
    assert [candidate.rank for candidate in found] == [0, 1, 2]
    assert found[0] == everything[0]
    assert all(km >= 2000.0 for km in (point_distance_km(a.point, b.point) for a, b in combinations(found, 2)))
    items = [candidate.item_id for candidate in everything]
    skipped = everything[: items.index(found[2].item_id)]
    assert all(min(point_distance_km(c.point, kept.point) for kept in found[:2]) <= 2000.0 for c in skipped)


def test_manifest_info_and_listing(built: Path) -> None:
    info = atlas_info(built)
    assert info.manifest.state == "complete"
    assert (info.manifest.count, info.manifest.total, info.manifest.failed) == (COUNT, COUNT, 0)
    assert info.manifest.source == "random places"
    assert info.size_bytes > COUNT * DIM * 4
    assert list_atlases(built.parent.parent) == [built]
    assert list_atlases(built) == []


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    build_gps_atlas(tmp_path / "a", WaveEncoder(), *gallery(), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2048, COUNT), (COUNT, COUNT)]


def test_a_good_atlas_verifies(built: Path) -> None:
    with open_atlas(built, WaveEncoder()) as atlas:
        verification = atlas.verify()
    assert verification.ok, verification
    assert [check.name for check in verification.checks] == ["count", "checksum", "vectors normalised", "self-search"]


def test_verify_sees_a_changed_and_a_lost_item(copy: Path) -> None:
    with open_store(EdgeSettings(), StorePlace(copy / "vectors", "world", DIM)) as store:
        page = next(store.scroll(5))
        moved = StoredItem(0, Point(lat=1, lon=1), page.items[0].item_id)
        store.upsert([moved], page.vectors[:1])
    with pytest.raises(StoreDamagedError, match="has changed"):
        open_atlas(copy, WaveEncoder())
    with open_atlas(copy, WaveEncoder(), for_verification=True) as atlas:
        assert [check.name for check in atlas.verify().checks if not check.ok] == ["checksum"]
    shard = qdrant_edge.EdgeShard.load(str(copy / "vectors"))
    shard.update(qdrant_edge.UpdateOperation.delete_points([5]))
    shard.close()
    record_files(copy / "vectors")
    with pytest.raises(AtlasError, match=r"2,999 of its 3,000 items: .* build it again"):
        open_atlas(copy, WaveEncoder())
    with open_atlas(copy, WaveEncoder(), for_verification=True) as atlas:
        assert [check.name for check in atlas.verify().checks if not check.ok] == ["count", "checksum"]


KILLED_BUILD = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.fakes.atlas_items import WaveEncoder, gallery
from retrieval.atlas.build import build_gps_atlas
from retrieval.stores.registry import default_store_settings
def progress(done, total):
    os.kill(os.getpid(), signal.SIGKILL)
settings = default_store_settings(sys.argv[3])
build_gps_atlas(Path(sys.argv[1]), WaveEncoder(), *gallery(), store=settings, progress=progress)
"""


@pytest.mark.parametrize("engine", ["qdrant-edge", "faiss"])
def test_a_killed_build_resumes_with_nothing_lost_or_doubled(engine: str, tmp_path: Path) -> None:
    folder = tmp_path / "world"
    command = [sys.executable, "-c", KILLED_BUILD, str(folder), str(ROOT), engine]
    killed = subprocess.run(command, capture_output=True, env=dict(os.environ), check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    with pytest.raises(AtlasError, match="half-built: run the same build again"):
        open_atlas(folder, WaveEncoder())
    encoded: list[int] = []

    class CountingEncoder(WaveEncoder):
        def encode_points(self, lat_lon_deg: np.ndarray) -> np.ndarray:
            encoded.append(len(lat_lon_deg))
            return super().encode_points(lat_lon_deg)

    manifest = build_gps_atlas(folder, CountingEncoder(), *gallery(), store=default_store_settings(engine))
    assert encoded == [COUNT - 2048], "what was stored before the kill is not made again"
    assert manifest.count == COUNT
    with open_atlas(folder, WaveEncoder()) as atlas:
        assert atlas.verify().ok
        query = WaveEncoder().encode_points(np.zeros((1, 2)))[0]
        everything = atlas.search(query, COUNT + 1, near=Near(Point(lat=0, lon=0), 30_000.0))
    assert sorted(c.item_id for c in everything) == sorted(gallery()[1])


def test_a_build_resumed_gives_the_checksum_of_one_not_cut_off(built: Path, tmp_path: Path) -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_gps_atlas(tmp_path / "world", WaveEncoder(), *gallery(), progress=stop)
    resumed = build_gps_atlas(tmp_path / "world", WaveEncoder(), *gallery())
    assert resumed.checksum == read_manifest(built).checksum


@pytest.mark.parametrize("change", ["items", "store", "encoder"])
def test_only_the_same_build_resumes(change: str, tmp_path: Path) -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    positions, names = gallery(100)
    with pytest.raises(KeyboardInterrupt):
        build_gps_atlas(tmp_path / "a", WaveEncoder(), positions, names, progress=stop)
    other = positions + 0.1 if change == "items" else positions
    encoder = WaveEncoder("2" if change == "encoder" else "1")
    store = default_store_settings("faiss" if change == "store" else "qdrant-edge")
    message = "made by encoder" if change == "encoder" else "other items or in another store"
    with pytest.raises(AtlasError, match=message):
        build_gps_atlas(tmp_path / "a", encoder, other.clip(-90, 90), names, store=store)


def test_a_complete_atlas_is_not_built_over(built: Path) -> None:
    with pytest.raises(AtlasError, match="there already"):
        build_gps_atlas(built, WaveEncoder(), *gallery(10))


def test_the_same_build_again_changes_nothing(copy: Path) -> None:
    before = read_manifest(copy)
    assert build_gps_atlas(copy, WaveEncoder(), *gallery()) == before == read_manifest(copy)


def test_two_builds_of_one_atlas_are_refused_or_wait(copy: Path) -> None:
    with atlas_lock(copy), pytest.raises(UserError, match="being built by another process"):
        build_gps_atlas(copy, WaveEncoder(), *gallery())
    done: list[AtlasManifest] = []
    with atlas_lock(copy):
        waiting = threading.Thread(
            target=lambda: done.append(build_gps_atlas(copy, WaveEncoder(), *gallery(), wait=True))
        )
        waiting.start()
        waiting.join(0.5)
        assert not done
    waiting.join(30)
    assert done == [read_manifest(copy)]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("dear diary")
    with pytest.raises(AtlasError, match="is no atlas"):
        build_gps_atlas(tmp_path, WaveEncoder(), *gallery(10))
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


def test_refusals_are_distinct_and_one_line(copy: Path, tmp_path: Path) -> None:
    messages = []

    def refused(kind: type[UserError], folder: Path, encoder: WaveEncoder, words: str) -> None:
        with pytest.raises(kind, match=words) as caught:
            open_atlas(folder, encoder)
        assert "\n" not in str(caught.value)
        messages.append(str(caught.value))

    refused(AtlasError, tmp_path / "nowhere", WaveEncoder(), "no atlas at")
    refused(AtlasError, tmp_path, WaveEncoder(), "is no atlas")
    refused(AtlasError, copy, WaveEncoder("2"), r"made by encoder wave@1 \(8-d\), not wave@2 \(8-d\)")
    with (
        open_store(EdgeSettings(), StorePlace(copy / "vectors", "world", DIM), create=True),
        pytest.raises(StoreLockedError, match="being written by another process"),
    ):
        open_store(EdgeSettings(), StorePlace(copy / "vectors", "world", DIM), create=True)
    segments = next((copy / "vectors" / "segments").iterdir())
    (segments / "segment.json").write_text("garbage")
    refused(StoreDamagedError, copy, WaveEncoder(), "are damaged .*segment.json has changed")
    shutil.rmtree(copy / "vectors")
    refused(UserError, copy, WaveEncoder(), "no vectors in")
    (copy / MANIFEST_FILE).write_text('{"name": "wor')
    refused(AtlasError, copy, WaveEncoder(), "damaged")
    (copy / MANIFEST_FILE).write_text(read_text_with_version(99))
    refused(AtlasError, copy, WaveEncoder(), "another version")
    assert len(set(messages)) == len(messages)


def read_text_with_version(version: int) -> str:
    return f'{{"format_version": {version}, "name": "world"}}'
