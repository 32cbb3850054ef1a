"""Batches of photos in the database, taken item by item under leases.

What a dead worker had taken, another takes when the lease has run out; of two that located one photo, one record stays.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from apps.output.results_file import PhotoResult
from apps.service.choices import RunChoices
from apps.service.database import JOB_ITEMS, JOBS, ItemStatus, StateDatabase
from apps.service.errors import ConflictError, NotFoundError, TooLargeError, UnusableError
from apps.service.fairness import ItemOrder
from apps.service.limits import ServiceLimits, check_kept_bytes

MAX_ATTEMPTS = 3
"""Times that a photo is begun: one on which so many workers died is given up."""
_PAGE = 100
_UPLOAD_S = 3600.0


class JobStatus(StrEnum):
    """Where a job stands."""

    RECEIVING = "receiving"
    """Its upload has not ended: no photo is begun."""
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class JobRow:
    """A job as it is listed: `counts` are its photos by status."""

    id: str
    owner: str
    choices: RunChoices
    created_s: float
    status: JobStatus
    counts: dict[str, int]


@dataclass(frozen=True)
class ClaimedItem:
    """A photo of a job that this process is to locate; `token` proves the lease."""

    job_id: str
    number: int
    name: str
    data: bytes
    token: str
    choices: RunChoices


class JobTable:
    """The jobs of a database; photos of several owners are taken in turn, as far as this process took them."""

    def __init__(self, database: StateDatabase, limits: ServiceLimits) -> None:
        self._database, self._limits, self._order = database, limits, ItemOrder()

    def create(self, owner: str, choices: RunChoices, files: Iterable[tuple[str, bytes]]) -> JobRow:
        """Keep a job with its files, one after another; its photos are begun when all are kept.

        Raises:
            ConflictError: the caller has as many jobs, or as many bytes of photos, as are kept.
            TooLargeError: more photos, or more bytes, than a job may have.
            UnusableError: no photo.
        """
        job_id = self._begin(owner, choices)
        try:
            count = self._keep_files(owner, job_id, files)
            if not count:
                raise UnusableError("a job needs at least one photo")
            self._complete(owner, job_id)
        except BaseException:
            self._delete(job_id)
            raise
        return self.find(owner, job_id)

    def all_of(self, owner: str, limit: int, offset: int = 0) -> list[JobRow]:
        """A caller's jobs, newest first."""
        mine = sa.select(JOBS).where(JOBS.c.owner == owner).order_by(JOBS.c.created_s.desc())
        with self._database.read() as connection:
            rows = connection.execute(mine.limit(limit).offset(offset)).all()
            return [self._job(connection, row) for row in rows]

    def find(self, owner: str, job_id: str) -> JobRow:
        """A caller's job.

        Raises:
            NotFoundError: there is none of that id, or it is somebody else's.
        """
        with self._database.read() as connection:
            row = connection.execute(sa.select(JOBS).where(JOBS.c.id == job_id, JOBS.c.owner == owner)).one_or_none()
            if row is None:
                raise NotFoundError("no such job; it may have been deleted")
            return self._job(connection, row)

    def cancel(self, owner: str, job_id: str) -> JobRow:
        """Begin no more photos of a job; those that run are finished or given up.

        Raises:
            NotFoundError: no such job.
            ConflictError: it is still being received.
        """
        if self.find(owner, job_id).status is JobStatus.RECEIVING:
            raise ConflictError("its upload has not ended; cancel it then")
        with self._database.write() as connection:
            connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(is_cancelled=True))
            waiting = sa.and_(JOB_ITEMS.c.job_id == job_id, JOB_ITEMS.c.status.in_(_UNFINISHED))
            given_up = {"status": ItemStatus.CANCELLED, "data": None, "token": None}
            connection.execute(sa.update(JOB_ITEMS).where(waiting).values(given_up))
        return self.find(owner, job_id)

    def delete(self, owner: str, job_id: str) -> None:
        """Delete a job with its photos and records.

        Raises:
            NotFoundError: no such job.
            ConflictError: it is still being received.
        """
        if self.find(owner, job_id).status is JobStatus.RECEIVING:
            raise ConflictError("its upload has not ended; delete it then")
        self._delete(job_id)

    def delete_unfinished_uploads(self) -> None:
        """Delete jobs whose upload began an hour ago and never ended: their process died."""
        with self._database.read() as connection:
            before_s = self._database.clock_s(connection) - _UPLOAD_S
            torn = sa.select(JOBS.c.id).where(sa.not_(JOBS.c.is_complete), JOBS.c.created_s < before_s)
            job_ids = connection.execute(torn).scalars().all()
        for job_id in job_ids:
            self._delete(job_id)

    def records(self, job_id: str) -> Iterator[PhotoResult]:
        """The records of its located photos, in the order of the photos."""
        after = -1
        while True:
            done = sa.select(JOB_ITEMS.c.number, JOB_ITEMS.c.record).where(
                JOB_ITEMS.c.job_id == job_id, JOB_ITEMS.c.number > after, JOB_ITEMS.c.status == ItemStatus.DONE
            )
            with self._database.read() as connection:
                rows = connection.execute(done.order_by(JOB_ITEMS.c.number).limit(_PAGE)).all()
                parsed = [(row.number, PhotoResult.parse((row.record or "").encode())) for row in rows]
            for number, record in parsed:
                after = number
                yield record
            if len(rows) < _PAGE:
                return

    def claim(self) -> ClaimedItem | None:
        """Take the next photo to locate: the oldest of the owner served least recently; None: there is none.

        A photo on which workers have died too often gets a failed record instead.
        """
        while True:
            with self._database.write() as connection:
                now_s = self._database.clock_s(connection)
                row = self._order.next_row(connection, now_s)
                if row is None:
                    return None
                token = str(uuid.uuid4())
                if row.attempts < MAX_ATTEMPTS:
                    values = {"status": ItemStatus.RUNNING, "attempts": row.attempts + 1, "token": token}
                    until = {"lease_until": now_s + self._limits.lease_s}
                    connection.execute(_item(row.job_id, row.number).values(values | until))
                    choices = RunChoices.model_validate(row.choices)
                    return ClaimedItem(row.job_id, row.number, row.name, bytes(row.data), token, choices)
                why = f"given up: {MAX_ATTEMPTS} workers ended while they located it"
                connection.execute(
                    _item(row.job_id, row.number).values(_done(PhotoResult.of_failure(row.name, None, why)))
                )

    def renew(self, item: ClaimedItem) -> bool:
        """Keep an item for longer; False: it is not ours any more."""
        with self._database.write() as connection:
            until = self._database.clock_s(connection) + self._limits.lease_s
            return bool(connection.execute(_ours(item).values(lease_until=until)).rowcount)

    def finish(self, item: ClaimedItem, record: PhotoResult) -> bool:
        """Keep the record of an item and forget its file; False: it is not ours any more, and nothing is kept."""
        with self._database.write() as connection:
            return bool(connection.execute(_ours(item).values(_done(record))).rowcount)

    def give_back(self, item: ClaimedItem) -> None:
        """Let another worker begin an item at once; this attempt does not count."""
        with self._database.write() as connection:
            values = {"status": ItemStatus.QUEUED, "token": None, "lease_until": None}
            connection.execute(_ours(item).values(values | {"attempts": JOB_ITEMS.c.attempts - 1}))

    def counts(self) -> dict[str, int]:
        """Photos of all jobs, by status."""
        with self._database.read() as connection:
            return _counted(connection, sa.true())

    def _begin(self, owner: str, choices: RunChoices) -> str:
        job_id = str(uuid.uuid4())
        with self._database.write() as connection:
            count = sa.select(sa.func.count()).select_from(JOBS).where(JOBS.c.owner == owner)
            if connection.execute(count).scalar_one() >= self._limits.jobs_per_key:
                most = self._limits.jobs_per_key
                raise ConflictError(f"you have {most} jobs, as many as are kept; delete some")
            row = {"id": job_id, "owner": owner, "choices": choices.model_dump(mode="json")}
            state = {"created_s": self._database.clock_s(connection), "is_complete": False, "is_cancelled": False}
            connection.execute(sa.insert(JOBS).values(row | state))
        return job_id

    def _keep_files(self, owner: str, job_id: str, files: Iterable[tuple[str, bytes]]) -> int:
        left, count = self._limits.job_bytes, 0
        with self._database.read() as connection:
            kept = self._database.kept_bytes(connection, owner)
        for name, data in files:
            left -= len(data)
            if count >= self._limits.job_photos or left < 0:
                most = f"{self._limits.job_photos} photos and {self._limits.job_bytes / 1e6:g} MB"
                raise TooLargeError(f"a job may have {most}; send it in parts")
            kept += len(data)
            check_kept_bytes(kept, self._limits)
            row = {"job_id": job_id, "number": count, "name": name, "data": data}
            with self._database.write() as connection:
                connection.execute(sa.insert(JOB_ITEMS).values(row | {"status": ItemStatus.QUEUED, "attempts": 0}))
            count += 1
        return count

    def _complete(self, owner: str, job_id: str) -> None:
        """Let its photos be begun; what other uploads have kept meanwhile counts too."""
        with self._database.write() as connection:
            check_kept_bytes(self._database.kept_bytes(connection, owner), self._limits)
            connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(is_complete=True))

    def _delete(self, job_id: str) -> None:
        with self._database.write() as connection:
            connection.execute(sa.delete(JOB_ITEMS).where(JOB_ITEMS.c.job_id == job_id))
            connection.execute(sa.delete(JOBS).where(JOBS.c.id == job_id))

    def _job(self, connection: sa.Connection, row: sa.Row[tuple[object, ...]]) -> JobRow:
        counts = _counted(connection, JOB_ITEMS.c.job_id == row.id)
        choices = RunChoices.model_validate(row.choices)
        return JobRow(row.id, row.owner, choices, row.created_s, _job_status(row, counts), counts)


_UNFINISHED = (ItemStatus.QUEUED, ItemStatus.RUNNING)


def _item(job_id: str, number: int) -> sa.Update:
    return sa.update(JOB_ITEMS).where(JOB_ITEMS.c.job_id == job_id, JOB_ITEMS.c.number == number)


def _ours(item: ClaimedItem) -> sa.Update:
    is_ours = sa.and_(JOB_ITEMS.c.token == item.token, JOB_ITEMS.c.status == ItemStatus.RUNNING)
    return _item(item.job_id, item.number).where(is_ours)


def _done(record: PhotoResult) -> dict[str, object]:
    return {"status": ItemStatus.DONE, "record": record.line(), "data": None, "token": None, "lease_until": None}


def _counted(connection: sa.Connection, which: sa.ColumnElement[bool]) -> dict[str, int]:
    by_status = sa.select(JOB_ITEMS.c.status, sa.func.count()).where(which).group_by(JOB_ITEMS.c.status)
    found = {row[0]: int(row[1]) for row in connection.execute(by_status)}
    return {status.value: found.get(status.value, 0) for status in ItemStatus}


def _job_status(row: sa.Row[tuple[object, ...]], counts: dict[str, int]) -> JobStatus:
    if row.is_cancelled:
        return JobStatus.CANCELLED
    if not row.is_complete:
        return JobStatus.RECEIVING
    if not any(counts[status] for status in _UNFINISHED):
        return JobStatus.DONE
    return JobStatus.RUNNING if counts[ItemStatus.RUNNING] or counts[ItemStatus.DONE] else JobStatus.QUEUED
