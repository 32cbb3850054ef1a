"""One suite for every engine: what a store promises, it promises on all."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient

from core.errors import UserError
from geo.point import Point
from geo.sphere import distance_km
from retrieval.stores.base import (
    EdgeSettings,
    FaissSettings,
    ServerSettings,
    StoredItem,
    StoreLockedError,
    StoreMissingError,
    VectorStore,
)
from retrieval.stores.faiss import FaissStore
from retrieval.stores.filters import Near, NearAny
from retrieval.stores.qdrant_edge import EdgeStore
from retrieval.stores.qdrant_server import ServerStore
from retrieval.stores.registry import STORES, StorePlace, default_store_settings, open_store
from tests.fakes.services.qdrant_rest import fake_qdrant

DIM = 16
ENGINES = [
    "qdrant-edge",
    "qdrant-edge-hnsw",
    "qdrant-server",
    "qdrant-server-http",
    "faiss-flat",
    "faiss-ivf",
    "faiss-hnsw",
]
pytestmark = pytest.mark.filterwarnings("ignore:.*[Ll]ocal.*:UserWarning")
Opener = Callable[[bool], VectorStore]


@pytest.fixture(params=ENGINES)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens one store, again and again, on each engine; the in-memory client stands in for a server, also over HTTP."""
    engine = str(request.param)
    client = QdrantClient(":memory:")
    over_http = fake_qdrant() if engine.endswith("http") else nullcontext()

    def open_it(create: bool) -> VectorStore:
        if engine.startswith("qdrant-edge"):
            settings = EdgeSettings(index="hnsw" if engine.endswith("hnsw") else "scan")
            return EdgeStore(settings, tmp_path / "vectors", DIM, create)
        if engine == "qdrant-server":
            return ServerStore(ServerSettings(), "test", DIM, create, client=client)
        if served:
            return ServerStore(ServerSettings(url=served.url, quantisation="int8"), "test", DIM, create)
        index = engine.removeprefix("faiss-")
        faiss_settings = FaissSettings.model_validate({"index": index, "probes": 1_000})
        return FaissStore(faiss_settings, tmp_path / "vectors", DIM, create)

    with over_http as served:
        yield open_it


@pytest.fixture
def store(opener: Opener) -> Iterator[VectorStore]:
    with opener(True) as opened:
        yield opened


def sphere_positions(count: int, seed: int = 0) -> np.ndarray:
    """Positions spread over the sphere, with the poles and the antimeridian visited on purpose."""
    rng = np.random.default_rng(seed)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    lon = rng.uniform(-180, 180, count)
    lat[: count // 4] = rng.choice([-1, 1], count // 4) * (90 - rng.exponential(2.0, count // 4).clip(0, 20))
    lon[count // 4 : count // 2] = np.where(rng.random(count // 2 - count // 4) < 0.5, -180, 180 - 1e-9)
    east = lon[count // 4 : count // 2]
    east += np.sign(-east) * rng.exponential(1.0, len(east)).clip(0, 9)
    lat[:2], lon[:2] = (90.0, -90.0), 0.0
    return np.stack([lat, lon], axis=1)


def unit_rows(count: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def make_items(positions: np.ndarray) -> list[StoredItem]:
    return [
        StoredItem(i, Point(lat=float(lat), lon=float(lon)), f"item-{i}", {"author": f"author-{i % 7}"})
        for i, (lat, lon) in enumerate(positions)
    ]


def fill(store: VectorStore, count: int = 400) -> tuple[list[StoredItem], np.ndarray]:
    items, vectors = make_items(sphere_positions(count)), unit_rows(count)
    store.upsert(items, vectors)
    return items, vectors


def test_every_item_comes_back_as_it_was_written(store: VectorStore) -> None:
    items, vectors = fill(store)
    pages = list(store.scroll(page_size=33))
    assert [item for page in pages for item in page.items] == items
    np.testing.assert_allclose(np.concatenate([page.vectors for page in pages]), vectors, atol=1e-6)
    assert store.count() == len(items)
    assert store.ids() == set(range(len(items)))


def test_writing_an_id_again_replaces_it(store: VectorStore) -> None:
    items, vectors = fill(store, 20)
    moved = StoredItem(3, Point(lat=1.0, lon=2.0), "moved")
    store.upsert([moved], vectors[:1])
    store.upsert(items[10:12], vectors[10:12])
    assert store.count() == 20
    assert moved in [item for page in store.scroll() for item in page.items]
    assert {hit.item.id for hit in store.search(vectors[0], 2)} == {0, 3}


@pytest.mark.parametrize("optimised", [False, True])
def test_search_finds_the_most_similar_in_order(store: VectorStore, optimised: bool) -> None:
    _, vectors = fill(store)
    if optimised:
        store.optimize()
    query = unit_rows(1, seed=9)[0]
    hits = store.search(query, 10)
    expected = vectors @ query
    assert [hit.item.id for hit in hits] == np.argsort(-expected)[:10].tolist()
    np.testing.assert_allclose([hit.similarity for hit in hits], np.sort(expected)[::-1][:10], atol=1e-5)


def test_equal_similarities_come_by_id(store: VectorStore) -> None:
    vector = unit_rows(1)
    store.upsert(make_items(sphere_positions(8))[::-1], np.repeat(vector, 8, axis=0))
    assert [hit.item.id for hit in store.search(vector[0], 8)] == list(range(8))


def test_limit_bounds_the_answer(store: VectorStore) -> None:
    _, vectors = fill(store, 5)
    assert len(store.search(vectors[0], 3)) == 3
    assert len(store.search(vectors[0], 99)) == 5
    assert store.search(vectors[0], 0) == []


def test_an_empty_store_answers_with_nothing(store: VectorStore) -> None:
    store.optimize()
    query = unit_rows(1)[0]
    assert store.search(query, 5) == []
    assert store.search(query, 5, near=Near(Point(lat=0, lon=0), 10.0)) == []
    assert (store.count(), store.ids(), list(store.scroll())) == (0, set(), [])


def circles() -> list[Near]:
    rng = np.random.default_rng(4)
    centres = sphere_positions(24, seed=5)
    random = [Near(Point(lat=lat, lon=lon), float(10 ** rng.uniform(1, 4.2))) for lat, lon in centres]
    special = [(90, 0, 500), (-90, 77, 2000), (89.9, 180, 50), (0, 180, 300), (10, -179.99, 900), (0, 0, 10_007.5)]
    return random + [Near(Point(lat=lat, lon=lon), float(radius)) for lat, lon, radius in special]


def test_a_circle_gives_every_match_or_limit_of_the_best(store: VectorStore) -> None:
    items, vectors = fill(store, 600)
    store.optimize()
    positions = np.array([(item.point.lat, item.point.lon) for item in items])
    query = unit_rows(1, seed=8)[0]
    for near in circles():
        inside = np.flatnonzero(distance_km((near.centre.lat, near.centre.lon), positions) <= near.radius_km)
        best_first = inside[np.argsort(-(vectors[inside] @ query), kind="stable")].tolist()
        for limit in (5, 600):
            assert [hit.item.id for hit in store.search(query, limit, near=near)] == best_first[:limit], near


def test_an_area_of_several_circles_gives_what_lies_in_any_of_them(store: VectorStore) -> None:
    items, vectors = fill(store, 600)
    store.optimize()
    query = unit_rows(1, seed=9)[0]
    area = NearAny(tuple(circles()[-7:-1]))
    inside = [item.id for item in items if area.contains(item.point)]
    assert 0 < len(inside) < 600
    best_first = sorted(inside, key=lambda id_: -float(vectors[id_] @ query))
    for limit in (5, 600):
        assert [hit.item.id for hit in store.search(query, limit, near=area)] == best_first[:limit]


def test_excluded_values_are_left_out_and_the_rest_is_complete(store: VectorStore) -> None:
    items, vectors = fill(store, 200)
    store.optimize()
    query = unit_rows(1, seed=3)[0]
    exclude = {"author": ["author-0", "author-3"], "item_id": ["item-1"], "camera": ["none has one"]}
    kept = [item.id for item in items if item.id % 7 not in (0, 3) and item.id != 1]
    expected = sorted(kept, key=lambda id_: -float(vectors[id_] @ query))
    assert [hit.item.id for hit in store.search(query, 200, exclude=exclude)] == expected
    assert [hit.item.id for hit in store.search(query, 9, exclude=exclude)] == expected[:9]


def test_circle_and_exclusion_together(store: VectorStore) -> None:
    items, vectors = fill(store, 200)
    near = Near(Point(lat=88, lon=0), 2000.0)
    hits = store.search(vectors[0], 200, near=near, exclude={"author": ["author-2"]})
    expected = {item.id for item in items if near.contains(item.point) and item.id % 7 != 2}
    assert expected
    assert {hit.item.id for hit in hits} == expected


def test_everything_is_there_after_reopening(opener: Opener) -> None:
    with opener(True) as store:
        items, vectors = fill(store, 300)
        store.optimize()
        before = store.search(vectors[5], 10)
        store.flush()
    with opener(False) as again:
        assert again.count() == len(items)
        assert again.search(vectors[5], 10) == before
    with opener(True) as kept:
        assert kept.count() == len(items)


def test_a_missing_store_says_what_to_do(opener: Opener) -> None:
    with pytest.raises(StoreMissingError, match="build the atlas again"):
        opener(False)


def test_closing_twice_is_no_error(opener: Opener) -> None:
    store = opener(True)
    store.close()
    store.close()


@pytest.mark.parametrize("spoil", [np.zeros_like, lambda v: v * 2, lambda v: v[:, :-1], lambda v: v * np.nan])
def test_wrong_vectors_are_refused(store: VectorStore, spoil: Callable[[np.ndarray], np.ndarray]) -> None:
    with pytest.raises(ValueError, match="vectors"):
        store.upsert(make_items(sphere_positions(8)), spoil(unit_rows(8)))
    assert store.count() == 0


def test_a_query_of_the_wrong_dimension_is_refused(store: VectorStore) -> None:
    with pytest.raises(ValueError, match="has shape"):
        store.search(np.ones(DIM + 1, dtype=np.float32), 3)


@pytest.mark.parametrize("engine", ["qdrant-edge", "faiss"])
def test_a_store_in_use_is_refused_to_a_second_writer(engine: str, tmp_path: Path) -> None:
    place = StorePlace(tmp_path / "vectors", "test", DIM)
    settings = default_store_settings(engine)
    with open_store(settings, place, create=True), pytest.raises(StoreLockedError, match="written by another process"):
        open_store(settings, place)


@pytest.mark.parametrize("engine", ["qdrant-edge", "faiss"])
def test_any_number_of_readers_share_a_store_and_leave_no_trace(engine: str, tmp_path: Path) -> None:
    place = StorePlace(tmp_path / "vectors", "test", DIM)
    settings = default_store_settings(engine)
    items, vectors = make_items(sphere_positions(200)), unit_rows(200)
    with open_store(settings, place, create=True) as store:
        store.upsert(items, vectors)
        store.flush()
        store.optimize()
    before = contents(place.folder)
    with ExitStack() as opened:
        readers = [opened.enter_context(open_store(settings, place, read_only=True)) for _ in range(4)]
        assert [reader.count() for reader in readers] == [200] * 4
        assert {reader.search(vectors[7], 1)[0].item.item_id for reader in readers} == {items[7].item_id}
        with pytest.raises(ValueError, match=r"read|write"):
            readers[0].upsert(items[:1], vectors[:1])
        shutil.rmtree(place.folder / "wal", ignore_errors=True)  # a reader needs no log
        assert len(list(readers[1].scroll())) == 1
    assert {name: data for name, data in before.items() if not name.startswith("wal")} == contents(place.folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_unknown_engine_lists_the_valid_ones() -> None:
    with pytest.raises(UserError, match=r"pinecone.*qdrant-edge, qdrant-server, faiss"):
        default_store_settings("pinecone")
    assert {default_store_settings(name).engine for name in STORES} == set(STORES)


def test_a_server_may_be_named_with_its_address() -> None:
    named = default_store_settings("qdrant-server@http://qdrant:6333")
    assert named == ServerSettings(url="http://qdrant:6333")
    for wrong in ("qdrant-edge@http://qdrant:6333", "qdrant-server@qdrant:6333", "qdrant-server@file:///etc"):
        with pytest.raises(UserError, match="give no address, or that of a server"):
            default_store_settings(wrong)


def test_without_faiss_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match=r"geosleuth\[faiss\]"):
        FaissStore(FaissSettings(), tmp_path, DIM, create=True)


def test_an_absent_server_is_named(tmp_path: Path) -> None:
    settings = ServerSettings(url="http://127.0.0.1:9", timeout_s=1)
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9"):
        open_store(settings, StorePlace(tmp_path, "test", DIM), create=True)


def test_a_key_is_never_written_out() -> None:
    settings = ServerSettings.model_validate({"api_key": "secret-key"})
    assert "secret-key" not in settings.model_dump_json() + repr(settings)
