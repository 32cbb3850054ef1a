"""Atlases: manifests, lists of failures, encoders' cards, and the vectors of both engines that keep a folder."""

from __future__ import annotations

import contextlib
import json
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from retrieval.atlas.atlas import atlas_info, list_atlases, open_atlas
from retrieval.atlas.build import build_gps_atlas
from retrieval.atlas.failures import Failure, FailureList
from retrieval.atlas.manifest import AtlasError, read_manifest
from retrieval.atlas.servers import check_server, server_of
from retrieval.encoders.registry import load_encoder
from retrieval.stores.base import ServerSettings, StoreSettings
from retrieval.stores.registry import default_store_settings
from tests.fakes.atlas_items import WaveEncoder, gallery
from tests.fakes.tiny_encoder import write_tiny_encoder
from tests.fuzz.cases import Files, Target

_ITEMS = 40
_VECTOR = WaveEncoder().encode_points(np.array([[48.85, 2.35]]))[0]


def _atlas(engine: str) -> Files:
    settings: StoreSettings = default_store_settings(engine)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "atlases" / "small"
        build_gps_atlas(folder, WaveEncoder(), *gallery(_ITEMS), store=settings)
        files = [path for path in Path(home).rglob("*") if path.is_file() and path.stat().st_size < 4_000_000]
        return {path.relative_to(home).as_posix(): path.read_bytes() for path in files}


def _manifest_only() -> Files:
    """Of an atlas in a folder, and of one on a server."""
    made = next(data for name, data in _atlas("faiss").items() if name.endswith("atlas.json"))
    server = json.loads(made) | {"store": ServerSettings(url="http://10.0.0.1:6333").model_dump(mode="json")}
    return {"atlases/small/atlas.json": made, "atlases/far/atlas.json": json.dumps(server).encode()}


def _read_manifest(folder: Path) -> object:
    manifests = [read_manifest(atlas) for atlas in list_atlases(folder)]
    for atlas, manifest in zip(list_atlases(folder), manifests, strict=True):
        atlas_info(atlas)
        if atlas.name == "far":
            with contextlib.suppress(AtlasError):  # as it should: nobody has allowed it
                check_server(atlas, manifest, ())
                assert server_of(atlas, manifest) is None
    return manifests


def _search(folder: Path) -> object:
    with open_atlas(folder / "atlases" / "small", WaveEncoder()) as atlas:
        found = atlas.search(_VECTOR, 5)
        assert all(np.isfinite(candidate.similarity) for candidate in found)
        return [candidate.item_id for candidate in found]


def _failures() -> Files:
    rows = [Failure(id=n, item_id=f"{n}.jpg", reason="is damaged") for n in range(3)]
    return {"failed.jsonl": "".join(f"{row.model_dump_json()}\n" for row in rows).encode()}


def _read_failures(folder: Path) -> object:
    with FailureList(folder) as failures:
        known = set(failures.ids)
        failures.add([Failure(id=99, item_id="99.jpg", reason="is damaged")])
        return known


def _encoder() -> Files:
    with tempfile.TemporaryDirectory() as folder:
        written = write_tiny_encoder(Path(folder) / "tiny")
        return {path.name: path.read_bytes() for path in written.iterdir()}


def _encode(folder: Path) -> object:
    encoder = load_encoder(folder)
    vectors = encoder.encode_points(np.array([[48.85, 2.35]]))
    assert vectors.shape == (1, encoder.identity.dim)
    return encoder.identity


TARGETS = (
    Target("atlas-manifest", _manifest_only, _read_manifest),
    Target("atlas-faiss", partial(_atlas, "faiss"), _search, is_text=False),
    Target("atlas-failures", _failures, _read_failures, is_text=False),  # a line it cannot read is tried again
    Target("encoder", _encoder, _encode, changed=("card.json", "points.onnx")),
)
