"""Encode photos on workers of Ray Data; needs the `ray` extra.

The list is cut into shards of whole batches. A worker returns a shard as a Parquet file, which this process writes into
the draft in one step, so a build that was cut off does only the shards that are not there. Loaded in the source's
order, they give the store that a build in one process gives.
"""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

# Read when ray is imported: nothing is reported to its makers. See also `retrieval.atlas.engines`.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
import ray.exceptions

from core.errors import UserError
from core.files import make_private_folder, write_atomic
from geo.point import Point
from retrieval.atlas.build import encode_photos
from retrieval.atlas.draft import check_room
from retrieval.atlas.engines import EncodedBatch, EngineJob
from retrieval.atlas.failures import Failure
from retrieval.atlas.manifest import SHARD_FOLDER, AtlasError
from retrieval.atlas.sources import PhotoItem
from retrieval.encoders.base import EncoderIdentity, PhotoEncoder
from retrieval.stores.base import StoredItem

SHARDS, MAX_SHARD_PHOTOS = 64, 1024
"""Set by hand: small enough to share out and to lose little at a kill, large enough to keep a worker busy."""
OBJECT_STORE_BYTES = 256 << 20
ITEM_BYTES = 500
Numbered = tuple[int, PhotoItem]


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


class RayEngine:
    """Ray Data with a pool of workers, each with an encoder of its own.

    Args:
        load: loads the encoder in a worker; pickled.
        address: of a cluster, as HOST:PORT (this machine is one of its nodes) or ray://HOST:PORT (Ray client). None:
            workers on this machine, started and stopped with the build.
        workers: how many; None: one for each GPU that Ray sees if `gpu` is set, or else for each core.
        gpu: whether the encoder computes on a GPU where there is one.
    """

    def __init__(
        self,
        load: Callable[[], PhotoEncoder],
        *,
        address: str | None = None,
        workers: int | None = None,
        gpu: bool = False,
    ) -> None:
        self._load, self._address, self._workers, self._gpu = load, address, workers, gpu

    def encode(self, job: EngineJob) -> Iterator[EncodedBatch]:
        """The batches of a job, in the order of the source.

        Raises:
            UserError: no cluster at the address, a full disk, or a worker's
                encoder is another one.
        """
        folder = job.folder / SHARD_FOLDER
        make_private_folder(folder)
        pending = set(job.pending)
        shards = [shard for shard in shards_of(len(job.items), job.batch_size) if not pending.isdisjoint(range(*shard))]
        stamp = json.dumps([job.source_sha256, job.encoder.identity.model_dump(mode="json")])
        missing = [shard for shard in shards if read_shard(folder / shard.file, stamp) is None]
        job.encoded(sum(len(pending.intersection(range(*shard))) for shard in set(shards) - set(missing)))
        if missing:
            dim = job.encoder.identity.dim
            check_room(job.folder, len(pending) * (4 * dim + ITEM_BYTES), "what Ray's workers return")
            self._make(missing, job, stamp)
        for shard in shards:
            batch = read_shard(folder / shard.file, stamp)
            if batch is None:
                raise AtlasError(f"{folder / shard.file} is missing or damaged: build again")
            yield batch

    def _make(self, missing: Sequence[Shard], job: EngineJob, stamp: str) -> None:
        with connected(self._address, self._workers), _as_user_errors():
            for shard, data in self._results(missing, job, stamp):
                path = job.folder / SHARD_FOLDER / shard.file
                try:
                    write_atomic(path, data)
                except OSError as error:
                    raise AtlasError(f"{path}: {error.strerror}; make room and run the same command") from error
                job.encoded(shard.last - shard.first)

    def _results(self, missing: Sequence[Shard], job: EngineJob, stamp: str) -> Iterator[tuple[Shard, bytes]]:
        rows = [
            {"first": s.first, "last": s.last, "items": pickle.dumps([(i, job.items[i]) for i in range(*s)])}
            for s in missing
        ]
        resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus = int(resources.get("GPU", 0)) if self._gpu else 0
        workers = self._workers or gpus or int(resources.get("CPU", 1))
        encoded = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _ShardEncoder,
            fn_constructor_args=(self._load, job.encoder.identity, job.batch_size, stamp),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows))),
            num_cpus=0 if gpus else 1,
            num_gpus=1 if gpus else 0,
        )
        for row in encoded.iter_rows():
            yield Shard(int(row["first"]), int(row["last"])), bytes(row["parquet"])


class _ShardEncoder:
    """What a worker does: a row is a shard, its photos come pickled and leave as a Parquet file."""

    def __init__(
        self, load: Callable[[], PhotoEncoder], expected: EncoderIdentity, batch_size: int, stamp: str
    ) -> None:
        self._encoder, self._batch_size, self._stamp = load(), batch_size, stamp
        if self._encoder.identity != expected:
            raise UserError(f"a worker has another version of the encoder {expected.name}: install the same on all")

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        made = [self._parquet(pickle.loads(items)) for items in rows["items"]]  # noqa: S301 - this build's own
        return {"first": rows["first"], "last": rows["last"], "parquet": made}

    def _parquet(self, numbered: list[Numbered]) -> bytes:
        starts = range(0, len(numbered), self._batch_size)
        batches = [encode_photos(self._encoder, numbered[start : start + self._batch_size]) for start in starts]
        return shard_bytes(batches, self._stamp)


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


@contextmanager
def connected(address: str | None, workers: int | None) -> Iterator[None]:
    """Connect to the cluster, or start one of this machine that ends with the block; one that is there is used."""
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with tempfile.TemporaryDirectory(prefix="gs-") as private:  # its owner's only; Ray opens the one inside to all
        try:
            if address:
                ray.init(address=address, **quiet)
            else:
                _start(workers, Path(private) / "ray", quiet)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            where = f"no Ray cluster at {address}" if address else "Ray does not start"
            raise UserError(f"{where} ({error}): check the address, and that `ray status` answers there") from error
        _silence()
        try:
            yield
        finally:
            ray.shutdown()
            shutil.rmtree(Path(private) / "ray", ignore_errors=True)


def _start(workers: int | None, folder: Path, quiet: dict[str, Any]) -> None:
    if os.environ.get("RAY_AUTH_MODE") != "token":
        raise UserError("ray was imported before the engine was made: call make_engine first, or ray.init yourself")
    cores = workers or len(os.sched_getaffinity(0))
    ray.init(
        num_cpus=cores,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        _temp_dir=str(folder),
        _node_ip_address="127.0.0.1",
        **quiet,
    )


def _silence() -> None:
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False


@contextmanager
def _as_user_errors() -> Iterator[None]:
    try:
        yield
    except ray.exceptions.RayError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = getattr(cause, "cause", None) or cause.__cause__
        if cause is not None:
            raise UserError(str(cause)) from error
        with suppress(IndexError):
            reason = str(error).strip().splitlines()[-1]
            raise UserError(
                f"Ray's workers could not encode ({reason}): what is done is kept; run the same command to go on"
            ) from error
        raise
