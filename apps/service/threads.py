"""Conversations of all callers, in the database: who has which, whose turn is being answered, their photos."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import sqlalchemy as sa

from apps.service.choices import RunChoices
from apps.service.database import THREAD_PHOTOS, THREADS, StateDatabase
from apps.service.errors import ConflictError, NotFoundError
from apps.service.limits import ServiceLimits, check_kept_bytes
from core.errors import UserError
from graphs.chat.photo_archive import MissingPhotoError, SavedPhotoArchive
from graphs.chat.state import ShownPhoto
from graphs.checkpoints import is_passing
from retrieval.photos.store import PhotoStore

NO_NAMES: Mapping[str, str] = MappingProxyType({})
"""Of photos, where none is saved."""


@dataclass(frozen=True)
class ThreadRow:
    """A thread as it is listed.

    Attributes:
        id: unguessable.
        owner: the caller whose it is.
        title: for people.
        choices: what its turns run with.
        created_s: seconds since 1970.
        updated_s: of the last turn.
        is_busy: whether a turn is being answered.
    """

    id: str
    owner: str
    title: str
    choices: RunChoices
    created_s: float
    updated_s: float
    is_busy: bool


class ThreadTable:
    """The threads of a database."""

    def __init__(self, database: StateDatabase, limits: ServiceLimits) -> None:
        self._database, self._limits = database, limits

    def create(self, owner: str, title: str, choices: RunChoices) -> ThreadRow:
        """Begin a thread.

        Raises:
            ConflictError: the caller has as many as are kept.
        """
        thread_id = str(uuid.uuid4())
        with self._database.write() as connection:
            count = sa.select(sa.func.count()).select_from(THREADS).where(THREADS.c.owner == owner)
            if connection.execute(count).scalar_one() >= self._limits.threads_per_key:
                most = self._limits.threads_per_key
                raise ConflictError(f"you have {most} threads, as many as are kept; delete some")
            now_s = self._database.clock_s(connection)
            row = {"id": thread_id, "owner": owner, "title": title, "choices": choices.model_dump(mode="json")}
            connection.execute(sa.insert(THREADS).values(row | {"created_s": now_s, "updated_s": now_s}))
        return ThreadRow(thread_id, owner, title, choices, now_s, now_s, is_busy=False)

    def all_of(self, owner: str, limit: int, offset: int = 0) -> list[ThreadRow]:
        """A caller's threads, the latest turn first."""
        mine = sa.select(THREADS).where(THREADS.c.owner == owner)
        with self._database.read() as connection:
            now_s = self._database.clock_s(connection)
            rows = connection.execute(mine.order_by(THREADS.c.updated_s.desc()).limit(limit).offset(offset))
            return [_row(row, now_s) for row in rows]

    def find(self, owner: str, thread_id: str) -> ThreadRow:
        """A caller's thread.

        Raises:
            NotFoundError: there is none of that id, or it is somebody else's.
        """
        with self._database.read() as connection:
            now_s = self._database.clock_s(connection)
            row = connection.execute(sa.select(THREADS).where(_is(owner, thread_id))).one_or_none()
        if row is None:
            raise NotFoundError("no such thread; it may have been deleted")
        return _row(row, now_s)

    def change(self, owner: str, thread_id: str, title: str | None, choices: RunChoices | None) -> ThreadRow:
        """Give a thread another title, or other choices from its next turn on.

        Raises:
            NotFoundError: no such thread.
        """
        values = {"title": title, "choices": choices.model_dump(mode="json") if choices else None}
        changed = {name: value for name, value in values.items() if value is not None}
        if changed:
            with self._database.write() as connection:
                connection.execute(sa.update(THREADS).where(_is(owner, thread_id)).values(changed))
        return self.find(owner, thread_id)

    def begin_turn(self, owner: str, thread_id: str) -> str:
        """Take the thread for a turn; returns the token of the lease.

        Raises:
            NotFoundError: no such thread.
            ConflictError: another turn is being answered.
        """
        token = str(uuid.uuid4())
        with self._database.write() as connection:
            now_s = self._database.clock_s(connection)
            is_free = sa.or_(THREADS.c.turn_until.is_(None), THREADS.c.turn_until < now_s)
            values = {"turn_token": token, "turn_until": now_s + self._limits.lease_s, "updated_s": now_s}
            taken = connection.execute(sa.update(THREADS).where(_is(owner, thread_id), is_free).values(values))
        if not taken.rowcount:
            self.find(owner, thread_id)
            raise ConflictError("a turn of this thread is being answered; wait for it")
        return token

    def renew_turn(self, thread_id: str, token: str) -> bool:
        """Keep the thread for longer; False: it is not ours any more."""
        with self._database.write() as connection:
            until = self._database.clock_s(connection) + self._limits.lease_s
            ours = sa.update(THREADS).where(THREADS.c.id == thread_id, THREADS.c.turn_token == token)
            return bool(connection.execute(ours.values(turn_until=until)).rowcount)

    def end_turn(self, thread_id: str, token: str) -> None:
        """Let the thread go; its checkpoints count from now on as they are."""
        with self._database.write() as connection:
            ours = sa.update(THREADS).where(THREADS.c.id == thread_id, THREADS.c.turn_token == token)
            if connection.execute(ours.values(turn_token=None, turn_until=None)).rowcount:
                self._database.keep_size(connection, thread_id)

    def check_room(self, owner: str) -> None:
        """See that a caller may keep more.

        Raises:
            ConflictError: more bytes are kept than allowed.
        """
        with self._database.read() as connection:
            check_kept_bytes(self._database.kept_bytes(connection, owner), self._limits)

    def delete(self, owner: str, thread_id: str) -> None:
        """Delete a thread with its checkpoints and photos.

        Raises:
            NotFoundError: no such thread.
            ConflictError: a turn is being answered.
        """
        self.begin_turn(owner, thread_id)
        self._database.checkpointer.delete_thread(thread_id)
        with self._database.write() as connection:
            connection.execute(sa.delete(THREAD_PHOTOS).where(THREAD_PHOTOS.c.thread_id == thread_id))
            connection.execute(sa.delete(THREADS).where(THREADS.c.id == thread_id))

    def archive(
        self, row: ThreadRow, photo_store: PhotoStore, names: Mapping[str, str] = NO_NAMES
    ) -> DatabasePhotoArchive:
        """Where the photos of a thread are kept: `DatabasePhotoArchive`."""
        return DatabasePhotoArchive(self._database, row, photo_store, self._limits, names)

    def photo_names(self, thread_id: str) -> dict[str, str]:
        """What the caller calls the thread's photos, by the hash of each file."""
        columns = sa.select(THREAD_PHOTOS.c.sha256, THREAD_PHOTOS.c.name)
        with self._database.read() as connection:
            rows = connection.execute(columns.where(THREAD_PHOTOS.c.thread_id == thread_id))
            return {row[0]: row[1] for row in rows}


class DatabasePhotoArchive(SavedPhotoArchive):
    """Keeps the pixels of one thread's photos in the database.

    Args:
        database: where they are kept.
        thread: the thread.
        photo_store: holds the photos that are worked on.
        limits: how much its owner may keep.
        names: what the caller calls the photos that are saved from now on, by the hash of each file.
    """

    def __init__(
        self,
        database: StateDatabase,
        thread: ThreadRow,
        photo_store: PhotoStore,
        limits: ServiceLimits,
        names: Mapping[str, str],
    ) -> None:
        super().__init__(photo_store)
        self._database, self._thread, self._limits, self._names = database, thread, limits, names

    def png(self, shown: ShownPhoto) -> bytes:
        """The saved pixels."""
        with self._database.read() as connection:
            found = connection.execute(sa.select(THREAD_PHOTOS.c.png).where(self._is(shown))).scalar_one_or_none()
        if found is None:
            raise MissingPhotoError(f"{shown.photo_id}: its pixels are not kept any more; show the photo again")
        return bytes(found)

    def _has(self, shown: ShownPhoto) -> bool:
        with self._database.read() as connection:
            found = connection.execute(sa.select(THREAD_PHOTOS.c.sha256).where(self._is(shown))).one_or_none()
        return found is not None

    def _save(self, shown: ShownPhoto, png: bytes) -> None:
        name = self._names.get(shown.sha256, "")
        values = {"thread_id": self._thread.id, "sha256": shown.sha256, "name": name, "png": png}
        try:
            with self._database.write() as connection:
                kept = self._database.kept_bytes(connection, self._thread.owner)
                check_kept_bytes(kept + len(png), self._limits)
                connection.execute(sa.insert(THREAD_PHOTOS).values(values))
        except sa.exc.DBAPIError as error:
            if error.orig is None or not is_passing(error.orig):
                raise
            raise UserError(f"the photo could not be saved ({error.orig}): the server must make room") from error

    def _is(self, shown: ShownPhoto) -> sa.ColumnElement[bool]:
        return sa.and_(THREAD_PHOTOS.c.thread_id == self._thread.id, THREAD_PHOTOS.c.sha256 == shown.sha256)


def _is(owner: str, thread_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(THREADS.c.id == thread_id, THREADS.c.owner == owner)


def _row(row: sa.Row[tuple[object, ...]], now_s: float) -> ThreadRow:
    return ThreadRow(
        id=row.id,
        owner=row.owner,
        title=row.title,
        choices=RunChoices.model_validate(row.choices),
        created_s=row.created_s,
        updated_s=row.updated_s,
        is_busy=row.turn_until is not None and row.turn_until >= now_s,
    )
