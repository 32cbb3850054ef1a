"""Encode photos on workers of Ray Data; needs the `ray` extra.

The list is cut into shards of whole batches. A worker returns a shard as a Parquet file, which this process writes into
the draft in one step, so a build that was cut off does only the shards that are not there. Loaded in the source's
order, they give the store that a build in one process gives.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

# Read when ray is imported: nothing is reported to its makers. See also `retrieval.atlas.engines`.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import psutil
import ray
import ray.data
import ray.exceptions

from core.errors import UserError
from core.files import make_private_folder, write_atomic
from retrieval.atlas.draft import ITEM_BYTES, check_room
from retrieval.atlas.engines import EncodedBatch, EngineJob, encode_photos
from retrieval.atlas.manifest import SHARD_FOLDER, AtlasError
from retrieval.atlas.shards import Shard, read_shard, shard_bytes, shards_of
from retrieval.atlas.sources import PhotoItem
from retrieval.encoders.base import EncoderIdentity, PhotoEncoder

OBJECT_STORE_BYTES = 256 << 20
MAX_DEATHS = 3
"""Set by hand: of workers over a shard before its photos are tried one by one, over a photo before it is left out; a
worker that is killed for another reason should cost no photo."""
PASSED = -1
"""In place of a number of deaths: it went well once."""
Numbered = tuple[int, PhotoItem]
_PREFIX = "gs-"
"""Of the folders of Ray; short, as the paths of sockets in them may not be long. The process's number follows."""


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
        workers = min(self._workers or gpus or int(resources.get("CPU", 1)), len(rows))
        tries = _Tries.remote()  # type: ignore[attr-defined]
        encoded = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _ShardEncoder,
            fn_constructor_args=(
                _WorkerJob(self._load, job.encoder.identity, job.batch_size, stamp, workers, MAX_DEATHS),
                tries,
            ),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=0 if gpus else 1,
            num_gpus=1 if gpus else 0,
        )
        for row in encoded.iter_rows():
            if row["error"]:
                raise UserError(row["error"])
            yield Shard(int(row["first"]), int(row["last"])), bytes(row["parquet"])


class _WorkerJob(NamedTuple):
    load: Callable[[], PhotoEncoder]
    expected: EncoderIdentity
    batch_size: int
    stamp: str
    workers: int
    max_deaths: int


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class _Tries:
    """How often workers began what they did not end, since they died: Ray itself starts them again without end."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, what: str) -> int:
        """How often it was begun before; PASSED if it was ended."""
        before = self._begun[what]
        self._begun[what] += before != PASSED
        return before

    def end(self, what: str) -> None:
        """It went well once."""
        self._begun[what] = PASSED


class _ShardEncoder:
    """What a worker does: a row is a shard, its photos come pickled and leave as a Parquet file."""

    def __init__(self, job: _WorkerJob, tries: Any) -> None:
        self._job, self._tries = job, tries
        # Workers that are loading at the same time have not died.
        if self._begin("load") >= job.workers + job.max_deaths:
            raise UserError(f"the encoder {job.expected.name} cannot be loaded: it ends each worker's process")
        self._encoder = job.load()
        self._end("load")
        if self._encoder.identity != job.expected:
            raise UserError(f"a worker has another version of the encoder {job.expected.name}: install the same on all")

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        """What was raised leaves as text, as Ray Data does not pass the cause of an error on."""
        try:
            made = [self._parquet(pickle.loads(items)) for items in rows["items"]]  # noqa: S301 - this build's own
        except UserError as error:
            return {"first": rows["first"], "last": rows["last"], "parquet": [b""], "error": [str(error)]}
        return {"first": rows["first"], "last": rows["last"], "parquet": made, "error": [""]}

    def _parquet(self, numbered: list[Numbered]) -> bytes:
        shard = f"shard {numbered[0][0]}"
        if self._begin(shard) >= self._job.max_deaths:
            numbered = [(id_, self._checked(id_, item)) for id_, item in numbered]
            self._refuse_deadly(shard, numbered)
        size = self._job.batch_size
        batches = [
            encode_photos(self._encoder, numbered[start : start + size]) for start in range(0, len(numbered), size)
        ]
        return shard_bytes(batches, self._job.stamp)

    def _checked(self, id_: int, item: PhotoItem) -> PhotoItem:
        """The photo, encoded alone; if workers died over it alone, with that as its problem."""
        before = self._begin(f"photo {id_}")
        if before >= self._job.max_deaths:
            return replace(item, problem=f"{item.item_id}: reading or encoding it ends the process (tries: {before})")
        if before != PASSED:
            encode_photos(self._encoder, [(id_, item)])
            self._end(f"photo {id_}")
        return item

    def _refuse_deadly(self, shard: str, numbered: list[Numbered]) -> None:
        if self._begin(f"checked {shard}") >= self._job.max_deaths:
            raise UserError(
                f"workers die over the photos {numbered[0][1].item_id} to {numbered[-1][1].item_id}, but over none"
                " alone: give the machine more memory, or take them out; what is done is kept"
            )

    def _begin(self, what: str) -> int:
        return int(ray.get(self._tries.begin.remote(what)))

    def _end(self, what: str) -> None:
        ray.get(self._tries.end.remote(what))


def end_orphans() -> None:
    """End what is left of Ray where a build of this user was killed: agents that wait for it, and its folder."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        _, pid, *_ = folder.name.split("-")
        if not pid.isdigit() or psutil.pid_exists(int(pid)) or folder.stat().st_uid != os.getuid():
            continue
        for process in psutil.process_iter(["cmdline"]):
            if any(f"{folder}/" in part for part in process.info["cmdline"] or ()):
                with suppress(psutil.Error):
                    process.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def connected(address: str | None, workers: int | None) -> Iterator[None]:
    """Connect to the cluster, or start one of this machine that ends with the block; one that is there is used."""
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    end_orphans()
    # Its owner's only; Ray opens the one inside to all.
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-") as private:
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
    ray.init(
        num_cpus=workers,
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
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        went_wrong = f"Ray's workers could not encode ({reason}): what is done is kept; run the same command to go on"
        raise UserError(str(cause) if cause is not None else went_wrong) from error
