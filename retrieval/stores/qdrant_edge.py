"""Qdrant Edge: a folder, no server, one process at a time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import qdrant_edge as edge
from typing_extensions import override

from geo.point import Point
from retrieval.stores.base import (
    Hit,
    Page,
    Progress,
    StoreDamagedError,
    StoredItem,
    StoreLockedError,
    StoreMissingError,
    StoreQuery,
    Vectors,
    VectorStore,
    check_batch,
)
from retrieval.stores.filters import Exclude, LatLonBox
from retrieval.stores.settings import EdgeSettings

T = TypeVar("T")
# Twice the hits are taken by int8 similarity and rescored: recall@20 rises from 0.94 to 1.0 at 100,000 × 256.
# At least 64, as neighbouring places have all but the same vector, and int8 cannot tell which is the nearest.
OVERSAMPLING = 2.0
LEAST_RESCORED = 64


class EdgeStore(VectorStore):
    """A Qdrant Edge shard in a folder.

    Raises:
        StoreMissingError: nothing there, and `create` is off.
        StoreLockedError: another process has it open.
        StoreDamagedError: the engine cannot read it.
    """

    def __init__(self, settings: EdgeSettings, folder: Path, dim: int, create: bool = False) -> None:
        self.dim = dim
        self._folder, self._settings = folder, settings
        if not folder.exists():
            if not create:
                raise StoreMissingError(f"no vectors in {folder}: rebuild the atlas")
            _create(settings, folder, dim)
        self._shard: edge.EdgeShard | None = _load(folder)

    @property
    def _open(self) -> edge.EdgeShard:
        if self._shard is None:
            raise ValueError(f"the store in {self._folder} is closed")
        return self._shard

    @override
    def upsert(self, items: Sequence[StoredItem], vectors: Vectors) -> None:
        rows = check_batch(items, vectors, self.dim).tolist()
        points = [edge.Point(item.id, row, item_payload(item)) for item, row in zip(items, rows, strict=True)]
        if points:
            self._open.update(edge.UpdateOperation.upsert_points(points))

    @override
    def delete(self, ids: Collection[int]) -> None:
        self._open.update(edge.UpdateOperation.delete_points(list(ids)))

    @override
    def count(self) -> int:
        return self._open.count(edge.CountRequest(exact=True))

    def indexed_count(self) -> int:
        """Vectors in the engine's index; the rest are searched exactly."""
        return self._open.info().indexed_vectors_count

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
        self._open.flush()

    @override
    def optimize(self, progress: Progress = None) -> None:
        total = self.count()
        if progress:
            progress(0, total)
        self._open.optimize()
        self._open.flush()
        if progress:
            progress(total, total)

    @override
    def close(self) -> None:
        if self._shard is not None:
            self._shard.close()
            self._shard = None

    @override
    def drop(self) -> None:
        self.close()
        shutil.rmtree(self._folder)

    @override
    def _search(self, query: StoreQuery) -> list[Hit]:
        # A filtered HNSW search silently returns too few, so the contract asks for exact search then.
        params = edge.SearchParams(
            exact=query.exact,
            hnsw_ef=max(self._settings.hnsw.ef_search, query.limit),
            quantization=edge.QuantizationSearchParams(
                rescore=True, oversampling=max(OVERSAMPLING, LEAST_RESCORED / query.limit)
            ),
        )
        request = edge.SearchRequest(
            edge.Query.Nearest(query.vector.tolist()),
            limit=query.limit,
            filter=_filter(query.box, query.exclude),
            params=params,
            with_payload=True,
        )
        return [Hit(payload_item(point.id, point.payload), point.score) for point in self._open.search(request)]

    def _pages(self, page_size: int, full: bool) -> Iterator[list[edge.Record]]:
        offset: Any = None
        while True:
            request = edge.ScrollRequest(offset=offset, limit=page_size, with_payload=full, with_vector=full)
            records, offset = self._open.scroll(request)
            if records:
                yield records
            if offset is None:
                return


def item_payload(item: StoredItem) -> dict[str, Any]:
    """The payload layout of every Qdrant collection of ours: lat, lon, item_id, extra."""
    return {"lat": item.point.lat, "lon": item.point.lon, "item_id": item.item_id, "extra": dict(item.extra)}


def payload_item(id_: Any, payload: Any) -> StoredItem:
    """A stored item from an id and a payload in our layout."""
    point = Point(lat=payload["lat"], lon=payload["lon"])
    return StoredItem(int(id_), point, payload["item_id"], payload["extra"])


def field_path(field: str) -> str:
    """Where a field that can be excluded lies in the payload."""
    return field if field == "item_id" else f"extra.{field}"


def _filter(box: LatLonBox | None, exclude: Exclude) -> edge.Filter | None:
    if box is None and not exclude:
        return None
    left_out: list[Any] = [
        edge.FieldCondition(field_path(field), match=edge.MatchAny(list(values)))
        for field, values in exclude.items()
        if values
    ]
    return edge.Filter(must=_box_conditions(box), must_not=left_out)


def _box_conditions(box: LatLonBox | None) -> list[Any]:
    if box is None:
        return []
    conditions: list[Any] = [_between("lat", box.lat_min, box.lat_max)]
    if box.lon_ranges:
        conditions.append(edge.Filter(should=[_between("lon", low, high) for low, high in box.lon_ranges]))
    return conditions


def _between(field: str, low: float, high: float) -> edge.FieldCondition:
    return edge.FieldCondition(field, range=edge.RangeFloat(gte=low, lte=high))


def _create(settings: EdgeSettings, folder: Path, dim: int) -> None:
    """Make an empty shard beside its place and move it there, so that a kill leaves all of it or nothing."""
    draft = folder.with_name(folder.name + ".new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    shard = edge.EdgeShard.create(str(draft), _config(settings, dim))
    # payload_m=0 and enable_hnsw=False: filtered searches are exact here, and the extra graphs cost minutes.
    for field in ("lat", "lon"):
        index = edge.FloatIndexParams(enable_hnsw=False)
        shard.update(edge.UpdateOperation.create_field_index(field, index))
    shard.flush()
    shard.close()
    draft.rename(folder)


def _config(settings: EdgeSettings, dim: int) -> edge.EdgeConfig:
    # m=0 builds no graph: the index is then the int8 copies alone.
    hnsw = edge.HnswIndexConfig(
        m=settings.hnsw.m if settings.index == "hnsw" else 0,
        ef_construct=settings.hnsw.ef_construct,
        full_scan_threshold=10_000,
        payload_m=0,
    )
    return edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(size=dim, distance=edge.Distance.Cosine),
        hnsw_config=hnsw,
        quantization_config=edge.ScalarQuantizationConfig(type=edge.ScalarType.Int8, always_ram=True),
    )


def _load(folder: Path) -> edge.EdgeShard:
    return _named_errors(folder, lambda: edge.EdgeShard.load(str(folder)))


def _named_errors(folder: Path, call: Callable[[], T]) -> T:
    """The call's result, with the engine's errors under our names."""
    try:
        return call()
    except Exception as error:  # the engine raises nothing more specific; it is re-raised under our name
        if "WouldBlock" in str(error):
            raise StoreLockedError(
                f"the vectors in {folder} are in use by another process: close it and try again"
            ) from error
        raise StoreDamagedError(
            f"cannot read the vectors in {folder} ({_first_line(error)}): rebuild the atlas"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
