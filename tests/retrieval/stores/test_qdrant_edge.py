"""The index of Qdrant Edge: it builds one from about 10 MB on, smaller stores are searched exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geo.point import Point
from retrieval.stores.base import EdgeSettings, StoredItem, Vectors
from retrieval.stores.qdrant_edge import EdgeStore


def items(count: int, first: int = 0) -> list[StoredItem]:
    return [StoredItem(i, Point(lat=i % 180 - 90, lon=i % 360 - 180), str(i)) for i in range(first, first + count)]


def clustered(count: int, dim: int) -> Vectors:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((200, dim))
    rows = centres[rng.integers(200, size=count)] + 0.7 * rng.standard_normal((count, dim))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def share_found(store: EdgeStore, vectors: Vectors) -> float:
    """Recall@20 of the first forty vectors."""
    found = [{hit.item.id for hit in store.search(vectors[i], 20)} for i in range(40)]
    right = [set(np.argsort(-(vectors @ vectors[i]))[:20].tolist()) for i in range(40)]
    return float(np.mean([len(a & b) / 20 for a, b in zip(found, right, strict=True)]))


@pytest.mark.parametrize("index", ["scan", "hnsw"])
def test_edge_finds_nearly_all_once_its_quantised_index_is_built(index: str, tmp_path: Path) -> None:
    vectors = clustered(12_000, 256)
    settings = EdgeSettings.model_validate({"index": index})
    with EdgeStore(settings, tmp_path / "vectors", 256, create=True) as store:
        store.upsert(items(12_000), vectors)
        store.optimize()
        assert store.indexed_count() >= 12_000
        assert share_found(store, vectors) >= 0.99


def test_edge_tells_neighbours_apart_that_int8_cannot(tmp_path: Path) -> None:
    """As in a GPS atlas: thirty places a village apart have all but the same vector."""
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.standard_normal((400, 256)), 30, axis=0) + 0.003 * rng.standard_normal((12_000, 256))
    vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    with EdgeStore(EdgeSettings(), tmp_path / "vectors", 256, create=True) as store:
        store.upsert(items(12_000), vectors)
        store.optimize()
        assert store.indexed_count() >= 12_000
        asked = range(0, 12_000, 300)
        assert [store.search(vectors[i], 1)[0].item.id for i in asked] == list(asked)


@pytest.mark.parametrize("per_graph", [4_000, 1_000_000])
def test_edge_spreads_vectors_over_several_graphs(per_graph: int, tmp_path: Path) -> None:
    """A graph is made as soon as it is full, also of what an interrupted build wrote; the last when all is written."""
    vectors = clustered(13_000, 1024)
    settings = EdgeSettings(index="hnsw", vectors_per_graph=per_graph)
    folder = tmp_path / "vectors"
    for first, last in ((0, 3_000), (3_000, 13_000)):
        with EdgeStore(settings, folder, 1024, create=True) as store:
            for start in range(first, last, 500):
                store.upsert(items(500, start), vectors[start : start + 500])
            assert store.indexed_count() == last // per_graph * per_graph
            if last == len(vectors):
                store.optimize()
    with EdgeStore(settings, folder, 1024, read_only=True) as store:
        graphs = len(list(folder.glob("segments/*/vector_index/graph.bin")))
        assert graphs == (1 if per_graph == 1_000_000 else 3)
        assert store.count() == 13_000
        assert share_found(store, vectors) >= 0.99
