"""Fair turns among callers: the next is one with the fewest running, and of these the one served least recently.

`FairQueue` orders runs, in memory; `ItemOrder` photos of jobs, in the database that all processes share.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable
from typing import Generic, TypeVar

import sqlalchemy as sa

from apps.service.database import JOB_ITEMS, JOBS, ItemStatus

T = TypeVar("T")


class ServedOwners:
    """Remembers, in this process, who was served when; several threads may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._served_at: dict[str, int] = {}
        self._count = 0

    def choose(self, owners: Iterable[str]) -> str:
        """The owner served least recently (never: before all others), who counts as served from now on.

        Args:
            owners: at least one; of several never served, the first is chosen.
        """
        with self._lock:
            chosen = min(owners, key=lambda owner: self._served_at.get(owner, 0))
            self._count += 1
            self._served_at[chosen] = self._count
            return chosen


class FairQueue(Generic[T]):
    """What waits and how much runs, by owner. Hold a lock while you use it.

    Args:
        at_once: how many run at the same time.
        at_once_per_owner: of one owner; None: as many as run.
    """

    def __init__(self, at_once: int, at_once_per_owner: int | None = None) -> None:
        self._at_once, self._per_owner = at_once, at_once_per_owner or at_once
        self._waiting: dict[str, deque[T]] = {}
        self._running: Counter[str] = Counter()
        self._served = ServedOwners()

    @property
    def under_way(self) -> int:
        """How many run or wait."""
        return self._running.total() + sum(map(len, self._waiting.values()))

    def under_way_of(self, owner: str) -> int:
        """How many of an owner run or wait."""
        return self._running[owner] + len(self._waiting.get(owner, ()))

    def add(self, owner: str, item: T) -> None:
        """Let something wait, behind what its owner has waiting."""
        self._waiting.setdefault(owner, deque()).append(item)

    def begin(self) -> T | None:
        """What is to run next, which counts as running; None: nothing waits, or nothing may begin now."""
        able = [owner for owner in self._waiting if self._running[owner] < self._per_owner]
        if not able or self._running.total() >= self._at_once:
            return None
        fewest = min(self._running[owner] for owner in able)
        owner = self._served.choose(owner for owner in able if self._running[owner] == fewest)
        item = self._waiting[owner].popleft()
        if not self._waiting[owner]:
            del self._waiting[owner]
        self._running[owner] += 1
        return item

    def end(self, owner: str) -> None:
        """One of an owner has ended."""
        self._running -= Counter((owner,))

    def ahead_of_next(self, owner: str) -> int:
        """How many end before what the owner adds next begins, if nobody else adds any and all take equally long."""
        if self._running.total() < self._at_once and self._running[owner] < self._per_owner:
            return 0  # nobody else waits for the free place: whoever may begin has begun
        turn = len(self._waiting.get(owner, ())) + 1
        others = (len(waiting) for other, waiting in self._waiting.items() if other != owner)
        return turn + sum(min(waiting, turn) for waiting in others)

    def drain(self) -> list[T]:
        """Take out all that waits."""
        waiting = [item for items in self._waiting.values() for item in items]
        self._waiting.clear()
        return waiting


class ItemOrder:
    """Which photo of a job is located next: the oldest of the owner served least recently by this process."""

    def __init__(self) -> None:
        self._served = ServedOwners()

    def next_row(self, connection: sa.Connection, now_s: float) -> sa.Row[tuple[object, ...]] | None:
        """A row of `job_items`, with the job's `choices`; None: no photo waits, or others are taking all that do."""
        owners: list[str] = [row.owner for row in connection.execute(_ready_owners(now_s))]
        while owners:
            owner = self._served.choose(owners)
            if (row := connection.execute(_next_item(owner, now_s)).one_or_none()) is not None:
                return row
            owners.remove(owner)
        return None


def _is_ready(now_s: float) -> sa.ColumnElement[bool]:
    """Whether a photo waits, or its worker has died, in a job whose photos are to be begun."""
    is_left = sa.and_(JOB_ITEMS.c.status == ItemStatus.RUNNING, JOB_ITEMS.c.lease_until < now_s)
    is_wanted = sa.or_(JOB_ITEMS.c.status == ItemStatus.QUEUED, is_left)
    return sa.and_(JOB_ITEMS.c.job_id == JOBS.c.id, is_wanted, JOBS.c.is_complete, sa.not_(JOBS.c.is_cancelled))


def _ready_owners(now_s: float) -> sa.Select[tuple[str]]:
    """Owners of photos that wait, by their oldest jobs."""
    ready = sa.select(JOBS.c.owner).where(sa.exists().where(_is_ready(now_s)).correlate(JOBS))
    return ready.group_by(JOBS.c.owner).order_by(sa.func.min(JOBS.c.created_s))


def _next_item(owner: str, now_s: float) -> sa.Select[tuple[object, ...]]:
    """The oldest photo of an owner that waits; rows that others are taking are passed over."""
    ready = sa.select(JOB_ITEMS, JOBS.c.choices).where(JOBS.c.owner == owner, _is_ready(now_s))
    ordered = ready.order_by(JOBS.c.created_s, JOB_ITEMS.c.job_id, JOB_ITEMS.c.number).limit(1)
    return ordered.with_for_update(skip_locked=True, of=JOB_ITEMS)
