"""Workers that locate the photos of jobs, whichever process took the jobs in."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from contextlib import closing, suppress

from sqlalchemy.exc import SQLAlchemyError

from agents.schemas import Answer
from apps.output.results_file import PhotoResult
from apps.service.choices import OfferedSystems
from apps.service.errors import UnavailableError, service_error
from apps.service.jobs import ClaimedItem, JobTable
from apps.service.leases import Lease, LeaseKeeper
from apps.service.limits import ServiceLimits
from apps.service.uploads import read_photo
from core.closing import Closing
from core.errors import UserError
from graphs.events.steps import Answered
from retrieval.photos.photo import Photo

_IDLE_S = 1.0
"""How soon a worker sees a job that another process took in."""
_CLEANING_S = 600.0
"""How often an idle worker deletes jobs whose upload never ended."""


class _Stopped(Exception):
    """The server ends, or the photo is not this worker's any more."""


class JobWorkers(Closing):
    """Threads that take one photo after another."""

    def __init__(self, jobs: JobTable, systems: OfferedSystems, leases: LeaseKeeper, limits: ServiceLimits) -> None:
        self._jobs, self._systems, self._leases, self._limits = jobs, systems, leases, limits
        self._closed, self._arrived = threading.Event(), threading.Event()
        self._cleaned_s = time.monotonic()
        self._threads = [
            threading.Thread(
                target=contextvars.copy_context().run, args=(self._work,), name=f"jobs-{number}", daemon=True
            )
            for number in range(limits.job_workers)
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look for work now."""
        self._arrived.set()

    def close(self) -> None:
        """Give back what is under way at its next step, and wait."""
        self._closed.set()
        self._arrived.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while not self._closed.is_set():
            self._arrived.clear()
            try:
                item = self._jobs.claim()
                if item is not None:
                    self._carry_out(item)
                    continue
                self._clean()
            except SQLAlchemyError:
                logging.getLogger("geosleuth.service").exception("the database of jobs did not answer; trying again")
            self._arrived.wait(_IDLE_S)

    def _clean(self) -> None:
        now_s = time.monotonic()
        if now_s - self._cleaned_s >= _CLEANING_S:
            self._cleaned_s = now_s
            self._jobs.delete_unfinished_uploads()

    def _carry_out(self, item: ClaimedItem) -> None:
        lease = self._leases.keep(lambda: self._jobs.renew(item))
        try:
            self._jobs.finish(item, self._record(item, lease))
        except _Stopped:
            with suppress(SQLAlchemyError):
                self._jobs.give_back(item)
        except UnavailableError:  # another attempt is made when the lease has run out
            logging.getLogger("geosleuth.service").exception("a photo of a job has to wait")
        finally:
            self._leases.let_go(lease)

    def _record(self, item: ClaimedItem, lease: Lease) -> PhotoResult:
        """The record of a photo; one that cannot be used, and a fault of the program, has a failed one."""
        sha256 = None
        try:
            photo = read_photo(item.data, item.name, self._limits)
            sha256 = photo.sha256
            return PhotoResult.of_answer(item.name, self._locate(item, photo, lease))
        except UserError as error:
            known = service_error(error)
            if known is not None and known.status >= 500:
                raise known from error
            return PhotoResult.of_failure(item.name, sha256, str(error))
        except (_Stopped, SQLAlchemyError):
            raise
        except Exception:  # one photo's bug must not end the job: it is logged, and the photo's record says so
            logging.getLogger("geosleuth.service").exception("a photo of a job failed")
            return PhotoResult.of_failure(item.name, sha256, "a fault in the program; the server's log says more")

    def _locate(self, item: ClaimedItem, photo: Photo, lease: Lease) -> Answer:
        system = self._systems.find(item.choices)
        with system.photo_store.holding(photo), closing(system.stream(photo)) as events:
            for event in events:
                if isinstance(event, Answered):
                    return event.answer
                if self._closed.is_set() or lease.lost.is_set():
                    raise _Stopped
        raise RuntimeError("the graph ended without an answer")
