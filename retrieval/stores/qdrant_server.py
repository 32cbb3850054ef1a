"""A Qdrant server or cluster, through qdrant-client; the payload layout is the one of Qdrant Edge."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse
from typing_extensions import override

from retrieval.stores.base import (
    Hit,
    Page,
    Progress,
    StoredItem,
    StoreMissingError,
    StoreQuery,
    StoreUnreachableError,
    Vectors,
    VectorStore,
    check_batch,
)
from retrieval.stores.filters import Exclude, LatLonBox
from retrieval.stores.qdrant_edge import field_path, item_payload, payload_item
from retrieval.stores.settings import ServerSettings

T = TypeVar("T")
POLL_S = 0.5


class ServerStore(VectorStore):
    """One collection of a Qdrant server.

    `client` replaces the connection of the settings: tests pass an in-memory one; it is not closed here.

    Raises:
        StoreUnreachableError: no server answers, or it refuses the key.
        StoreMissingError: no such collection, and `create` is off.
    """

    def __init__(
        self,
        settings: ServerSettings,
        collection: str,
        dim: int,
        create: bool = False,
        client: QdrantClient | None = None,
    ) -> None:
        self.dim = dim
        self._settings, self._collection, self._owns_client = settings, collection, client is None
        self._client = client or _connect(settings)
        if not self._call(lambda: self._client.collection_exists(collection)):
            if not create:
                raise StoreMissingError(f"no collection {collection} on {settings.url}: rebuild the atlas")
            self._call(self._create)

    @override
    def upsert(self, items: Sequence[StoredItem], vectors: Vectors) -> None:
        rows = check_batch(items, vectors, self.dim).tolist()
        points = [
            models.PointStruct(id=item.id, vector=row, payload=item_payload(item))
            for item, row in zip(items, rows, strict=True)
        ]
        if points:
            self._call(lambda: self._client.upsert(self._collection, points, wait=True))

    @override
    def delete(self, ids: Collection[int]) -> None:
        selector = models.PointIdsList(points=list(ids))
        self._call(lambda: self._client.delete(self._collection, selector, wait=True))

    @override
    def count(self) -> int:
        return self._call(lambda: self._client.count(self._collection, exact=True)).count

    @override
    def ids(self) -> set[int]:
        return {int(record.id) for page in self._pages(10_000, full=False) for record in page}

    @override
    def scroll(self, page_size: int = 2000) -> Iterator[Page]:
        for records in self._pages(page_size, full=True):
            items = tuple(payload_item(record.id, record.payload) for record in records)
            yield Page(items, np.array([record.vector for record in records], dtype=np.float32))

    @override
    def flush(self) -> None:
        """Nothing to do: every write waits until the server has it in its log."""

    @override
    def optimize(self, progress: Progress = None) -> None:
        total = self.count()
        while True:
            info = self._call(lambda: self._client.get_collection(self._collection))
            if progress:
                progress(min(info.indexed_vectors_count or 0, total), total)
            if info.status == models.CollectionStatus.GREEN:
                break
            time.sleep(POLL_S)
        if progress:
            progress(total, total)

    @override
    def close(self) -> None:
        if self._owns_client:
            self._client.close()

    @override
    def drop(self) -> None:
        self._call(lambda: self._client.delete_collection(self._collection))
        self.close()

    @override
    def _search(self, query: StoreQuery) -> list[Hit]:
        found = self._call(
            lambda: self._client.query_points(
                self._collection,
                query=query.vector.tolist(),
                limit=query.limit,
                query_filter=_filter(query.box, query.exclude),
                search_params=self._search_params(query),
                with_payload=True,
            )
        )
        return [Hit(payload_item(point.id, point.payload), point.score) for point in found.points]

    def _search_params(self, query: StoreQuery) -> models.SearchParams:
        ef = max(self._settings.hnsw.ef_search, query.limit)
        rescore = models.QuantizationSearchParams(rescore=True, oversampling=2.0, ignore=query.exact)
        quantised = self._settings.quantisation != "none"
        return models.SearchParams(exact=query.exact, hnsw_ef=ef, quantization=rescore if quantised else None)

    def _pages(self, page_size: int, full: bool) -> Iterator[list[models.Record]]:
        offset: Any = None
        while True:
            records, offset = self._call(partial(self._scroll, page_size, full, offset))
            if records:
                yield records
            if offset is None:
                return

    def _scroll(self, page_size: int, full: bool, offset: Any) -> tuple[list[models.Record], Any]:
        return self._client.scroll(
            self._collection, limit=page_size, offset=offset, with_payload=full, with_vectors=full
        )

    def _create(self) -> None:
        settings, hnsw = self._settings, self._settings.hnsw
        vectors = models.VectorParams(size=self.dim, distance=models.Distance.COSINE, on_disk=settings.on_disk)
        # payload_m=0: filtered searches are exact here, so graphs a payload value would only cost time.
        self._client.create_collection(
            self._collection,
            vectors_config=vectors,
            shard_number=settings.shards,
            replication_factor=settings.replicas,
            hnsw_config=models.HnswConfigDiff(m=hnsw.m, ef_construct=hnsw.ef_construct, payload_m=0),
            quantization_config=_quantisation(settings),
        )
        for field in ("lat", "lon"):
            self._client.create_payload_index(self._collection, field, models.PayloadSchemaType.FLOAT)

    def _call(self, call: Callable[[], T]) -> T:
        """The call's result; a server that is away or refuses is the user's to mend."""
        try:
            return call()
        except (ApiException, ResponseHandlingException, UnexpectedResponse) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise StoreUnreachableError(
                f"the Qdrant server at {self._settings.url} does not serve {self._collection} ({reason}):"
                " check that it runs, its URL and its API key"
            ) from error


def _connect(settings: ServerSettings) -> QdrantClient:
    key = settings.api_key.get_secret_value() if settings.api_key else None
    return QdrantClient(url=settings.url, api_key=key, timeout=settings.timeout_s, check_compatibility=False)


def _quantisation(settings: ServerSettings) -> models.ScalarQuantization | None:
    if settings.quantisation == "none":
        return None
    scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
    return models.ScalarQuantization(scalar=scalar)


def _filter(box: LatLonBox | None, exclude: Exclude) -> models.Filter | None:
    if box is None and not exclude:
        return None
    left_out: list[Any] = [
        models.FieldCondition(key=field_path(field), match=models.MatchAny(any=list(values)))
        for field, values in exclude.items()
        if values
    ]
    return models.Filter(must=_box_conditions(box), must_not=left_out)


def _box_conditions(box: LatLonBox | None) -> list[Any]:
    if box is None:
        return []
    conditions: list[Any] = [_between("lat", box.lat_min, box.lat_max)]
    if box.lon_ranges:
        conditions.append(models.Filter(should=[_between("lon", low, high) for low, high in box.lon_ranges]))
    return conditions


def _between(field: str, low: float, high: float) -> models.FieldCondition:
    return models.FieldCondition(key=field, range=models.Range(gte=low, lte=high))
