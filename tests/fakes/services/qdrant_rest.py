"""What stands in for a Qdrant server: its REST protocol over real HTTP, answered by qdrant-client's in-memory mode.

Shards, replicas and quantisation are recorded in `created` and change nothing: searches are exact. A snapshot is JSON.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, File, Request, UploadFile
from fastapi.responses import JSONResponse, Response
from pydantic import TypeAdapter
from qdrant_client import QdrantClient, models

from tests.fakes.services import listening

READS = ("/points/count", "/points/scroll", "/points/query")
Answer = dict[str, Any]


class FakeQdrant:
    """The state of the server. With keys, a request without one is refused, and the read-only one only reads."""

    def __init__(self, key: str | None = None, read_only_key: str | None = None) -> None:
        self.client = QdrantClient(":memory:")
        self.key, self.read_only_key = key, read_only_key
        self.created: dict[str, Answer] = {}
        self.snapshots: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.lock = threading.Lock()
        self.url = ""

    def aliases(self) -> dict[str, str]:
        return {one.alias_name: one.collection_name for one in self.client.get_aliases().aliases}

    def collections(self) -> set[str]:
        return {one.name for one in self.client.get_collections().collections}

    def refusal(self, request: Request) -> str | None:
        if self.key is None:
            return None
        given = request.headers.get("api-key")
        reads = request.method == "GET" or request.url.path.endswith(READS)
        return None if given == self.key or (given == self.read_only_key and reads) else "forbidden"

    @contextmanager
    def kept(self, name: str) -> Iterator[None]:
        """Keep vectors as they were written: a search of the in-memory mode normalises them again where they are."""
        stored = self.client._client._get_collection(name)  # type: ignore[attr-defined]
        before = {key: rows.copy() for key, rows in stored.vectors.items()}
        yield
        stored.vectors.update(before)

    def dump(self, name: str) -> bytes:
        records = self.client.scroll(name, limit=10**9, with_payload=True, with_vectors=True)[0]
        dim = self.created[name]["vectors"]["size"]
        return json.dumps([dim, [(one.id, one.vector, one.payload) for one in records]]).encode()

    def load(self, name: str, data: bytes) -> None:
        dim, rows = json.loads(data)
        if name in self.collections():
            self.client.delete_collection(name)
        vectors = models.VectorParams(size=dim, distance=models.Distance.COSINE)
        self.client.create_collection(name, vectors_config=vectors)
        self.created[name] = {"vectors": {"size": dim}}
        points = [models.PointStruct(id=id_, vector=vector, payload=payload) for id_, vector, payload in rows]
        self.client.upsert(name, points)
        stored = self.client._client._get_collection(name)  # type: ignore[attr-defined]
        stored.vectors[""][: len(rows)] = np.array([vector for _, vector, _ in rows], np.float32)


@contextmanager
def fake_qdrant(key: str | None = None, read_only_key: str | None = None) -> Iterator[FakeQdrant]:
    """A server on a free port of this machine; its `url` says where."""
    fake = FakeQdrant(key, read_only_key)
    with listening(_app(fake)) as url:
        fake.url = url
        yield fake


def _answer(result: Any) -> JSONResponse:
    return JSONResponse({"time": 0.0, "status": "ok", "result": TypeAdapter(Any).dump_python(result, mode="json")})


def _app(fake: FakeQdrant) -> FastAPI:
    app = FastAPI()
    client = fake.client

    @app.middleware("http")
    async def guarded(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        fake.requests.append(f"{request.method} {request.url.path}")
        if refused := fake.refusal(request):
            return JSONResponse({"status": {"error": refused}, "time": 0.0}, 403)
        return await call_next(request)

    @app.exception_handler(ValueError)
    async def missing(_: Request, error: ValueError) -> Response:
        return JSONResponse({"status": {"error": str(error)}, "time": 0.0}, 404)

    _collections(app, fake)
    _snapshots(app, fake)

    @app.put("/collections/{name}/points")
    def upsert(name: str, body: Answer) -> Response:
        with fake.lock:
            client.upsert(name, models.PointsList.model_validate(body).points)
        return _answer({"operation_id": 1, "status": "completed"})

    @app.post("/collections/{name}/points/count")
    def count(name: str, body: Answer) -> Response:
        with fake.lock:
            return _answer(client.count(name, exact=models.CountRequest.model_validate(body).exact or False))

    @app.post("/collections/{name}/points/scroll")
    def scroll(name: str, body: Answer) -> Response:
        wanted = models.ScrollRequest.model_validate(body)
        with fake.lock:
            points, following = client.scroll(
                name,
                limit=wanted.limit or 10,
                offset=wanted.offset,
                with_payload=wanted.with_payload or False,
                with_vectors=wanted.with_vector or False,
            )
        return _answer({"points": points, "next_page_offset": following})

    @app.post("/collections/{name}/points/query")
    def query(name: str, body: Answer) -> Response:
        wanted = models.QueryRequest.model_validate(body)
        with fake.lock, fake.kept(name):
            found = client.query_points(
                name,
                query=wanted.query,
                query_filter=wanted.filter,
                limit=wanted.limit or 10,
                with_payload=wanted.with_payload or False,
            )
        return _answer(found)

    return app


def _collections(app: FastAPI, fake: FakeQdrant) -> None:
    client = fake.client

    @app.get("/collections/{name}/exists")
    def exists(name: str) -> Response:
        return _answer({"exists": name in fake.collections() or name in fake.aliases()})

    @app.get("/collections/{name}")
    def info(name: str) -> Response:
        return _answer(client.get_collection(name))

    @app.put("/collections/{name}")
    def create(name: str, body: Answer) -> Response:
        wanted = models.CreateCollection.model_validate(body)
        if name in fake.collections() or name in fake.aliases():
            return JSONResponse({"status": {"error": f"Collection {name} already exists"}, "time": 0.0}, 409)
        with fake.lock:
            client.create_collection(name, vectors_config=wanted.vectors)
            fake.created[name] = body
        return _answer(True)

    @app.delete("/collections/{name}")
    def delete(name: str) -> Response:
        with fake.lock:
            aliases = [alias for alias, target in fake.aliases().items() if target == name]
            gone = [models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=one)) for one in aliases]
            client.update_collection_aliases(gone)
            return _answer(client.delete_collection(name))

    @app.put("/collections/{name}/index")
    def index(name: str) -> Response:
        fake.created[name].setdefault("indexes", []).append(name)
        return _answer({"operation_id": 1, "status": "completed"})

    @app.post("/collections/aliases")
    def aliases(body: Answer) -> Response:
        actions = models.ChangeAliasesOperation.model_validate(body).actions
        made = [one.create_alias for one in actions if isinstance(one, models.CreateAliasOperation)]
        if any(one.alias_name in fake.collections() or one.collection_name not in fake.collections() for one in made):
            return JSONResponse({"status": {"error": "alias is a collection, or of none"}, "time": 0.0}, 400)
        with fake.lock:
            return _answer(client.update_collection_aliases(actions))

    @app.get("/aliases")
    def list_aliases() -> Response:
        return _answer(client.get_aliases())


def _snapshots(app: FastAPI, fake: FakeQdrant) -> None:
    @app.post("/collections/{name}/snapshots")
    def create(name: str) -> Response:
        with fake.lock:
            data = fake.dump(name)
        called = f"{name}-{len(fake.snapshots)}.snapshot"
        fake.snapshots[called] = data
        return _answer({"name": called, "size": len(data), "checksum": hashlib.sha256(data).hexdigest()})

    @app.get("/collections/{name}/snapshots/{called}")
    def download(name: str, called: str) -> Response:
        assert called.startswith(name)
        return Response(fake.snapshots[called], media_type="application/octet-stream")

    @app.delete("/collections/{name}/snapshots/{called}")
    def delete(name: str, called: str) -> Response:
        assert called.startswith(name)
        del fake.snapshots[called]
        return _answer(True)

    @app.post("/collections/{name}/snapshots/upload")
    async def upload(name: str, snapshot: Annotated[UploadFile, File()], checksum: str | None = None) -> Response:
        data = await snapshot.read()
        if checksum not in (None, hashlib.sha256(data).hexdigest()):
            return JSONResponse({"status": {"error": "Snapshot checksum mismatch"}, "time": 0.0}, 400)
        with fake.lock:
            fake.load(name, data)
        return _answer(True)
