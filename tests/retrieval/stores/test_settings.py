"""Settings of store engines, as a person gives them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import UserError
from retrieval.atlas.plan import planned_store
from retrieval.stores.base import EdgeSettings, HnswSettings, ServerSettings
from retrieval.stores.registry import parse_store_settings, settings_json


@pytest.mark.parametrize("photos", [100_000, 500_000, 5_000_000, 10**9])
def test_the_settings_that_a_plan_prints_are_those_that_are_built(photos: int) -> None:
    planned = planned_store(photos)
    assert parse_store_settings(planned.engine, settings_json(planned)) == planned


def test_settings_change_the_defaults_of_the_engine(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"shards": 4, "quantisation": "binary", "oversampling": 4}))
    wanted = ServerSettings(url="http://q:6333", shards=4, quantisation="binary", oversampling=4)
    assert parse_store_settings("qdrant-server@http://q:6333", str(file)) == wanted
    graph = parse_store_settings("qdrant-edge", '{"hnsw": {"m": 24}}')
    assert graph == EdgeSettings(hnsw=HnswSettings(m=24, ef_search=2048))


@pytest.mark.parametrize(
    ("engine", "text", "said"),
    [
        ("qdrant-edge", '{"shards": 2}', "qdrant-edge: shards"),
        ("qdrant-server", '{"shards": 0}', "qdrant-server: shards"),
        ("qdrant-server", '{"hnsw": {"mm": 3}}', r"qdrant-server: hnsw\.mm"),
        ("qdrant-server", '{"quantisation": "product"}', "qdrant-server: quantisation"),
        ("qdrant-edge", '{"engine": "faiss"}', "qdrant-edge: engine"),
        ("qdrant-edge", '{"hnsw": 3}', "JSON object"),
        ("qdrant-edge", "{shards", "not JSON"),
        ("qdrant-edge", "nowhere.json", "cannot read nowhere.json"),
        ("nothing", "{}", "unknown store"),
    ],
)
def test_a_wrong_setting_is_named(engine: str, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_store_settings(engine, text)
