"""Jobs in SQLite and on a real Postgres server: each photo is located once, whoever dies."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa

from agents.schemas import Answer
from apps.output.results_file import PhotoResult, RunStatus
from apps.service import job_worker
from apps.service.choices import RunChoices
from apps.service.database import JOB_ITEMS, JOBS, StateDatabase
from apps.service.errors import ConflictError, NotFoundError, TooLargeError, UnusableError
from apps.service.job_worker import JobWorkers
from apps.service.jobs import MAX_ATTEMPTS, ClaimedItem, JobStatus, JobTable
from apps.service.leases import Lease, LeaseKeeper
from apps.service.limits import ServiceLimits
from retrieval.photos.photo import Photo
from retrieval.stores.base import StoreUnreachableError
from tests.fakes.answers import answered
from tests.fakes.photo_files import jpeg
from tests.fakes.services import gated, service

FILES = [(f"{number}.jpg", bytes([number])) for number in range(20)]


def table(url: str, tmp_path: Path, **limits: Any) -> tuple[StateDatabase, JobTable]:
    database = StateDatabase.open(url, tmp_path)
    return database, JobTable(database, ServiceLimits(**limits))


def record(item: ClaimedItem) -> PhotoResult:
    return PhotoResult.of_failure(item.name, None, "as a test wants it")


def claimed(jobs: JobTable) -> Iterator[ClaimedItem]:
    while (item := jobs.claim()) is not None:
        yield item


@pytest.fixture
def jobs(state_url: str, tmp_path: Path) -> Iterator[JobTable]:
    database, opened = table(state_url, tmp_path, lease_s=60.0)
    with database:
        yield opened


def test_many_workers_of_several_processes_take_each_photo_once(state_url: str, tmp_path: Path) -> None:
    opened = [table(state_url, tmp_path) for _ in range(2)]
    jobs = [each for _, each in opened]
    job = jobs[0].create("anna", RunChoices(), FILES)

    def work(number: int) -> list[str]:
        return [item.name for item in claimed(jobs[number % 2]) if jobs[number % 2].finish(item, record(item))]

    with ThreadPoolExecutor(6) as pool:
        taken = Counter(name for names in pool.map(work, range(6)) for name in names)
    assert taken == Counter(name for name, _ in FILES)
    assert jobs[1].find("anna", job.id).status is JobStatus.DONE
    assert [row.photo for row in jobs[1].records(job.id)] == [name for name, _ in FILES]
    for database, _ in opened:
        database.close()


def test_what_a_dead_worker_had_taken_another_takes_and_only_one_record_counts(state_url: str, tmp_path: Path) -> None:
    database, jobs = table(state_url, tmp_path, lease_s=0.3)
    with database:
        job = jobs.create("anna", RunChoices(), FILES[:1])
        dead = jobs.claim()
        assert dead is not None
        assert jobs.claim() is None, "its lease holds"
        time.sleep(0.4)
        heir = jobs.claim()
        assert heir is not None
        assert (heir.number, heir.data) == (dead.number, dead.data)
        assert not jobs.renew(dead)
        assert not jobs.finish(dead, PhotoResult.of_failure("0.jpg", None, "too late"))
        assert jobs.finish(heir, PhotoResult.of_failure("0.jpg", None, "in time"))
        assert [row.error for row in jobs.records(job.id)] == ["in time"]


def test_a_renewed_lease_is_kept(state_url: str, tmp_path: Path) -> None:
    database, jobs = table(state_url, tmp_path, lease_s=0.5)
    with database:
        jobs.create("anna", RunChoices(), FILES[:1])
        item = jobs.claim()
        assert item is not None
        for _ in range(4):
            time.sleep(0.2)
            assert jobs.renew(item)
            assert jobs.claim() is None


def test_a_photo_on_which_workers_die_again_and_again_is_given_up(state_url: str, tmp_path: Path) -> None:
    database, jobs = table(state_url, tmp_path, lease_s=0.05)
    with database:
        job = jobs.create("anna", RunChoices(), FILES[:2])
        for _ in range(MAX_ATTEMPTS):
            item = jobs.claim()
            assert item is not None
            assert item.name == "0.jpg"
            time.sleep(0.1)
        other = jobs.claim()
        assert other is not None
        assert other.name == "1.jpg", "the next photo is not held up"
        [given_up] = jobs.records(job.id)
        assert (given_up.photo, given_up.status) == ("0.jpg", RunStatus.FAILED)
        assert str(MAX_ATTEMPTS) in str(given_up.error)


def test_a_photo_that_is_given_back_has_lost_no_attempt(jobs: JobTable) -> None:
    jobs.create("anna", RunChoices(), FILES[:1])
    for _ in range(MAX_ATTEMPTS + 2):
        item = jobs.claim()
        assert item is not None
        jobs.give_back(item)


def test_a_cancelled_job_begins_no_more_and_keeps_what_is_done(jobs: JobTable) -> None:
    job = jobs.create("anna", RunChoices(), FILES[:3])
    first, second = jobs.claim(), jobs.claim()
    assert first is not None
    assert second is not None
    jobs.finish(first, record(first))
    assert jobs.cancel("anna", job.id).status is JobStatus.CANCELLED
    assert jobs.claim() is None
    assert not jobs.finish(second, record(second))
    assert [row.photo for row in jobs.records(job.id)] == ["0.jpg"]


def test_a_job_is_its_owners_and_deleting_it_leaves_nothing(jobs: JobTable) -> None:
    job = jobs.create("anna", RunChoices(), FILES[:2])
    for refused in (jobs.find, jobs.cancel, jobs.delete):
        with pytest.raises(NotFoundError):
            refused("bert", job.id)
    assert jobs.all_of("bert", 10) == []
    jobs.delete("anna", job.id)
    assert jobs.all_of("anna", 10) == []
    assert sum(jobs.counts().values()) == 0


def test_a_located_photos_file_is_kept_no_longer(jobs: JobTable) -> None:
    jobs.create("anna", RunChoices(), FILES[:1])
    item = jobs.claim()
    assert item is not None
    jobs.finish(item, record(item))
    with jobs._database.read() as connection:
        assert connection.execute(sa.select(JOB_ITEMS.c.data)).scalars().all() == [None]


def test_what_is_too_much_is_refused_and_leaves_nothing(state_url: str, tmp_path: Path) -> None:
    database, jobs = table(state_url, tmp_path, job_photos=3, job_bytes=10, jobs_per_key=1)
    with database:
        with pytest.raises(TooLargeError):
            jobs.create("anna", RunChoices(), FILES[:4])
        with pytest.raises(TooLargeError):
            jobs.create("anna", RunChoices(), [("a.jpg", b"x" * 11)])
        with pytest.raises(UnusableError):
            jobs.create("anna", RunChoices(), [])
        assert sum(jobs.counts().values()) == 0
        jobs.create("anna", RunChoices(), FILES[:3])
        with pytest.raises(ConflictError, match="as many as are kept"):
            jobs.create("anna", RunChoices(), FILES[:1])
        jobs.create("bert", RunChoices(), FILES[:1])


def test_a_caller_keeps_so_many_bytes_and_no_more(state_url: str, tmp_path: Path) -> None:
    database, jobs = table(state_url, tmp_path, bytes_per_key=10)
    files = [("a.jpg", b"x" * 6)]

    def while_another_comes() -> Iterator[tuple[str, bytes]]:
        yield files[0]
        jobs.create("anna", RunChoices(), [("b.jpg", b"x" * 4)])
        yield "c.jpg", b"x"

    with database:
        with pytest.raises(ConflictError, match="delete threads or jobs"):
            jobs.create("anna", RunChoices(), files * 2)
        with pytest.raises(ConflictError, match="delete threads or jobs"):
            jobs.create("anna", RunChoices(), while_another_comes())
        kept = jobs.create("anna", RunChoices(), files)
        jobs.create("bert", RunChoices(), files)
        with pytest.raises(ConflictError):
            jobs.create("anna", RunChoices(), [("a.jpg", b"x")])
        assert [sum(row.counts.values()) for row in jobs.all_of("anna", 10)] == [1, 1]
        jobs.delete("anna", kept.id)
        jobs.create("anna", RunChoices(), files)


def test_a_record_counts_in_bytes_until_its_job_is_deleted(state_url: str, tmp_path: Path) -> None:
    record = PhotoResult.of_failure("a.jpg", None, "no picture")
    line = record.line()
    database, jobs = table(state_url, tmp_path, bytes_per_key=len(line.encode()))
    with database:
        job = jobs.create("anna", RunChoices(), [("a.jpg", b"x")])
        item = jobs.claim()
        assert item is not None
        assert jobs.finish(item, record)
        with database.read() as connection:
            assert database.kept_bytes(connection, "anna") == len(line.encode())
            assert database.kept_bytes(connection, "bert") == 0
        with pytest.raises(ConflictError, match="delete threads or jobs"):
            jobs.create("anna", RunChoices(), [("a.jpg", b"x")])
        jobs.delete("anna", job.id)
        jobs.create("anna", RunChoices(), [("a.jpg", b"x")])


def test_an_idle_worker_deletes_uploads_that_never_ended(jobs: JobTable, monkeypatch: pytest.MonkeyPatch) -> None:
    torn = jobs._begin("anna", RunChoices())
    with jobs._database.write() as connection:
        connection.execute(sa.update(JOBS).values(created_s=0.0))
    new = jobs._begin("anna", RunChoices())
    monkeypatch.setattr(job_worker, "_CLEANING_S", 0.0)
    with LeaseKeeper(60.0) as leases, JobWorkers(jobs, cast(Any, None), leases, ServiceLimits(job_workers=1)):
        while torn in (left := [row.id for row in jobs.all_of("anna", 10)]):
            time.sleep(0.02)
    assert left == [new]


def test_no_photo_is_begun_before_all_are_there(jobs: JobTable) -> None:
    def files() -> Iterator[tuple[str, bytes]]:
        for file in FILES[:3]:
            assert jobs.claim() is None
            yield file

    jobs.create("anna", RunChoices(), files())
    assert jobs.claim() is not None


def test_a_closing_service_gives_its_photo_back_at_the_next_step(state_url: str, tmp_path: Path) -> None:
    gate, data = tmp_path / "gate", jpeg(tmp_path / "a.jpg").read_bytes()
    with service(tmp_path, state_url, gated(gate)) as first:
        job = first.jobs.create("anna", RunChoices(), [("a.jpg", data)])
        first.workers.wake()
        while first.jobs.counts()["running"] == 0:
            time.sleep(0.02)
        closing = ThreadPoolExecutor(1).submit(first.close)
        time.sleep(0.2)
        gate.touch()
        closing.result(60)
    with service(tmp_path, state_url) as second:
        second.workers.wake()
        while second.jobs.find("anna", job.id).status is not JobStatus.DONE:
            time.sleep(0.05)
        [row] = second.jobs.records(job.id)
        assert row.status is RunStatus.ANSWERED


def test_a_job_that_is_being_received_is_neither_cancelled_nor_deleted(jobs: JobTable) -> None:
    def files() -> Iterator[tuple[str, bytes]]:
        yield FILES[0]
        [job] = jobs.all_of("anna", 10)
        for act in (jobs.cancel, jobs.delete):
            with pytest.raises(ConflictError, match="upload has not ended"):
                act("anna", job.id)
        yield FILES[1]

    job = jobs.create("anna", RunChoices(), files())
    assert sum(jobs.find("anna", job.id).counts.values()) == 2


def test_a_photo_waits_while_the_server_lacks_something(state_url: str, tmp_path: Path) -> None:
    """Qdrant is away for a while: the photo is tried again, and its record is no failure."""
    away = iter((StoreUnreachableError("no answer from qdrant:6333"),))

    class Workers(JobWorkers):
        def _locate(self, item: ClaimedItem, photo: Photo, lease: Lease) -> Answer:  # noqa: ARG002 - as the worker's own
            for error in away:
                raise error
            return answered(photo_sha256=photo.sha256)

    database, jobs = table(state_url, tmp_path, lease_s=1.0, job_workers=1)
    job = jobs.create("anna", RunChoices(), [("a.jpg", jpeg(tmp_path / "a.jpg").read_bytes())])
    with database, LeaseKeeper(1.0) as leases, Workers(jobs, cast(Any, None), leases, ServiceLimits(job_workers=1)):
        while jobs.find("anna", job.id).status is not JobStatus.DONE:
            time.sleep(0.05)
        assert [row.status for row in jobs.records(job.id)] == [RunStatus.ANSWERED]
