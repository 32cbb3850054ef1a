"""Snapshots of atlases: there and back, on each engine; and files that are not what they say."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from retrieval.atlas.atlas import open_atlas
from retrieval.atlas.build import build_gps_atlas
from retrieval.atlas.draft import atlas_lock
from retrieval.atlas.manifest import AtlasError, AtlasManifest, draft_of, read_manifest
from retrieval.atlas.snapshot import LIST_FILE, restore_atlas, write_snapshot
from retrieval.stores.base import EdgeSettings, FaissSettings, ServerSettings, StoreDamagedError, StoreSettings
from tests.fakes.atlas_items import WaveEncoder, gallery
from tests.fakes.services.qdrant_rest import fake_qdrant

QUERY = WaveEncoder().encode_points(np.zeros((1, 2)))[0]
Entries = list[tuple[tarfile.TarInfo, bytes]]


def found(folder: Path, revision: str = "1") -> list[str]:
    with open_atlas(folder, WaveEncoder(revision)) as atlas:
        assert atlas.verify().ok
        return [candidate.item_id for candidate in atlas.search(QUERY, 20)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "world"
    build_gps_atlas(folder, WaveEncoder(), *gallery(300))
    return folder


@pytest.fixture
def snapshot(world: Path, tmp_path: Path) -> Path:
    write_snapshot(world, tmp_path / "world.tar")
    return tmp_path / "world.tar"


@pytest.mark.parametrize("settings", [EdgeSettings(index="hnsw"), FaissSettings(index="flat")])
def test_an_atlas_comes_back_as_it_was(settings: StoreSettings, tmp_path: Path) -> None:
    built = build_gps_atlas(tmp_path / "a", WaveEncoder(), *gallery(300), store=settings)
    write_snapshot(tmp_path / "a", tmp_path / "a.tar")
    restored = restore_atlas(tmp_path / "a.tar", tmp_path / "b")
    assert restored == built.model_copy(update={"name": "b"}) == read_manifest(tmp_path / "b")
    assert found(tmp_path / "b") == found(tmp_path / "a")


def test_an_atlas_that_is_read_is_put_in_a_file_and_one_that_is_built_is_not(world: Path, tmp_path: Path) -> None:
    with open_atlas(world, WaveEncoder()):
        write_snapshot(world, tmp_path / "a.tar")
    with pytest.raises(AtlasError, match="there already"):
        write_snapshot(world, tmp_path / "a.tar")
    with atlas_lock(world), pytest.raises(UserError, match="being built"):
        write_snapshot(world, tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()


def test_an_atlas_is_put_in_the_place_of_another_only_on_demand(snapshot: Path, tmp_path: Path) -> None:
    build_gps_atlas(tmp_path / "other", WaveEncoder("2"), *gallery(50))
    with pytest.raises(AtlasError, match="--replace"):
        restore_atlas(snapshot, tmp_path / "other")
    with open_atlas(tmp_path / "other", WaveEncoder("2")) as reader:
        restore_atlas(snapshot, tmp_path / "other", replace=True)
        assert len(reader.search(QUERY, 20)) == 20, "who reads the old one goes on"
    assert len(found(tmp_path / "other")) == 20
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary" / "a.txt").write_text("dear diary")
    with pytest.raises(AtlasError, match="is no atlas"):
        restore_atlas(snapshot, tmp_path / "diary", replace=True)


def read_entries(file: Path) -> Entries:
    with tarfile.open(file) as tar:
        return [(entry, stream.read()) for entry in tar if (stream := tar.extractfile(entry))]


def write_entries(file: Path, entries: Entries) -> None:
    with tarfile.open(file, "w") as tar:
        for entry, data in entries:
            tar.addfile(entry, io.BytesIO(data))


def relisted(entries: Entries, change: Callable[[list[dict[str, object]]], object]) -> Entries:
    """The entries after a change of their list."""
    listed = json.loads(entries[0][1])
    change(listed["files"])
    data = json.dumps(listed).encode()
    entries[0][0].size = len(data)
    return [(entries[0][0], data), *entries[1:]]


def renamed(name: str) -> Callable[[Entries], Entries]:
    def change(entries: Entries) -> Entries:
        entries[-1][0].name = name
        return relisted(entries, lambda files: files[-1].update(name=name))

    return change


def linked(entries: Entries) -> Entries:
    entries[-1][0].type, entries[-1][0].linkname = tarfile.SYMTYPE, "/etc/passwd"
    return entries


def flipped(entries: Entries) -> Entries:
    entry, data = entries[-1]
    return [*entries[:-1], (entry, bytes([data[0] ^ 1]) + data[1:])]


def more(entries: Entries) -> Entries:
    return [*entries, (tarfile.TarInfo("more"), b"")]


HOSTILE: dict[str, Callable[[Entries], Entries]] = {
    "out of the folder": renamed("vectors/../../../escaped"),
    "absolute": renamed("/escaped"),
    "another file of the home": renamed("settings.json"),
    "windows": renamed("vectors/c:\\escaped"),
    "deep": renamed("vectors" + "/a" * 9),
    "link": linked,
    "changed": flipped,
    "not listed": more,
    "lacking": lambda entries: entries[:-1],
    "no list": lambda entries: entries[1:],
    "listed twice": lambda entries: relisted(entries, lambda files: files.append(files[-1])),
    "larger than it is": lambda entries: relisted(entries, lambda files: files[-1].update(size_bytes=10**15)),
    "of another format": lambda entries: relisted(entries, lambda files: files[0].update(extra=1)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_not_what_it_says_is_refused_and_leaves_nothing(
    name: str, snapshot: Path, tmp_path: Path
) -> None:
    write_entries(tmp_path / "hostile.tar", HOSTILE[name](read_entries(snapshot)))
    with pytest.raises(AtlasError, match="no snapshot of an atlas, or a damaged one") as caught:
        restore_atlas(tmp_path / "hostile.tar", tmp_path / "home" / "world")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "home" / "world").exists()
    assert not draft_of(tmp_path / "home" / "world").exists()
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize("content", [b"", b"no tar", b"\0" * 10240])
def test_another_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(AtlasError, match="no snapshot"):
        restore_atlas(tmp_path / "a.tar", tmp_path / "world")
    with pytest.raises(AtlasError, match="cannot restore"):
        restore_atlas(tmp_path / "nowhere.tar", tmp_path / "world")


def test_vectors_of_another_atlas_are_found_by_their_checksum(world: Path, tmp_path: Path) -> None:
    manifest = read_manifest(world)
    forged = tmp_path / "forged"
    build_gps_atlas(forged, WaveEncoder("2"), *gallery(301))
    text = manifest.model_copy(update={"checksum": "0" * 64}).model_dump_json()
    (forged / "atlas.json").write_text(text)
    write_snapshot(forged, tmp_path / "forged.tar")
    with pytest.raises(StoreDamagedError, match="not those of its manifest"):
        restore_atlas(tmp_path / "forged.tar", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_atlas_of_a_server_moves_to_another_server(tmp_path: Path) -> None:
    with fake_qdrant() as one, fake_qdrant() as other:
        settings = ServerSettings(url=one.url, quantisation="int8")
        built = build_gps_atlas(tmp_path / "world", WaveEncoder(), *gallery(300), store=settings)
        write_snapshot(tmp_path / "world", tmp_path / "world.tar")
        assert one.snapshots == {}, "nothing is left on the server"
        with pytest.raises(AtlasError, match="--store qdrant-server@URL"):
            restore_atlas(tmp_path / "world.tar", tmp_path / "there")
        restored = restore_atlas(tmp_path / "world.tar", tmp_path / "there", ServerSettings(url=other.url))
        assert isinstance(restored.store, ServerSettings)
        assert (restored.store.url, restored.store.quantisation) == (other.url, "int8")
        assert restored.checksum == built.checksum
        assert other.aliases() == {"geosleuth-there": "geosleuth-there@1"}
        assert found(tmp_path / "there") == found(tmp_path / "world")
        with pytest.raises(AtlasError, match="collection geosleuth-there@1 already"):
            restore_atlas(tmp_path / "world.tar", tmp_path / "elsewhere" / "there", ServerSettings(url=other.url))


def test_a_servers_snapshot_with_other_vectors_leaves_no_collection(tmp_path: Path) -> None:
    with fake_qdrant() as server:
        settings = ServerSettings(url=server.url)
        manifest = build_gps_atlas(tmp_path / "world", WaveEncoder(), *gallery(50), store=settings)
        forged: AtlasManifest = manifest.model_copy(update={"checksum": "0" * 64})
        (tmp_path / "world" / "atlas.json").write_text(forged.model_dump_json())
        write_snapshot(tmp_path / "world", tmp_path / "world.tar")
        with pytest.raises(StoreDamagedError, match="not those of its manifest"):
            restore_atlas(tmp_path / "world.tar", tmp_path / "new", settings)
        assert server.collections() == {"geosleuth-world@1"}


def test_a_cluster_is_refused_as_each_node_has_its_own_snapshot(tmp_path: Path) -> None:
    with fake_qdrant() as server:
        settings = ServerSettings(url=server.url, shards=2)
        build_gps_atlas(tmp_path / "world", WaveEncoder(), *gallery(50), store=settings)
        with pytest.raises(AtlasError, match="2 shards"):
            write_snapshot(tmp_path / "world", tmp_path / "world.tar")


def test_the_list_comes_first(snapshot: Path) -> None:
    assert read_entries(snapshot)[0][0].name == LIST_FILE
