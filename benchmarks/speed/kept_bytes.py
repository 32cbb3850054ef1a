"""How many bytes a conversation keeps, and what the check of a key's bytes costs.

    python -m benchmarks.speed.kept_bytes [--turns 1 10 50] [--threads 1000] [--state postgresql://…]

A conversation about one photo with the offline model and no atlas, asked again and again; then as many conversations,
and ten times as many records of jobs, as rows that hold what such rows hold.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from apps.service.choices import RunChoices
from apps.service.database import JOB_ITEMS, JOBS, THREAD_PHOTOS, THREADS, ItemStatus, StateDatabase
from retrieval.photos.photo import load_photo
from tests.fakes.photo_files import jpeg
from tests.fakes.services import service

OWNER = "anna"
PHOTO_BYTES, CHECKPOINT_BYTES, RECORD_BYTES = 100_000, 5_000_000, 5_000
REPEATS = 7


def kept_mb(database: StateDatabase) -> float:
    """Megabytes that the owner keeps."""
    with database.read() as connection:
        return database.kept_bytes(connection, OWNER) / 1e6


def sizes(turns: list[int], state_url: str | None, folder: Path) -> Iterator[str]:
    """Megabytes of one conversation after so many turns."""
    photo = load_photo(jpeg(folder / "photo.jpg"))
    with service(folder, state_url, job_workers=0) as opened:
        thread = opened.threads.create(OWNER, "", RunChoices())
        for turn in range(1, max(turns) + 1):
            said = ("where?", [photo]) if turn == 1 else (f"why do you think so, number {turn}?", [])
            list(opened.conversations.send(OWNER, thread.id, *said))
            if turn in turns:
                while opened.threads.find(OWNER, thread.id).is_busy:
                    time.sleep(0.05)
                yield f"{turn} turns: {kept_mb(opened.database):.2f} MB, photo included"
        opened.threads.delete(OWNER, thread.id)


def fill(database: StateDatabase, threads: int) -> None:
    """Rows of conversations with a photo each, and ten records of jobs for each."""
    ids = [str(uuid.uuid4()) for _ in range(threads)]
    about = {"owner": OWNER, "choices": {}, "created_s": 0.0}
    one = about | {"title": "", "updated_s": 0.0, "checkpoint_bytes": CHECKPOINT_BYTES}
    item = {"name": "a.jpg", "status": ItemStatus.DONE, "attempts": 1, "record": "x" * RECORD_BYTES}
    jobs = [str(uuid.uuid4()) for _ in range(10)]
    with database.write() as connection:
        connection.execute(sa.insert(THREADS), [{"id": id_} | one for id_ in ids])
        for id_ in ids:
            png = {"thread_id": id_, "sha256": "a" * 64, "name": "", "png": os.urandom(PHOTO_BYTES)}
            connection.execute(sa.insert(THREAD_PHOTOS), [png])
        flags = {"is_complete": True, "is_cancelled": False}
        connection.execute(sa.insert(JOBS), [{"id": id_} | about | flags for id_ in jobs])
        for job in jobs:
            rows = [{"job_id": job, "number": number, "record_bytes": RECORD_BYTES} | item for number in range(threads)]
            connection.execute(sa.insert(JOB_ITEMS), rows)


def median_ms(work: Callable[[], object]) -> float:
    """Median milliseconds of one call."""
    taken_ms = []
    for _ in range(REPEATS):
        start_s = time.perf_counter()
        work()
        taken_ms.append((time.perf_counter() - start_s) * 1e3)
    return float(np.median(taken_ms))


def costs(threads: int, state_url: str | None, folder: Path) -> Iterator[str]:
    """What the check costs with and without records."""
    with StateDatabase.open(state_url, folder) as database:
        fill(database, threads)
        both_ms = median_ms(lambda: kept_mb(database))
        with database.write() as connection:
            connection.execute(sa.delete(JOB_ITEMS))
        alone_ms = median_ms(lambda: kept_mb(database))
        yield f"the check with {threads:,} threads: {alone_ms:.0f} ms; and {10 * threads:,} records: {both_ms:.0f} ms"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--threads", type=int, default=1000)
    parser.add_argument("--state", help="an empty Postgres database; without it, a SQLite file")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        for line in (*sizes(chosen.turns, chosen.state, Path(one)), *costs(chosen.threads, chosen.state, Path(other))):
            print(line, flush=True)


if __name__ == "__main__":
    main()
