"""Atlases on a Qdrant server, over its REST protocol: built, built anew beside the old one, read by several."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from geo.point import Point
from retrieval.atlas.atlas import open_atlas
from retrieval.atlas.build import build_gps_atlas
from retrieval.atlas.manifest import AtlasError, read_manifest, write_manifest
from retrieval.stores.base import ServerSettings, StoreMissingError, StoreSettings, StoreUnreachableError
from retrieval.stores.filters import Near
from retrieval.stores.registry import default_store_settings
from tests.fakes.atlas_items import WaveEncoder, gallery
from tests.fakes.services.qdrant_rest import FakeQdrant, fake_qdrant

QUERY = WaveEncoder().encode_points(np.zeros((1, 2)))[0]
CIRCLE = Near(Point(lat=10, lon=20), 3_000.0)


@pytest.fixture
def server() -> Iterator[FakeQdrant]:
    with fake_qdrant() as fake:
        yield fake


def at(server: FakeQdrant) -> ServerSettings:
    return ServerSettings(url=server.url)


def names(folder: Path, near: Near | None = None, store: StoreSettings | None = None) -> list[str]:
    with open_atlas(folder, WaveEncoder(read_manifest(folder).encoder.revision), store=store) as atlas:
        return [found.item_id for found in atlas.search(QUERY, 20, near=near)]


def stopped(*_: int) -> None:
    raise KeyboardInterrupt


def test_a_server_and_the_embedded_engine_give_the_same_answers(server: FakeQdrant, tmp_path: Path) -> None:
    manifests = [
        build_gps_atlas(tmp_path / name, WaveEncoder(), *gallery(500), store=store)
        for name, store in (("there", at(server)), ("here", default_store_settings("qdrant-edge")))
    ]
    assert len({manifest.count for manifest in manifests}) == 1
    for near in (None, CIRCLE):
        assert names(tmp_path / "there", near) == names(tmp_path / "here", near)
    with open_atlas(tmp_path / "there", WaveEncoder()) as atlas:
        assert atlas.verify().ok


def test_settings_of_a_plan_reach_the_server(server: FakeQdrant, tmp_path: Path) -> None:
    chosen = {"shards": 3, "replicas": 2, "quantisation": "binary", "on_disk": True, "hnsw": {"m": 24}}
    settings = ServerSettings.model_validate({"url": server.url, "vectors_per_graph": 2000} | chosen)
    build_gps_atlas(tmp_path / "world", WaveEncoder(), *gallery(50), store=settings)
    created = server.created["geosleuth-world@1"]
    assert (created["shard_number"], created["replication_factor"]) == (3, 2)
    assert created["quantization_config"] == {"binary": {"always_ram": True}}
    assert created["vectors"]["on_disk"] is True
    assert created["hnsw_config"]["m"] == 24
    assert created["optimizers_config"]["max_segment_size"] == 2000 * WaveEncoder().identity.dim * 4 // 1024
    assert len(names(tmp_path / "world")) == 20


def test_an_atlas_is_built_anew_beside_the_old_one(server: FakeQdrant, tmp_path: Path) -> None:
    folder = tmp_path / "world"
    build_gps_atlas(folder, WaveEncoder(), *gallery(400), store=at(server))
    assert server.aliases() == {"geosleuth-world": "geosleuth-world@1"}
    before = names(folder)
    with pytest.raises(AtlasError, match="--replace"):
        build_gps_atlas(folder, WaveEncoder("2"), *gallery(300), store=at(server))
    with pytest.raises(KeyboardInterrupt):
        build_gps_atlas(folder, WaveEncoder("2"), *gallery(300), store=at(server), replace=True, progress=stopped)
    assert server.collections() == {"geosleuth-world@1", "geosleuth-world@2"}
    assert server.aliases() == {"geosleuth-world": "geosleuth-world@1"}, "half of the new one is not seen"
    assert names(folder) == before

    reader = open_atlas(folder, WaveEncoder())
    manifest = build_gps_atlas(folder, WaveEncoder("2"), *gallery(300), store=at(server), replace=True)
    assert manifest.count == 300
    assert server.aliases() == {"geosleuth-world": "geosleuth-world@2"}
    assert server.collections() == {"geosleuth-world@2"}, "the old one is deleted"
    assert len(names(folder)) == 20
    switches = [request for request in server.requests if request == "POST /collections/aliases"]
    assert len(switches) == 2, "one request a build: nobody finds the alias gone"
    with reader, pytest.raises(StoreMissingError, match="open it again"):
        reader.search(QUERY, 5)


def test_a_kill_between_alias_and_manifest_is_gone_on_from(
    server: FakeQdrant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "world"
    build_gps_atlas(folder, WaveEncoder(), *gallery(100), store=at(server))
    before = names(folder)
    with monkeypatch.context() as patched:
        patched.setattr("retrieval.atlas.draft._publish_manifest", stopped)
        with pytest.raises(KeyboardInterrupt):
            build_gps_atlas(folder, WaveEncoder("2"), *gallery(200), store=at(server), replace=True)
    assert names(folder) == before
    assert build_gps_atlas(folder, WaveEncoder("2"), *gallery(200), store=at(server), replace=True).count == 200
    assert server.collections() == {"geosleuth-world@2"}


def test_a_collection_of_an_earlier_version_is_read_and_replaced(server: FakeQdrant, tmp_path: Path) -> None:
    folder = tmp_path / "world"
    manifest = build_gps_atlas(folder, WaveEncoder(), *gallery(100), store=at(server))
    data = server.dump("geosleuth-world@1")
    server.client.delete_collection("geosleuth-world@1")
    server.load("geosleuth-world", data)
    write_manifest(folder, manifest.model_copy(update={"vectors": "vectors"}))
    assert len(names(folder)) == 20
    build_gps_atlas(folder, WaveEncoder("2"), *gallery(200), store=at(server), replace=True)
    assert server.aliases() == {"geosleuth-world": "geosleuth-world@1"}
    assert server.collections() == {"geosleuth-world@1"}


def test_another_persons_collection_is_not_built_into(server: FakeQdrant, tmp_path: Path) -> None:
    build_gps_atlas(tmp_path / "anna" / "world", WaveEncoder(), *gallery(100), store=at(server))
    with pytest.raises(AtlasError, match=r"collection geosleuth-world@1 already.*--replace"):
        build_gps_atlas(tmp_path / "ben" / "world", WaveEncoder(), *gallery(50), store=at(server))
    assert len(names(tmp_path / "anna" / "world")) == 20


def test_an_atlas_is_not_moved_between_folder_and_server_by_building(server: FakeQdrant, tmp_path: Path) -> None:
    build_gps_atlas(tmp_path / "world", WaveEncoder(), *gallery(50))
    with pytest.raises(AtlasError, match="in its folder and is built anew only there"):
        build_gps_atlas(tmp_path / "world", WaveEncoder("2"), *gallery(50), store=at(server), replace=True)


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
def test_readers_need_no_more_than_a_read_only_key(tmp_path: Path) -> None:
    with fake_qdrant(key="writes", read_only_key="reads") as server:
        settings = ServerSettings.model_validate({"url": server.url, "api_key": "writes"})
        with pytest.raises(KeyboardInterrupt):
            build_gps_atlas(tmp_path / "world", WaveEncoder(), *gallery(100), store=settings, progress=stopped)
        build_gps_atlas(tmp_path / "world", WaveEncoder(), *gallery(100), store=settings)
        reader = ServerSettings.model_validate({"url": server.url, "api_key": "reads", "read_consistency": "majority"})
        with open_atlas(tmp_path / "world", WaveEncoder(), store=reader) as one:
            with open_atlas(tmp_path / "world", WaveEncoder(), store=reader) as other:
                assert one.search(QUERY, 5) == other.search(QUERY, 5)
            assert one.verify().ok
        with pytest.raises(StoreUnreachableError, match="API key"):
            build_gps_atlas(tmp_path / "other", WaveEncoder(), *gallery(100), store=reader)
        with pytest.raises(StoreUnreachableError, match="API key"):
            open_atlas(tmp_path / "world", WaveEncoder())
