"""What Qdrant Edge and a Qdrant server share: the payload layout, filters, and reading collections page by page.

The two Python libraries give the same types different classes, so records and filters are `Any` here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
from typing_extensions import override

from geo.point import Point
from retrieval.stores.base import EdgeSettings, Hit, Page, ServerSettings, StoredItem, StoreQuery, VectorStore
from retrieval.stores.filters import Exclude, LatLonBox

INDEXED_FIELDS = ("lat", "lon")
IDS_PAGE = 10_000


class FilterTypes(NamedTuple):
    """The classes one of the libraries makes filters of."""

    filter: type[Any]
    field: type[Any]
    match_any: type[Any]
    range: type[Any]


class QdrantStore(VectorStore):
    """A Qdrant collection, whichever library talks to it."""

    filter_types: ClassVar[FilterTypes]

    @override
    def ids(self) -> set[int]:
        return {int(record.id) for page in self._pages(IDS_PAGE, full=False) for record in page}

    @override
    def scroll(self, page_size: int = 2000) -> Iterator[Page]:
        for records in self._pages(page_size, full=True):
            items = tuple(payload_item(record.id, record.payload) for record in records)
            yield Page(items, np.array([record.vector for record in records], dtype=np.float32))

    @override
    def _search(self, query: StoreQuery) -> list[Hit]:
        found = self._nearest(query, build_filter(self.filter_types, query.boxes, query.exclude))
        return [Hit(payload_item(point.id, point.payload), point.score) for point in found]

    def _pages(self, page_size: int, full: bool) -> Iterator[list[Any]]:
        offset: Any = None
        while True:
            records, offset = self._page(page_size, full, offset)
            if records:
                yield records
            if offset is None:
                return

    @abstractmethod
    def _page(self, page_size: int, full: bool, offset: Any) -> tuple[list[Any], Any]:
        """Records by ascending id from an offset, with payload and vector if `full`; and the next offset, if any."""

    @abstractmethod
    def _nearest(self, query: StoreQuery, only: Any) -> list[Any]:
        """Scored points with their payload, among those that match the filter."""


def item_payload(item: StoredItem) -> dict[str, Any]:
    """The payload of an item: lat, lon, item_id, extra."""
    return {"lat": item.point.lat, "lon": item.point.lon, "item_id": item.item_id, "extra": dict(item.extra)}


def payload_item(id_: Any, payload: Any) -> StoredItem:
    """The item of an id and a payload written by `item_payload`."""
    point = Point(lat=payload["lat"], lon=payload["lon"])
    return StoredItem(int(id_), point, payload["item_id"], payload["extra"])


def build_filter(types: FilterTypes, boxes: tuple[LatLonBox, ...] | None, exclude: Exclude) -> Any:
    """A filter of one library for boxes and values to leave out; None where there is nothing to filter by."""
    if boxes is None and not exclude:
        return None

    def between(field: str, low: float, high: float) -> Any:
        return types.field(key=field, range=types.range(gte=low, lte=high))

    def inside(box: LatLonBox) -> Any:
        lon = [between("lon", west, east) for west, east in box.lon_ranges]
        return types.filter(
            must=[between("lat", box.lat_min, box.lat_max), *([types.filter(should=lon)] if lon else [])]
        )

    wanted = [] if boxes is None else [types.filter(should=[inside(box) for box in boxes])]
    left_out = [
        types.field(key=_payload_path(field), match=types.match_any(any=list(values)))
        for field, values in exclude.items()
        if values
    ]
    return types.filter(must=wanted, must_not=left_out)


def segment_kb(settings: EdgeSettings | ServerSettings, dim: int) -> int:
    """The size of original vectors, in KB, from which on the engine joins no more segments: each has its own graph."""
    return max(1, settings.vectors_per_graph * dim * 4 // 1024)


def _payload_path(field: str) -> str:
    return field if field == "item_id" else f"extra.{field}"
