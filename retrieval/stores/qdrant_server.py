"""A Qdrant server or cluster, through qdrant-client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse
from typing_extensions import override

from retrieval.stores.base import (
    BUILD_AGAIN,
    ServerSettings,
    StoredItem,
    StoreMissingError,
    StoreQuery,
    StoreUnreachableError,
    Vectors,
    check_batch,
)
from retrieval.stores.qdrant import INDEXED_FIELDS, FilterTypes, QdrantStore, item_payload, segment_kb

T = TypeVar("T")
POLL_S = 0.5


class ServerStore(QdrantStore):
    """One collection of a Qdrant server.

    `client` replaces the connection of the settings: tests pass an in-memory one; it is not closed here.

    Raises:
        StoreUnreachableError: no server answers, or it refuses the key.
        StoreMissingError: no such collection, and `create` is off.
    """

    filter_types = FilterTypes(models.Filter, models.FieldCondition, models.MatchAny, models.Range)

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
        self._client = client or connect(settings)
        if not self._call(lambda: self._client.collection_exists(collection)):
            if not create:
                raise StoreMissingError(f"no collection {collection} on {settings.url}: {BUILD_AGAIN}")
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
    def count(self) -> int:
        return self._call(lambda: self._client.count(self._collection, exact=True)).count

    @override
    def flush(self) -> None:
        """Nothing to do: every write waits until the server has it in its log."""

    @override
    def optimize(self) -> None:
        while self._call(lambda: self._client.get_collection(self._collection)).status != models.CollectionStatus.GREEN:
            time.sleep(POLL_S)

    @override
    def close(self) -> None:
        if self._owns_client:
            self._client.close()

    @override
    def _nearest(self, query: StoreQuery, only: Any) -> list[models.ScoredPoint]:
        return self._call(
            lambda: self._client.query_points(
                self._collection,
                query=query.vector.tolist(),
                limit=query.limit,
                query_filter=only,
                search_params=self._search_params(query),
                with_payload=True,
                consistency=self._consistency,
            )
        ).points

    @override
    def _page(self, page_size: int, full: bool, offset: Any) -> tuple[list[models.Record], Any]:
        return self._call(
            lambda: self._client.scroll(
                self._collection, limit=page_size, offset=offset, with_payload=full, with_vectors=full
            )
        )

    def _search_params(self, query: StoreQuery) -> models.SearchParams:
        settings = self._settings
        rescore = models.QuantizationSearchParams(rescore=True, oversampling=settings.oversampling, ignore=query.exact)
        return models.SearchParams(
            exact=query.exact,
            hnsw_ef=max(settings.hnsw.ef_search, query.limit),
            quantization=rescore if settings.quantisation != "none" else None,
        )

    @property
    def _consistency(self) -> models.ReadConsistencyType | None:
        wanted = self._settings.read_consistency
        return None if wanted == "one" else models.ReadConsistencyType(wanted)

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
            optimizers_config=models.OptimizersConfigDiff(max_segment_size=segment_kb(settings, self.dim)),
            quantization_config=_quantisation(settings),
        )
        for field in INDEXED_FIELDS:
            self._client.create_payload_index(self._collection, field, models.PayloadSchemaType.FLOAT)

    def _call(self, call: Callable[[], T]) -> T:
        """The call's result; a server that is away or refuses is the user's to mend."""
        with server_errors(self._settings, self._collection):
            return call()


@contextmanager
def server_errors(settings: ServerSettings, collection: str) -> Iterator[None]:
    """Raise what qdrant-client raises under our names.

    Raises:
        StoreMissingError: the server has no such collection (any more).
        StoreUnreachableError: it is away, or refuses.
    """
    try:
        yield
    except (ApiException, ResponseHandlingException, UnexpectedResponse, httpx.HTTPError) as error:
        if isinstance(error, UnexpectedResponse) and error.status_code == HTTPStatus.NOT_FOUND:
            raise StoreMissingError(
                f"no collection {collection} on {settings.url} any more: if the atlas was built again, open it again;"
                f" otherwise {BUILD_AGAIN}"
            ) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StoreUnreachableError(
            f"the Qdrant server at {settings.url} does not serve {collection} ({reason}):"
            " check that it runs, its URL and its API key"
        ) from error


def connect(settings: ServerSettings) -> QdrantClient:
    """A client of the server of the settings; nothing is sent yet."""
    key = settings.api_key.get_secret_value() if settings.api_key else None
    return QdrantClient(url=settings.url, api_key=key, timeout=settings.timeout_s, check_compatibility=False)


def _quantisation(settings: ServerSettings) -> models.ScalarQuantization | models.BinaryQuantization | None:
    if settings.quantisation == "none":
        return None
    if settings.quantisation == "binary":
        return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))
    scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
    return models.ScalarQuantization(scalar=scalar)
