"""The store contract: vectors with positions, searched by cosine, on any engine; and each engine's settings.

An engine implements the abstract methods; the search loop here makes filtered results complete on every one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SecretStr

from core.closing import Closing
from core.errors import UserError
from core.frozen import Frozen
from geo.point import Point
from retrieval.stores.filters import Exclude, LatLonBox, Near, NearAny, bounding_boxes, holds_points, is_left_out

Vectors = NDArray[np.float32]


BUILD_AGAIN = "build the atlas again with --replace"


class StoreMissingError(UserError):
    """There is no such store."""


class StoreLockedError(UserError):
    """Another process writes the store."""


class StoreDamagedError(UserError):
    """The engine cannot read what is there."""


class StoreUnreachableError(UserError):
    """The engine's server does not answer, or refuses."""


def folder_in_use(folder: Path) -> StoreLockedError:
    """The error for a folder that another process writes."""
    return StoreLockedError(f"the vectors in {folder} are being written by another process: wait until it has ended")


def damaged_folder(folder: Path, error: Exception) -> StoreDamagedError:
    """The error for a folder that the engine cannot read, with the first line of what it said."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return StoreDamagedError(f"cannot read the vectors in {folder} ({reason}): {BUILD_AGAIN}")


class HnswSettings(Frozen):
    """The HNSW graph (Malkov & Yashunin 2018)."""

    m: int = Field(16, ge=4, description="edges a node")
    ef_construct: int = Field(128, ge=8, description="candidates kept while building")
    ef_search: int = Field(128, ge=8, description="candidates kept while searching")


VECTORS_PER_GRAPH = 1_000_000
"""Beyond that one graph misses too much: recall@20 of five million vectors 0.887 (docs/scale.md)."""


class EdgeSettings(Frozen):
    """Qdrant Edge: in this process, in a folder.

    `scan` reads int8 copies of all vectors and rescores the best with the originals: built in seconds, and its recall
    does not depend on how the vectors lie. `hnsw` walks a graph over the same copies: for larger collections.
    """

    engine: Literal["qdrant-edge"] = "qdrant-edge"
    index: Literal["scan", "hnsw"] = "scan"
    filtered: Literal["exact", "int8"] = Field(
        "exact", description="searches with a filter of a `scan`: int8 reads the copies and rescores, twice as fast"
    )
    hnsw: HnswSettings = HnswSettings(ef_search=2048)  # recall@20 of 1,000,000: 0.91 at 256, 0.99 at 2,048
    vectors_per_graph: int = Field(VECTORS_PER_GRAPH, ge=1000, description="about; more are spread over several graphs")


class ServerSettings(Frozen):
    """A Qdrant server or cluster. Only the server holds vectors; the atlas folder holds the manifest.

    `api_key` is left out whenever the settings are written, so it has to be given again to open.
    """

    engine: Literal["qdrant-server"] = "qdrant-server"
    url: str = "http://localhost:6333"
    api_key: SecretStr | None = Field(None, exclude=True, repr=False)
    collection: str | None = Field(None, description="None: geosleuth-<atlas name>")
    shards: int = Field(1, ge=1)
    replicas: int = Field(1, ge=1)
    quantisation: Literal["none", "int8", "binary"] = Field(
        "none", description="copies in memory of a quarter, or a 32nd, of the size, by which the best are found"
    )
    oversampling: float = Field(
        2.0, ge=1, description="how many times as many as asked for are found by the copies and rescored"
    )
    read_consistency: Literal["one", "majority", "quorum", "all"] = Field(
        "one", description="replicas that must agree on an answer, of those that a cluster keeps"
    )
    on_disk: bool = Field(False, description="keep the original vectors on disk, for collections larger than memory")
    timeout_s: int = Field(60, ge=1)
    hnsw: HnswSettings = HnswSettings()
    vectors_per_graph: int = Field(VECTORS_PER_GRAPH, ge=1000, description="at most; a shard has several graphs")


class FaissSettings(Frozen):
    """FAISS over a folder; needs the `faiss` extra."""

    engine: Literal["faiss"] = "faiss"
    index: Literal["flat", "ivf", "hnsw"] = "hnsw"
    lists: int = Field(0, ge=0, description="IVF cells; 0: four times the square root of the number of items")
    probes: int = Field(32, ge=1, description="IVF cells visited by a search")
    gpu: Literal["auto", "never"] = Field("auto", description="auto: use every GPU FAISS sees, for flat and IVF")
    hnsw: HnswSettings = HnswSettings(m=32)


StoreSettings = Annotated[EdgeSettings | ServerSettings | FaissSettings, Field(discriminator="engine")]


@dataclass(frozen=True)
class StoredItem:
    """What is kept beside a vector.

    Attributes:
        id: non-negative integer, unique in the store; writing it again replaces the item.
        point: where the item is, kept to 1e-7 degrees (1 cm): engines store it as JSON, and some change the
            last bit of a number with more digits.
        item_id: the item's name in its source.
        extra: small payload; its values can be excluded from a search.
    """

    id: int
    point: Point
    item_id: str
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lat, lon = round(self.point.lat, 7), round(self.point.lon, 7)
        if (lat, lon) != (self.point.lat, self.point.lon):
            object.__setattr__(self, "point", Point(lat=lat, lon=lon))


class Hit(NamedTuple):
    """An item found, and the cosine of its vector with the query."""

    item: StoredItem
    similarity: float


class Page(NamedTuple):
    """Some items of a store with their vectors, float32 of shape (n, dim)."""

    items: tuple[StoredItem, ...]
    vectors: Vectors


class StoreQuery(NamedTuple):
    """One search of an engine: a superset of the filter's matches, best first, complete up to `limit`.

    Attributes:
        boxes: an item must lie in one of them; None: it may lie anywhere.
    """

    vector: Vectors
    limit: int
    boxes: tuple[LatLonBox, ...] | None
    exclude: Exclude

    @property
    def exact(self) -> bool:
        """Whether the search must not approximate: a filtered index search may return too few."""
        return self.boxes is not None or bool(self.exclude)


class VectorStore(Closing):
    """Vectors of one dimension with their items, on some engine. Safe to search from several threads."""

    dim: int

    @abstractmethod
    def upsert(self, items: Sequence[StoredItem], vectors: Vectors) -> None:
        """Write n items with vectors (n, dim), L2-normalised; an id already there is replaced."""

    @abstractmethod
    def count(self) -> int:
        """Exact number of items."""

    @abstractmethod
    def ids(self) -> set[int]:
        """The ids of all items."""

    @abstractmethod
    def scroll(self, page_size: int = 2000) -> Iterator[Page]:
        """Every item with its vector, by ascending id."""

    @abstractmethod
    def flush(self) -> None:
        """Return when everything written survives a power cut."""

    @abstractmethod
    def optimize(self) -> None:
        """Build the search index over what is stored; returns when it is ready."""

    @abstractmethod
    def close(self) -> None:
        """Release the store. Closing twice is no error."""

    @abstractmethod
    def _search(self, query: StoreQuery) -> list[Hit]:
        """The engine's best hits; with a box or an exclusion, provably the best of all that match.

        A store whose `filtered` is int8 proves nothing: it rescores the best by int8 copies.
        """

    def search(
        self, vector: Vectors, limit: int, near: Near | NearAny | None = None, exclude: Exclude | None = None
    ) -> list[Hit]:
        """The `limit` items most similar to a vector of shape (dim,), most similar first, ties by id.

        With a filter the result is exact: every match, or `limit` of them. Where the store's `filtered` is int8, these
        are the most similar of those that int8 copies found, rescored. The engine is asked, by exact search or by
        those copies, for the best k in boxes around the circles; what lies outside the circles is removed; k grows
        until enough are left or the boxes are exhausted.
        """
        wanted, asked = max(limit, 0), _first_ask(limit, near)
        boxes = bounding_boxes(near) if near else None
        while wanted:
            query = StoreQuery(self._checked(vector), asked, boxes, exclude or {})
            found = self._search(query)
            hits = _matching(found, near, exclude)
            if len(hits) >= wanted or len(found) < asked or not (near or exclude):
                return sorted(hits, key=lambda hit: (-hit.similarity, hit.item.id))[:wanted]
            asked *= 4
        return []

    def _checked(self, vector: Vectors) -> Vectors:
        """The query as a contiguous float32 vector of the store's dimension."""
        checked = np.ascontiguousarray(vector, dtype=np.float32)
        if checked.shape != (self.dim,):
            raise ValueError(f"a query vector has shape {checked.shape}, this store needs ({self.dim},)")
        return checked


def check_batch(items: Sequence[StoredItem], vectors: Vectors, dim: int) -> Vectors:
    """The vectors as float32, checked against their items.

    Raises:
        ValueError: wrong shape, or a vector that is not finite and of length one.
    """
    checked = np.ascontiguousarray(vectors, dtype=np.float32)
    if checked.shape != (len(items), dim):
        raise ValueError(f"{len(items)} items of dimension {dim} came with vectors of shape {checked.shape}")
    lengths = np.linalg.norm(checked, axis=1)
    if not np.all(np.abs(lengths - 1.0) < 1e-3):
        raise ValueError("vectors must be finite and L2-normalised")
    return checked


def _first_ask(limit: int, near: Near | NearAny | None) -> int:
    # A circle fills π/4 of its box at most, so asking for exactly `limit` would nearly always need a second round.
    return 2 * limit + 16 if near else limit


def _matching(found: list[Hit], near: Near | NearAny | None, exclude: Exclude | None) -> list[Hit]:
    if near is not None and found:
        inside = holds_points(near, [hit.item.point for hit in found])
        found = [hit for hit, is_inside in zip(found, inside.tolist(), strict=True) if is_inside]
    if not exclude:
        return found
    return [hit for hit in found if not is_left_out(hit.item.item_id, hit.item.extra, exclude)]
