"""The application core: one open system, one database, one pool of runs, for any number of interfaces and callers.

    with GeolocationService.open(settings, ServiceLimits()) as service:
        photo = service.read_photo(data, "holiday.jpg")
        for event in service.locate("local", photo):         # or `async for`, from an event loop
            print(event_name(event), event)

Everything here may be called from many threads at once. What blocks (all but reading a `RunStream` with `async for`)
is called by asynchronous interfaces in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Self

from agents.chat_models.registry import LoadedModel
from agents.schemas import Frozen, Level
from apps.service.choices import SERVERS_CHOICE, OfferedSystems, RunChoices
from apps.service.conversations import Conversations
from apps.service.database import StateDatabase
from apps.service.errors import UnusableError
from apps.service.events import ServiceEvent
from apps.service.job_worker import JobWorkers
from apps.service.jobs import JobTable
from apps.service.leases import LeaseKeeper
from apps.service.limits import ServiceLimits, check_text
from apps.service.runs import RunPool, RunStream
from apps.service.threads import ThreadTable
from apps.service.uploads import read_photo
from core.closing import Closing
from graphs.components import Progress
from graphs.settings import Settings
from graphs.state import CaptureClues
from graphs.system import GeoSleuth
from retrieval.candidate import Candidate
from retrieval.photos.photo import Photo
from tools.results import Box, Circle


class ServiceOffer(Frozen):
    """What a caller may choose, what it costs, and what leaves the machine."""

    version: str
    models: tuple[str, ...]
    strategies: tuple[str, ...]
    precisions: tuple[Level, ...]
    atlases: tuple[str, ...]
    searched_atlases: tuple[str, ...]
    """Those of the choices; where nothing is chosen, the server's own."""
    data_that_leaves: tuple[str, ...]
    budget_usd: float
    """The most that one run may cost, in US dollars."""
    limits: ServiceLimits


@dataclass(frozen=True, kw_only=True)
class GeolocationService(Closing):
    """An open service. Close it, or use it in `with`.

    Attributes:
        settings: what it was opened with.
        limits: what it accepts.
        system: shared by all runs.
        systems: the same system by a caller's choices.
        database: threads, photos and jobs.
        threads: lists, begins and deletes threads.
        conversations: turns of threads.
        jobs: batches.
        pool: runs under way.
        workers: locate the photos of jobs.
        resources: closed with it, in reverse order.
    """

    settings: Settings
    limits: ServiceLimits
    system: GeoSleuth
    systems: OfferedSystems
    database: StateDatabase
    threads: ThreadTable
    conversations: Conversations
    jobs: JobTable
    pool: RunPool
    workers: JobWorkers
    resources: ExitStack

    @classmethod
    def open(
        cls,
        settings: Settings,
        limits: ServiceLimits,
        progress: Progress | None = None,
        *,
        model: LoadedModel | Sequence[LoadedModel] | None = None,
    ) -> Self:
        """Open the system and the database, and begin to work on jobs.

        Args:
            settings: what to open; `state_url` says where threads and jobs are.
            limits: what to accept.
            progress: called while the atlas of the world is built.
            model: the chat model to use instead of the one that the settings name, or those of a jury.

        Raises:
            UserError: something missing or unusable that the user can mend.
        """
        with ExitStack() as opened:
            url = settings.state_url.get_secret_value() if settings.state_url else None
            database = opened.enter_context(StateDatabase.open(url, settings.home))
            system = GeoSleuth.open(
                settings, progress, model=model, more_atlases=limits.atlases, encoder_batch=limits.encoder_batch
            )
            opened.enter_context(system)
            systems = OfferedSystems(system, limits)
            leases = opened.enter_context(LeaseKeeper(limits.lease_s))
            pool = opened.enter_context(RunPool(limits))
            threads, jobs = ThreadTable(database, limits), JobTable(database, limits)
            jobs.delete_unfinished_uploads()
            workers = opened.enter_context(JobWorkers(jobs, systems, leases, limits))
            return cls(
                settings=settings,
                limits=limits,
                system=system,
                systems=systems,
                database=database,
                threads=threads,
                conversations=Conversations(threads, systems, database, leases, pool, limits),
                jobs=jobs,
                pool=pool,
                workers=workers,
                resources=opened.pop_all(),
            )

    def close(self) -> None:
        """End what is under way, and close everything."""
        self.resources.close()

    def read_photo(self, data: bytes, name: str | None) -> Photo:
        """The photo in an upload; its name is a label and nothing more.

        Raises:
            PhotoError: not a photo by its content, damaged, or over a limit (`errors.service_error` has the status).
        """
        return read_photo(data, name, self.limits)

    def locate(
        self,
        owner: str,
        photo: Photo,
        question: str = "",
        choices: RunChoices = SERVERS_CHOICE,
        clues: CaptureClues | None = None,
        more: Sequence[Photo] = (),
    ) -> RunStream:
        """Locate a photo, or several of one place: an event after each step, the answer last. Nothing of it is kept.

        Raises:
            TooManyError: too much is under way.
            UserError: choices, or photos, that cannot be used.
        """
        check_text(question, self.limits)
        system = self.systems.find(choices)
        system.check_together([one.name for one in (photo, *more)], [one.sha256 for one in (photo, *more)])

        def produce() -> Generator[ServiceEvent, None, None]:
            with (
                system.photo_store.holding(photo, *more),
                closing(system.stream(photo, question, clues=clues, more=more)) as events,
            ):
                yield from events

        return self.pool.start(owner, produce)

    def search(
        self,
        photo: Photo,
        limit: int,
        near: Circle | None = None,
        box: Box | None = None,
        atlases: tuple[str, ...] | None = None,
    ) -> Sequence[Candidate]:
        """Places of the atlases that look like a photo, or like a part of it, most similar first within each atlas.

        Raises:
            UnusableError: no atlas is open, one is not offered, or answers are coarsened: places cannot be shown.
        """
        search = self.systems.find(RunChoices(atlases=atlases)).search
        if search is None:
            raise UnusableError("no atlas is open here; start the server with --atlas")
        if self.settings.max_precision is not None:
            raise UnusableError(f"this server tells nothing finer than a {self.settings.max_precision.value}")
        with self.system.photo_store.holding(photo) as photo_id:
            return search.candidates(photo_id, box, near, limit)

    def offer(self, choices: RunChoices = SERVERS_CHOICE) -> ServiceOffer:
        """What a caller may choose, and what leaves the machine with these choices.

        Raises:
            UserError: choices that cannot be used.
        """
        system = self.systems.find(choices)
        return ServiceOffer(
            version=self.system.context.versions.geosleuth,
            models=self.systems.models,
            strategies=self.systems.strategies,
            precisions=self.systems.precisions,
            atlases=self.systems.atlases,
            searched_atlases=system.settings.atlases,
            data_that_leaves=tuple(system.data_that_leaves()),
            budget_usd=self.settings.budgets.usd,
            limits=self.limits,
        )
