"""FAISS over a folder: flat exact, IVF or HNSW, on GPUs where FAISS sees any (flat and IVF)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from core.errors import UserError
from core.files import replacing
from retrieval.stores.base import (
    FaissSettings,
    Hit,
    Page,
    StoreDamagedError,
    StoredItem,
    StoreMissingError,
    StoreQuery,
    Vectors,
    VectorStore,
    check_batch,
)
from retrieval.stores.faiss_payload import FaissPayload
from retrieval.stores.filters import Exclude, LatLonBox

INDEX_FILE = "index.faiss"
SCAN_ROWS = 65_536


class _Table(NamedTuple):
    """Items by ascending id: ids (n,), rows in the vector file (n,), positions (n, 2), and that file."""

    ids: NDArray[np.int64]
    rows: NDArray[np.int64]
    lat_lon: NDArray[np.float64]
    vectors: Vectors


class FaissStore(VectorStore):
    """A FAISS index, with items and original vectors beside it.

    Filtered and exact searches, and searches after a write and before `optimize`, scan the original vectors;
    all others use the index.

    Raises:
        UserError: the `faiss` extra is not installed.
        StoreMissingError, StoreLockedError, StoreDamagedError: as their names say.
    """

    def __init__(
        self, settings: FaissSettings, folder: Path, dim: int, create: bool = False, read_only: bool = False
    ) -> None:
        self.dim = dim
        self._faiss = _import_faiss()
        self._settings, self._folder = settings, folder
        if not (folder / "items.sqlite").exists() and not create:
            raise StoreMissingError(f"no vectors in {folder}: rebuild the atlas")
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        self._payload = FaissPayload(folder, dim, read_only)
        self._index: Any = None
        self._table: _Table | None = None
        if self._payload.is_indexed():
            self._index = self._read_index()

    @override
    def upsert(self, items: Sequence[StoredItem], vectors: Vectors) -> None:
        self._payload.write(items, check_batch(items, vectors, self.dim))
        self._index = self._table = None

    @override
    def count(self) -> int:
        return len(self._fresh().ids)

    @override
    def ids(self) -> set[int]:
        return {int(id_) for id_ in self._fresh().ids}

    @override
    def scroll(self, page_size: int = 2000) -> Iterator[Page]:
        ids = self._fresh().ids
        for start in range(0, len(ids), page_size):
            page = slice(start, start + page_size)
            yield Page(tuple(self._payload.items(ids[page])), self._rows_of(np.arange(len(ids))[page]))

    @override
    def flush(self) -> None:
        self._payload.flush()

    @override
    def optimize(self) -> None:
        total = self.count()
        if total:
            index = self._build(self._rows_of(np.arange(total)))
            with replacing(self._folder / INDEX_FILE) as part:
                self._faiss.write_index(index, str(part))
            self._payload.mark_indexed()
            self._index = self._on_device(index)

    @override
    def close(self) -> None:
        self._index = self._table = None
        self._payload.close()

    @override
    def _search(self, query: StoreQuery) -> list[Hit]:
        ids = self._fresh().ids
        if query.exact or self._index is None:
            order, similarities = self._scan(query, self._allowed(query.box, query.exclude))
        else:
            order, similarities = self._ask_index(query)
        items = self._payload.items(ids[order])
        return [Hit(item, float(value)) for item, value in zip(items, similarities, strict=True)]

    def _ask_index(self, query: StoreQuery) -> tuple[NDArray[np.int64], Vectors]:
        similarities, order = self._index.search(query.vector[None, :], query.limit)
        found = order[0] >= 0  # FAISS pads with -1 where it found fewer
        return order[0][found], similarities[0][found]

    def _scan(self, query: StoreQuery, allowed: NDArray[np.int64]) -> tuple[NDArray[np.int64], Vectors]:
        # A piece at a time, so that a scan of everything does not copy everything into memory.
        pieces = [allowed[start : start + SCAN_ROWS] for start in range(0, len(allowed), SCAN_ROWS)]
        similarities = np.concatenate(
            [np.zeros(0, np.float32), *(self._rows_of(piece) @ query.vector for piece in pieces)]
        )
        best = np.argsort(-similarities, kind="stable")[: query.limit]
        return allowed[best], similarities[best]

    def _allowed(self, box: LatLonBox | None, exclude: Exclude) -> NDArray[np.int64]:
        keep = np.ones(len(self._fresh().ids), dtype=bool) if box is None else _inside(box, self._fresh().lat_lon)
        for field, values in exclude.items():
            keep &= ~np.isin(self._fresh().ids, list(self._payload.ids_with(field, values)))
        return np.flatnonzero(keep)

    def _fresh(self) -> _Table:
        if self._table is None:
            self._table = _Table(*self._payload.positions(), self._payload.vectors())
        return self._table

    def _rows_of(self, order: NDArray[np.int64]) -> Vectors:
        table = self._fresh()
        return np.asarray(table.vectors[table.rows[order]], dtype=np.float32)

    def _build(self, vectors: Vectors) -> Any:
        faiss, settings = self._faiss, self._settings
        metric = faiss.METRIC_INNER_PRODUCT
        index = faiss.index_factory(self.dim, _recipe(settings, len(vectors)), metric)
        if settings.index == "hnsw":
            index.hnsw.efConstruction = settings.hnsw.ef_construct
        index.train(vectors)
        index.add(vectors)
        return self._with_search_effort(index)

    def _read_index(self) -> Any:
        try:
            index = self._faiss.read_index(str(self._folder / INDEX_FILE))
        except (MemoryError, RuntimeError) as error:  # MemoryError: a length in it is damaged
            raise StoreDamagedError(f"cannot read the index in {self._folder}: rebuild the atlas") from error
        if index.ntotal != self.count() or index.d != self.dim:
            raise StoreDamagedError(f"the index in {self._folder} does not match its items: rebuild the atlas")
        return self._on_device(self._with_search_effort(index))

    def _with_search_effort(self, index: Any) -> Any:
        if self._settings.index == "hnsw":
            index.hnsw.efSearch = self._settings.hnsw.ef_search
        elif self._settings.index == "ivf":
            index.nprobe = min(self._settings.probes, index.nlist)
        return index

    def _on_device(self, index: Any) -> Any:
        """The index on every GPU FAISS sees; HNSW has no GPU form and stays."""
        wanted = self._settings.gpu == "auto" and self._settings.index != "hnsw"
        if wanted and self._faiss.get_num_gpus() > 0:
            return self._faiss.index_cpu_to_all_gpus(index)
        return index


def _recipe(settings: FaissSettings, count: int) -> str:
    """The FAISS factory string; with fewer IVF cells where there are too few items to train them."""
    if settings.index == "flat":
        return "Flat"
    if settings.index == "hnsw":
        return f"HNSW{settings.hnsw.m},Flat"
    cells = settings.lists or round(4 * count**0.5)
    return f"IVF{max(1, min(cells, count // 39))},Flat"  # k-means needs at least 39 points a cell


def _inside(box: LatLonBox, lat_lon: NDArray[np.float64]) -> NDArray[np.bool_]:
    lat, lon = lat_lon[:, 0], lat_lon[:, 1]
    keep = (lat >= box.lat_min) & (lat <= box.lat_max)
    if not box.lon_ranges:
        return np.asarray(keep)
    return np.asarray(keep & np.any([(lon >= low) & (lon <= high) for low, high in box.lon_ranges], axis=0))


def _import_faiss() -> Any:
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise UserError("the faiss store needs FAISS: pip install 'geosleuth[faiss]'") from error
