"""What an atlas of a number of photos needs: engine and settings, memory, disk, hours, recall; on paper.

The constants were measured (docs/scale.md has the commands); a value beyond what was measured is called an estimate.
A GB is 1e9 bytes. B is a byte, N the number of photos, dim the dimension of their vectors.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from core.errors import UserError
from core.frozen import Frozen
from retrieval.atlas.build import SCAN_UP_TO
from retrieval.stores.base import EdgeSettings, HnswSettings, ServerSettings, StoreSettings

MEASURED_PHOTOS = (100_000, 1_000_000)
"""Between these the embedded engine was measured: a scan's memory at 1,024 dimensions, its disk and indexing at 256 and
1,024; a graph's indexing and recall at 256."""

# Straight lines through 100,000 and 1,000,000 tiles of 1,024 in Qdrant Edge (benchmarks.speed.tiles).
_PROGRAM_B, _MEMORY_B_PER_PHOTO = 0.33e9, 143.0  # beside the int8 copies
_FOLDER_B, _DISK_B_PER_PHOTO = 38e6, 442.0  # beside the vectors and their int8 copies
# CPU to write and index a vector as a scan: 110 µs at 256 (benchmarks.speed.atlas), 256 µs at 1,024 (tiles).
_WRITE_S_PER_PHOTO, _WRITE_S_PER_DIM = 61.3e-6, 0.19e-6
# With a graph 23.9 s of CPU for 100,000 vectors of 256, and 268, 285 and 286 s for 1,000,000 (benchmarks.speed.atlas):
# this gives 24.9 and 278.
_GRAPH_S_PER_PHOTO = 140e-6
SCAN_RECALL = 1.0
GRAPH_RECALLS = {100_000: 1.0, 1_000_000: 0.982, 5_000_000: 0.887}
"""Recall@20 of one graph over so many vectors of 256, `ef_search` 2,048 (benchmarks.speed.atlas)."""
ENCODE_S = 0.0074
"""CPU seconds of the encoder `compact` for one photo of Flickr, decoding included (1,335 photos)."""

# Set by hand.
EMBEDDED_UP_TO = 1_000_000
PHOTOS_PER_SHARD = 10_000_000
_TOO_MANY = 1e15
USABLE_MEMORY = 0.75  # the rest is for pages of files and for segments that are being rewritten


class PlannedValue(NamedTuple):
    """One number of a plan, and where it comes from.

    Attributes:
        basis: `measured`: between measured points; `estimate`: beyond them, or of an engine that was not run.
        how: formula or source, in words.
    """

    name: str
    value: float
    unit: str
    basis: Literal["measured", "estimate"]
    how: str


class AtlasPlan(Frozen):
    """What an atlas needs.

    Attributes:
        store: the engine and its settings, as an atlas's manifest holds them.
        payload_indexes: fields that are indexed, for searches in an area.
    """

    photos: int
    dim: int
    store: StoreSettings
    payload_indexes: tuple[str, ...] = ("lat", "lon")
    values: tuple[PlannedValue, ...]

    def value(self, name: str) -> float:
        """The number of a name."""
        return next(one.value for one in self.values if one.name == name)


class PlanOptions(NamedTuple):
    """What a plan depends on beside the photos.

    Attributes:
        encode_s: CPU seconds to encode one photo.
        machine_gb: memory of one machine, in GB.
        usd_per_gb_month: price of a GB of memory for a month; None: no cost is planned.
    """

    dim: int = 256
    encode_s: float = ENCODE_S
    machine_gb: float = 64.0
    usd_per_gb_month: float | None = None


DEFAULT_OPTIONS = PlanOptions()


def plan_atlas(photos: int, options: PlanOptions = DEFAULT_OPTIONS) -> AtlasPlan:
    """What an atlas of a number of photos needs.

    >>> plan_atlas(100_000).store.index, plan_atlas(10_000_000).store.engine
    ('scan', 'qdrant-server')
    >>> plan_atlas(10_000_000).value("memory")  # 1e7 * (256 + 143 + 132.27) B
    5.31

    Raises:
        UserError: a number that is not positive, or 1e15 or more.
    """
    for name, number in (("photos", photos), *options._asdict().items()):
        if number is not None and not 0 < number < _TOO_MANY:
            raise UserError(f"{name} is {number}: a plan needs a number above 0 and below {_TOO_MANY:g}")
    store = planned_store(photos)
    values = _values(photos, options, store)
    return AtlasPlan(photos=photos, dim=options.dim, store=store, values=values)


def planned_store(photos: int) -> EdgeSettings | ServerSettings:
    """The engine and settings: embedded up to a million photos, then a server with int8 copies in memory.

    Originals are on disk there. Sign bits instead of int8 would take an eighth of the memory of the copies, but
    miss too much at 256 dimensions (docs/scale.md). A collection of several shards has two replicas.

    >>> planned_store(250_000).index, planned_store(250_001).index
    ('scan', 'hnsw')
    >>> planned_store(1_000_000_000).shards, planned_store(1_000_000_000).replicas
    (100, 2)
    """
    if photos <= EMBEDDED_UP_TO:
        return EdgeSettings(index="scan" if photos <= SCAN_UP_TO else "hnsw")
    shards = math.ceil(photos / PHOTOS_PER_SHARD)
    hnsw = EdgeSettings().hnsw  # what was measured
    return ServerSettings(shards=shards, replicas=1 if shards == 1 else 2, quantisation="int8", on_disk=True, hnsw=hnsw)


def graph_bytes(hnsw: HnswSettings) -> float:
    """Bytes a photo of an HNSW graph: 2 m links of 4 B on the lowest level, and m on each of 1 / (m - 1) others.

    >>> round(graph_bytes(HnswSettings(m=16)), 2)
    132.27
    """
    return 4.0 * (2 * hnsw.m + hnsw.m / (hnsw.m - 1))


def memory_bytes(photos: int, dim: int, store: EdgeSettings | ServerSettings) -> float:
    """Bytes of memory while searching, of all replicas; of the embedded engine with the program around it.

    >>> memory_bytes(1_000_000, 1024, EdgeSettings()) / 1e9  # measured: 1.5
    1.497
    """
    a_copy = photos * (dim + _MEMORY_B_PER_PHOTO + _graph_bytes(store))
    return a_copy * store.replicas if isinstance(store, ServerSettings) else _PROGRAM_B + a_copy


def disk_bytes(photos: int, dim: int, store: EdgeSettings | ServerSettings) -> float:
    """Bytes on disk, of all replicas: float32 vectors, int8 copies, graph, names and positions.

    >>> round(disk_bytes(1_000_000, 1024, EdgeSettings()) / 1e9, 2)  # measured: 5.6
    5.6
    """
    a_copy = photos * (5 * dim + _DISK_B_PER_PHOTO + _graph_bytes(store))
    return a_copy * store.replicas if isinstance(store, ServerSettings) else _FOLDER_B + a_copy


def index_seconds(photos: int, dim: int, store: EdgeSettings | ServerSettings) -> float:
    """CPU seconds to write and index the vectors, of all replicas; a graph of n photos takes n log n.

    >>> round(index_seconds(1_000_000, 1024, EdgeSettings()))  # measured: 256
    256
    """
    write_s = _WRITE_S_PER_PHOTO + _WRITE_S_PER_DIM * dim
    if not _has_graph(store):
        return photos * write_s
    replicas = store.replicas if isinstance(store, ServerSettings) else 1
    growth = max(1.0, math.log(photos_per_graph(photos, store)) / math.log(MEASURED_PHOTOS[0]))
    return photos * (write_s + _GRAPH_S_PER_PHOTO * growth) * replicas


def photos_per_graph(photos: int, store: EdgeSettings | ServerSettings) -> float:
    """Vectors in each graph of a shard, spread evenly.

    >>> photos_per_graph(500_000, EdgeSettings()), photos_per_graph(25_000_000, ServerSettings(shards=2))
    (500000.0, 961538.4615384615)
    """
    a_shard = photos / (store.shards if isinstance(store, ServerSettings) else 1)
    return a_shard / math.ceil(a_shard / store.vectors_per_graph)


def graph_recall(photos: float) -> float:
    """Recall@20 of one graph over a number of photos: straight lines in log N, level beyond what was measured.

    >>> round(graph_recall(316_228), 3), graph_recall(10_000_000)
    (0.991, 0.887)
    """
    return float(np.interp(math.log(photos), [math.log(n) for n in GRAPH_RECALLS], list(GRAPH_RECALLS.values())))


def _values(photos: int, options: PlanOptions, store: EdgeSettings | ServerSettings) -> tuple[PlannedValue, ...]:
    is_graph = _has_graph(store)
    basis = _basis(photos, options.dim == 256 if is_graph else 256 <= options.dim <= 1024, store)
    disk_basis = "estimate" if is_graph else basis
    memory_basis = "estimate" if is_graph else _basis(photos, options.dim == 1024, store)
    memory_gb = memory_bytes(photos, options.dim, store) / 1e9
    disk_gb = disk_bytes(photos, options.dim, store) / 1e9
    encode_h, index_h = photos * options.encode_s / 3600, index_seconds(photos, options.dim, store) / 3600
    machines = math.ceil(memory_gb / (USABLE_MEMORY * options.machine_gb))
    copies = store.replicas if isinstance(store, ServerSettings) else 1
    rows = [
        PlannedValue("memory", round(memory_gb, 2), "GB", memory_basis, _memory_how(store)),
        PlannedValue("disk", round(disk_gb, 2), "GB", disk_basis, _disk_how(store)),
        PlannedValue(
            "machines", max(machines, copies), "", "estimate", f"{options.machine_gb:g} GB each, 3/4 of it used"
        ),
        PlannedValue("encoding", round(encode_h, 2), "h of one core", "estimate", f"N × {options.encode_s:g} s"),
        PlannedValue("indexing", round(index_h, 2), "h of one core", basis, _index_how(store)),
        _recall(photos, store, basis),
    ]
    if options.usd_per_gb_month is not None:
        usd, price = memory_gb * options.usd_per_gb_month, f"memory × {options.usd_per_gb_month:g} USD"
        rows.append(PlannedValue("cost", round(usd, 2), "USD a month", "estimate", price))
    return tuple(rows)


def _has_graph(store: EdgeSettings | ServerSettings) -> bool:
    return isinstance(store, ServerSettings) or store.index == "hnsw"


def _graph_bytes(store: EdgeSettings | ServerSettings) -> float:
    return graph_bytes(store.hnsw) if _has_graph(store) else 0.0


def _basis(photos: int, is_dim_measured: bool, store: EdgeSettings | ServerSettings) -> Literal["measured", "estimate"]:
    inside = is_dim_measured and MEASURED_PHOTOS[0] <= photos <= MEASURED_PHOTOS[1]
    return "measured" if inside and isinstance(store, EdgeSettings) else "estimate"


def _memory_how(store: EdgeSettings | ServerSettings) -> str:
    beside = " + 132 (graph)" if _has_graph(store) else ""
    formula = f"N × (dim{beside} + {_MEMORY_B_PER_PHOTO:g}) B"
    return f"{formula} × {store.replicas}" if isinstance(store, ServerSettings) else f"0.33 GB + {formula}"


def _disk_how(store: EdgeSettings | ServerSettings) -> str:
    beside = " + 132 (graph)" if _has_graph(store) else ""
    formula = f"N × (5 dim{beside} + {_DISK_B_PER_PHOTO:g}) B"
    return f"{formula} × {store.replicas}" if isinstance(store, ServerSettings) else f"0.04 GB + {formula}"


def _index_how(store: EdgeSettings | ServerSettings) -> str:
    write = f"N × ({1e6 * _WRITE_S_PER_PHOTO:g} + {1e6 * _WRITE_S_PER_DIM:g} dim) µs"
    if not _has_graph(store):
        return write
    return f"{write} + N × {1e6 * _GRAPH_S_PER_PHOTO:g} µs × log n / log 1e5, n photos a graph; each replica"


def _recall(photos: int, store: EdgeSettings | ServerSettings, basis: Literal["measured", "estimate"]) -> PlannedValue:
    if not _has_graph(store):
        return PlannedValue("recall@20", SCAN_RECALL, "", basis, "int8 scan, rescored")
    a_graph = photos_per_graph(photos, store)
    measured = ", ".join(f"{recall:g} at {count:,}" for count, recall in GRAPH_RECALLS.items())
    how = f"HNSW over int8, rescored, vectors of 256: {measured} a graph, here {a_graph:,.0f}"
    return PlannedValue("recall@20", round(graph_recall(a_graph), 3), "", basis, how)
