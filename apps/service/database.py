"""One database holds what outlives a process: threads with their checkpoints and photos, and jobs.

A URL says which: a SQLite file for one machine, or a Postgres server that several API processes share. Tables:

    threads        a row a conversation; `turn_token` and `turn_until` are the lease of the process that answers,
                   `checkpoint_bytes` what its checkpoints took when its last turn ended
    thread_photos  pixels of their photos (PNG, without metadata), by the hash of the file they came from
    jobs           a row a batch
    job_items      a row a photo of a batch: its file until it is located, then its record and the record's bytes

and LangGraph's tables of checkpoints. Deleting a thread or a job deletes its photos.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from langgraph.checkpoint.base import BaseCheckpointSaver
from pydantic import ValidationError
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from apps.service.access import MAX_OWNER_CHARACTERS
from core.closing import Closing
from core.errors import UserError
from core.files import lock_file, make_private_database
from core.redaction import host_of
from graphs.checkpoints import StateSerializer, open_checkpoints

_MAKING_TABLES = 0x6E05107
"""Names the advisory lock of a Postgres server under which tables are made; any number that others do not use."""
_CONNECTIONS = 16
_PATIENCE_S = 30.0
_REMEDY = "stop the server, put a copy of service.sqlite back, or delete it with all threads and jobs"

_TABLES = sa.MetaData()

THREADS = sa.Table(
    "threads",
    _TABLES,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("owner", sa.String(MAX_OWNER_CHARACTERS), nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("choices", sa.JSON, nullable=False),
    sa.Column("created_s", sa.Double, nullable=False),
    sa.Column("updated_s", sa.Double, nullable=False),
    sa.Column("turn_token", sa.String(36)),
    sa.Column("turn_until", sa.Double),
    sa.Column("checkpoint_bytes", sa.BigInteger),
)
THREAD_PHOTOS = sa.Table(
    "thread_photos",
    _TABLES,
    sa.Column("thread_id", sa.String(36), primary_key=True),
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("png", sa.LargeBinary, nullable=False),
)
JOBS = sa.Table(
    "jobs",
    _TABLES,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("owner", sa.String(MAX_OWNER_CHARACTERS), nullable=False),
    sa.Column("choices", sa.JSON, nullable=False),
    sa.Column("created_s", sa.Double, nullable=False),
    sa.Column("is_complete", sa.Boolean, nullable=False),
    sa.Column("is_cancelled", sa.Boolean, nullable=False),
)
JOB_ITEMS = sa.Table(
    "job_items",
    _TABLES,
    sa.Column("job_id", sa.String(36), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("data", sa.LargeBinary),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("token", sa.String(36)),
    sa.Column("lease_until", sa.Double),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("record_bytes", sa.Integer),  # before the record: SQLite reads a row up to the column that is asked for
    sa.Column("record", sa.Text),
)
_INDEXES = (
    sa.Index("threads_by_owner", THREADS.c.owner, THREADS.c.updated_s),
    sa.Index("jobs_by_owner", JOBS.c.owner, JOBS.c.created_s),
    sa.Index("job_items_by_status", JOB_ITEMS.c.status, JOB_ITEMS.c.job_id, JOB_ITEMS.c.number),
)

_OWNER = sa.bindparam("owner", type_=sa.String)


def _sum_of(size: sa.ColumnElement[int], *where: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.select(sa.func.sum(size)).where(*where).scalar_subquery(), 0)


_KEPT_BYTES = sa.select(
    _sum_of(
        sa.func.coalesce(sa.func.length(JOB_ITEMS.c.data), 0) + sa.func.coalesce(JOB_ITEMS.c.record_bytes, 0),
        JOB_ITEMS.c.job_id == JOBS.c.id,
        JOBS.c.owner == _OWNER,
    )
    + _sum_of(sa.func.length(THREAD_PHOTOS.c.png), THREAD_PHOTOS.c.thread_id == THREADS.c.id, THREADS.c.owner == _OWNER)
    + _sum_of(THREADS.c.checkpoint_bytes, THREADS.c.owner == _OWNER)
)
"""Bytes of an owner's photos and records in jobs, and of photos and checkpoints in threads."""

_SQLITE_CHECKPOINTS = sa.text("""
SELECT coalesce((SELECT sum(length(checkpoint) + length(metadata)) FROM checkpoints WHERE thread_id = :id), 0)
     + coalesce((SELECT sum(length(value)) FROM writes WHERE thread_id = :id), 0)
""")
_POSTGRES_CHECKPOINTS = sa.text("""
SELECT coalesce((SELECT sum(pg_column_size(checkpoint) + pg_column_size(metadata))
                 FROM checkpoints WHERE thread_id = :id), 0)
     + coalesce((SELECT sum(pg_column_size(blob)) FROM checkpoint_blobs WHERE thread_id = :id), 0)
     + coalesce((SELECT sum(pg_column_size(blob)) FROM checkpoint_writes WHERE thread_id = :id), 0)
""")
"""Bytes of a thread's checkpoints, as they are stored: a Postgres server compresses long values."""


class ItemStatus(StrEnum):
    """Where a photo of a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    """It has a record, which may say that the photo could not be used."""
    CANCELLED = "cancelled"


class StateDatabase(Closing):
    """An open database of threads, photos and jobs; any number of processes may have it open.

    Attributes:
        checkpointer: holds the conversations' checkpoints.
        is_shared: whether it is a server's, which other machines may use.
    """

    def __init__(
        self, engine: sa.Engine, checkpointer: BaseCheckpointSaver[str], is_shared: bool, resources: ExitStack
    ) -> None:
        self._engine, self._resources = engine, resources
        self.checkpointer, self.is_shared = checkpointer, is_shared

    @classmethod
    def open(cls, url: str | None, home: Path) -> Self:
        """Open a database; tables that are missing are made.

        Args:
            url: `sqlite:///FILE` or `postgresql://…`; None: a file in the data home.
            home: the data home.

        Raises:
            UserError: another kind of URL, a file that cannot be used, a server that cannot be reached, or the extra
                `postgres` is not installed.
        """
        if url is not None and url.startswith(("postgresql://", "postgres://")):
            return cls._open_postgres(url)
        if url is not None and not url.startswith("sqlite:///"):
            raise UserError("the state URL is of no known kind: give sqlite:///FILE or postgresql://USER@HOST/DATABASE")
        return cls._open_sqlite(Path(url.removeprefix("sqlite:///")) if url else home / "service.sqlite")

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction; in SQLite nobody else writes meanwhile."""
        with _naming_damage(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection for reading, which waits for no writer."""
        with _naming_damage(), self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection

    def kept_bytes(self, connection: sa.Connection, owner: str) -> int:
        """Bytes of a caller's photos, records and checkpoints; of checkpoints as `keep_size` last summed them."""
        return int(connection.execute(_KEPT_BYTES, {"owner": owner}).scalar_one())

    def keep_size(self, connection: sa.Connection, thread_id: str) -> None:
        """Sum the bytes of a thread's checkpoints and write them to its row, where `kept_bytes` reads them."""
        of_thread = _POSTGRES_CHECKPOINTS if self.is_shared else _SQLITE_CHECKPOINTS
        size = int(connection.execute(of_thread, {"id": thread_id}).scalar_one())
        connection.execute(sa.update(THREADS).where(THREADS.c.id == thread_id).values(checkpoint_bytes=size))

    def clock_s(self, connection: sa.Connection) -> float:
        """Seconds since 1970 by the one clock that all processes share: the server's."""
        if not self.is_shared:
            return time.time()
        return float(connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    def check(self) -> None:
        """Ask the database for something.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: it does not answer.
        """
        with self.read() as connection:
            connection.execute(sa.select(sa.literal(1)))

    def close(self) -> None:
        """Close all connections."""
        self._resources.close()

    @classmethod
    def _open_sqlite(cls, file: Path) -> Self:
        with ExitStack() as opened:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                make_private_database(file)
                with lock_file(file.with_name(f".{file.name}.lock"), f"{file} is being opened; waiting", wait=True):
                    checkpointer = open_checkpoints(file)
                    opened.callback(checkpointer.conn.close)
                    checkpointer.conn.execute(f"PRAGMA busy_timeout = {int(_PATIENCE_S * 1000)}")
                    engine = sa.create_engine(
                        sa.URL.create("sqlite", database=str(file)), connect_args={"timeout": _PATIENCE_S}
                    )
                    opened.callback(engine.dispose)
                    _begin_immediately(engine)
                    _make_tables(engine)
            except (OSError, sqlite3.Error, sa.exc.SQLAlchemyError) as error:
                raise UserError(f"state {file}: {error}; choose another with GEOSLEUTH_STATE_URL") from error
            return cls(engine, checkpointer, False, opened.pop_all())

    @classmethod
    def _open_postgres(cls, url: str) -> Self:
        try:
            import psycopg
            from psycopg.rows import dict_row
            from psycopg_pool import ConnectionPool, PoolTimeout

            from graphs.chat.postgres_checkpoints import PrunedPostgresSaver
        except ImportError as error:
            raise UserError("a Postgres server needs more packages: pip install 'geosleuth[postgres]'") from error
        with ExitStack() as opened:
            try:
                options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
                pool: ConnectionPool[Any] = ConnectionPool(url, max_size=_CONNECTIONS, kwargs=options, open=False)
                opened.callback(pool.close)
                pool.open(wait=True, timeout=_PATIENCE_S)
                engine = sa.create_engine(
                    sa.make_url(url).set(drivername="postgresql+psycopg"),
                    pool_size=_CONNECTIONS,
                    max_overflow=0,
                    pool_timeout=_PATIENCE_S,
                    pool_pre_ping=True,
                )
                opened.callback(engine.dispose)
                checkpointer = PrunedPostgresSaver(pool, serde=StateSerializer())
                with _making_tables(engine):
                    checkpointer.setup()
                    _make_tables(engine)
            except (psycopg.Error, PoolTimeout, sa.exc.SQLAlchemyError) as error:
                where = host_of(url)
                raise UserError(
                    f"the Postgres server {where} cannot be used ({' '.join(str(error).split())}): see that it runs and"
                    " that GEOSLEUTH_STATE_URL names a database that you may write"
                ) from error
            return cls(engine, checkpointer, True, opened.pop_all())


@contextmanager
def _naming_damage() -> Iterator[None]:
    """Raises UserError where rows cannot be what was written: a file of SQLite has no checksums."""
    try:
        yield
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise UserError(f"the state is damaged ({type(error).__name__}): {_REMEDY}") from error
    except sa.exc.DatabaseError as error:
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise
        raise UserError(f"the state is damaged ({error.orig}): {_REMEDY}") from error


def _begin_immediately(engine: sa.Engine) -> None:
    """Let a transaction take SQLite's lock when it begins: one that reads first could not get it later."""

    @sa.event.listens_for(engine, "connect")
    def _no_transactions_of_its_own(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE")


def _make_tables(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for table in _TABLES.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            _add_missing_columns(connection, table)
        for index in _INDEXES:
            connection.execute(CreateIndex(index, if_not_exists=True))


def _add_missing_columns(connection: sa.Connection, table: sa.Table) -> None:
    """Bring a table of an earlier version up to date: columns that came later may be null."""
    there = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
    for column in table.columns:
        if column.name not in there:
            definition = CreateColumn(column).compile(dialect=connection.dialect)
            connection.execute(sa.DDL(f"ALTER TABLE {table.name} ADD COLUMN {definition}"))  # type: ignore[no-untyped-call]  # of SQLAlchemy


@contextmanager
def _making_tables(engine: sa.Engine) -> Iterator[None]:
    """One process at a time. It is asked for again and again: waiting in the server would hold up its new indexes."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        given_up = time.monotonic() + 2.0 * _PATIENCE_S
        while not connection.execute(sa.select(sa.func.pg_try_advisory_lock(_MAKING_TABLES))).scalar_one():
            if time.monotonic() > given_up:
                raise UserError("another process has been making the tables for a minute; see what it waits for")
            time.sleep(0.1)
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.pg_advisory_unlock(_MAKING_TABLES)))
