"""Vectors as Parquet files, of a shard of a build or of a whole atlas; needs pyarrow, of the `ray` extra."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.files import replacing
from geo.point import Point
from retrieval.atlas.atlas import Atlas
from retrieval.atlas.draft import ITEM_BYTES, check_room
from retrieval.atlas.engines import EncodedBatch
from retrieval.atlas.failures import Failure
from retrieval.atlas.manifest import AtlasError
from retrieval.stores.base import StoredItem

SHARDS, MAX_SHARD_PHOTOS = 64, 1024
"""Set by hand: small enough to share out and to lose little at a kill, large enough to keep a worker busy."""


class Shard(NamedTuple):
    """Numbers first to last - 1 of a list of photos."""

    first: int
    last: int

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.first:012d}-{self.last:012d}.parquet"


def shards_of(total: int, batch_size: int) -> list[Shard]:
    """Cut a list into shards of whole batches, always the same way."""
    batches = min(-(-total // (SHARDS * batch_size)), MAX_SHARD_PHOTOS // batch_size)
    size = max(1, batches) * batch_size
    return [Shard(first, min(first + size, total)) for first in range(0, total, size)]


def shard_bytes(batches: Sequence[EncodedBatch], stamp: str) -> bytes:
    """Batches as a Parquet file: a row is a photo, with a vector or with the reason why there is none."""
    columns: dict[str, list[Any]] = {name: [] for name in _SCHEMA.names}
    for batch in batches:
        for item, vector in zip(batch.items, batch.vectors, strict=True):
            row = (item.id, item.item_id, item.point.lat, item.point.lon, json.dumps(dict(item.extra)), None)
            _append(columns, (*row, np.ascontiguousarray(vector, dtype="<f4").tobytes()))
        for failure in batch.failures:
            _append(columns, (failure.id, failure.item_id, None, None, None, failure.reason, None))
    table = pa.table(columns, schema=_SCHEMA.with_metadata({"geosleuth": stamp}))
    stream = io.BytesIO()
    pq.write_table(table, stream, write_page_checksum=True)
    return stream.getvalue()


_SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("item_id", pa.string()),
        ("lat", pa.float64()),
        ("lon", pa.float64()),
        ("extra", pa.string()),
        ("reason", pa.string()),
        ("vector", pa.binary()),
    ]
)


def export_atlas(atlas: Atlas, file: Path) -> None:
    """Write an atlas as a table for other programs, a part at a time.

    Columns: id (int64), item_id, lat and lon (degrees), extra (JSON: sha256, author), vector (float32, of length one).
    The file's metadata hold the manifest.

    Raises:
        AtlasError: the file is there, or the disk has too little room.
    """
    if file.exists():
        raise AtlasError(f"{file} is there already: choose another file, or delete it first")
    if not file.parent.is_dir():
        raise AtlasError(f"no folder {file.parent}: make it first")
    dim = atlas.encoder.dim
    check_room(file.parent, len(atlas) * (4 * dim + ITEM_BYTES), f"the table of {len(atlas):,} items")
    named = [_SCHEMA.field(name) for name in ("id", "item_id", "lat", "lon", "extra")]
    vector = pa.field("vector", pa.list_(pa.float32(), dim))
    schema = pa.schema([*named, vector], metadata={"geosleuth": atlas.manifest.model_dump_json()})
    with replacing(file) as part, pq.ParquetWriter(part, schema) as writer:
        for page in atlas.pages():
            rows = [(i.id, i.item_id, i.point.lat, i.point.lon, json.dumps(dict(i.extra))) for i in page.items]
            columns = [pa.array(column) for column in zip(*rows, strict=True)]
            vectors = pa.array(np.ascontiguousarray(page.vectors, np.float32).ravel())
            batch = [*columns, pa.FixedSizeListArray.from_arrays(vectors, dim)]
            writer.write_batch(pa.record_batch(batch, schema=schema))


def _append(columns: dict[str, list[Any]], row: Sequence[Any]) -> None:
    for column, value in zip(columns.values(), row, strict=True):
        column.append(value)


def read_shard(path: Path, stamp: str) -> EncodedBatch | None:
    """The photos of a shard's file; None where there is none, or it is damaged or of another build."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        return None
    if (table.schema.metadata or {}).get(b"geosleuth") != stamp.encode():
        return None
    rows = table.to_pylist()
    stored = [row for row in rows if row["vector"] is not None]
    items = [
        StoredItem(row["id"], Point(lat=row["lat"], lon=row["lon"]), row["item_id"], json.loads(row["extra"]))
        for row in stored
    ]
    failures = [Failure(id=r["id"], item_id=r["item_id"], reason=r["reason"]) for r in rows if r["vector"] is None]
    dim = len(stored[0]["vector"]) // 4 if stored else 0
    vectors = np.frombuffer(b"".join(row["vector"] for row in stored), dtype="<f4").reshape(len(stored), dim)
    return EncodedBatch(items, vectors, failures)
