"""Checkpoints in SQLite: a run that died goes on from its last finished node."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import ormsgpack
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from typing_extensions import override

from agents.schemas import (
    Answer,
    AnswerStatus,
    Cost,
    Evidence,
    EvidenceKind,
    Hypothesis,
    HypothesisStatus,
    Level,
    Origin,
    PointSource,
)
from core.errors import UserError
from core.files import make_private_database
from geo.point import Point
from graphs.chat.state import ShownPhoto
from graphs.state import CaptureClues, ModelReply, Opinion, PersonQuestion, Position, ToolRecord
from retrieval.candidate import AtlasKind, Candidate, Region

STATE_TYPES: tuple[type, ...] = (
    Answer,
    AnswerStatus,
    AtlasKind,
    Candidate,
    CaptureClues,
    Cost,
    Evidence,
    EvidenceKind,
    Hypothesis,
    HypothesisStatus,
    Level,
    ModelReply,
    Opinion,
    Origin,
    PersonQuestion,
    Point,
    PointSource,
    Position,
    Region,
    ShownPhoto,
    ToolRecord,
)
"""The only types of ours that a checkpoint may bring to life, besides LangChain's messages."""


MOVED_TYPES: Mapping[tuple[str, str], type] = {
    ("graphs.chat_state", "ShownPhoto"): ShownPhoto,
    ("graphs.question", "PersonQuestion"): PersonQuestion,
}
"""Present types, by their module and name in checkpoints of earlier versions."""


_UNREADABLE = (AttributeError, KeyError, NotImplementedError, TypeError, ValueError)
"""What is raised on damaged bytes, found by flipping bits: SQLite has no checksums, so nothing sees them earlier."""


class StateSerializer(JsonPlusSerializer):
    """Reads nothing from a checkpoint but plain values, messages and the types of the state, old names included."""

    def __init__(self) -> None:
        super().__init__(allowed_msgpack_modules=[(kind.__module__, kind.__name__) for kind in STATE_TYPES])

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value of a checkpoint's bytes; a type that is not of the state stays plain data."""
        kind, packed = data
        if kind == "msgpack" and any(module.encode() in packed for module, _ in MOVED_TYPES):
            renamed = ormsgpack.unpackb(packed, ext_hook=_renamed, option=ormsgpack.OPT_NON_STR_KEYS)
            packed = ormsgpack.packb(renamed, option=ormsgpack.OPT_NON_STR_KEYS)
        return super().loads_typed((kind, packed))


def _renamed(code: int, data: bytes) -> ormsgpack.Ext:
    """An extension value as it was packed, with the present names of moved types in it.

    LangGraph packs an object as a list that begins with the module and the name of its type.
    """
    parts = ormsgpack.unpackb(data, ext_hook=_renamed, option=ormsgpack.OPT_NON_STR_KEYS)
    if isinstance(parts, list) and all(isinstance(part, str) for part in parts[:2]):
        moved = MOVED_TYPES.get(tuple(parts[:2]))
        if moved:
            parts[:2] = moved.__module__, moved.__name__
    return ormsgpack.Ext(code, ormsgpack.packb(parts, option=ormsgpack.OPT_NON_STR_KEYS))


UNDONE_TURNS = 10
"""Turns of a conversation that can be taken back; each keeps two checkpoints (set by hand)."""
TRANSCRIPT = "transcript"
"""The namespace of a thread's checkpoints that hold words which its state holds no longer."""
_LARGE_PAGES = 1000

Rows = Mapping[str, tuple[str | None, str]]
"""The checkpoints of a thread's own graph: the parent and the source of each, by its id."""


@runtime_checkable
class PrunesTurns(Protocol):
    """A checkpointer that can drop what neither undoing the last turns of a conversation nor going on needs."""

    def prune_turns(self, thread_id: str, last: str, turns: int) -> None:
        """Keep of a thread whose last turn is over what undoing its last turns needs: where each began, and its input.

        The steps between, those of subgraphs and the writes of tasks are for going on with a turn that is not over.

        Args:
            thread_id: of a conversation without unfinished tasks.
            last: its newest checkpoint; newer ones are of a turn that began meanwhile, and stay.
            turns: that can still be taken back.
        """


class CheckedSaver(SqliteSaver):
    """A checkpointer that says in one line what is damaged: rows are JSON in parts, and pages may be cut off."""

    @override
    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        with _naming_damage():
            return super().get_tuple(config)

    @override
    def list(self, *args: Any, **kwargs: Any) -> Iterator[CheckpointTuple]:
        with _naming_damage():
            yield from super().list(*args, **kwargs)

    def prune_turns(self, thread_id: str, last: str, turns: int) -> None:
        """As `PrunesTurns` says."""
        with _naming_damage(), self.cursor() as cursor:
            cursor.execute(
                "SELECT checkpoint_id, parent_checkpoint_id, json_extract(CAST(metadata AS TEXT), '$.source')"
                " FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = '' AND checkpoint_id <= ?",
                (thread_id, last),
            )
            ends = turn_ends({checkpoint: (parent, source) for checkpoint, parent, source in cursor}, turns)
            kept = [*kept_ids(ends)]
            until = f"thread_id = ? AND checkpoint_id <= ? AND checkpoint_ns != '{TRANSCRIPT}'"
            own = f"checkpoint_ns = '' AND checkpoint_id IN ({', '.join('?' * len(kept))})"
            cursor.execute(f"DELETE FROM checkpoints WHERE {until} AND NOT ({own})", (thread_id, last, *kept))  # noqa: S608 - ours
            cursor.execute(f"DELETE FROM writes WHERE {until}", (thread_id, last))  # noqa: S608 - ours
            cursor.executemany(
                "UPDATE checkpoints SET parent_checkpoint_id = ? WHERE thread_id = ? AND checkpoint_ns = ''"
                " AND checkpoint_id = ?",
                [(begin, thread_id, end) for end, begin in ends if begin not in (None, end)],
            )
        _shrink(self)


def turn_ends(rows: Rows, turns: int) -> list[tuple[str, str | None]]:
    """The last checkpoint of each of the last turns with the one of its input, newest first, and the end before."""
    found: list[tuple[str, str | None]] = []
    end = max(rows, default=None)
    while end is not None and end in rows and len(found) < turns:
        begin = _input_before(rows, end)
        found.append((end, begin))
        end = rows[begin][0] if begin else None
    return found if end is None or end not in rows else [*found, (end, None)]


def kept_ids(ends: Iterable[tuple[str, str | None]]) -> set[str]:
    """The checkpoints that pruning keeps, of the ends and inputs of turns."""
    return {one for pair in ends for one in pair if one}


@contextmanager
def _naming_damage() -> Iterator[None]:
    """Raises UserError where a checkpoint is damaged."""
    try:
        yield
    except (sqlite3.DatabaseError, *_UNREADABLE) as error:
        if is_passing(error):
            raise
        problem = f"a checkpoint is damaged ({type(error).__name__}): it cannot be gone on from"
        raise UserError(f"{problem}; begin another thread, or choose another file of checkpoints") from error


def is_passing(error: BaseException) -> bool:
    """Whether a database is whole, but cannot be used now: the disk is full, or another process holds it."""
    code, state = getattr(error, "sqlite_errorcode", None), getattr(error, "sqlstate", None)
    return (code is not None and code & 0xFF in _PASSING) or str(state).startswith(_PASSING_STATES)


_PASSING = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR)
_PASSING_STATES = ("53", "55")
"""Classes of a Postgres server's SQLSTATE: too few resources, the disk among them; an object in use."""


def _input_before(rows: Rows, checkpoint: str) -> str | None:
    """The checkpoint of the input that a turn began with; None where it is not kept."""
    at: str | None = checkpoint
    while at is not None and at in rows:
        parent, source = rows[at]
        if source == "input":
            return at
        at = parent
    return None


def _shrink(saver: SqliteSaver) -> None:
    """Give the disk back what pruning freed, where that is most of a large file."""
    with saver.lock:
        pages, free = (saver.conn.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
        if pages > _LARGE_PAGES and free > pages / 2:
            with suppress(sqlite3.OperationalError):  # it needs room on the disk; without, the file stays as large
                saver.conn.execute("VACUUM")


def open_checkpoints(file: Path | None) -> CheckedSaver:
    """A checkpointer on a file, made if it is not there and its owner's only; close it with `.conn.close()`.

    Args:
        file: None for one in memory.

    Raises:
        UserError: the file cannot be opened or is no SQLite database.
    """
    if file is None:
        return CheckedSaver(sqlite3.connect(":memory:", check_same_thread=False), serde=StateSerializer())
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        make_private_database(file)
        saver = CheckedSaver(sqlite3.connect(file, check_same_thread=False), serde=StateSerializer())
        if (found := saver.conn.execute("PRAGMA quick_check(1)").fetchone()) != ("ok",):
            raise sqlite3.DatabaseError(f"damaged: {found}")
        saver.setup()
    except (OSError, UnicodeError, sqlite3.Error) as error:  # UnicodeError: of a damaged schema
        raise UserError(f"checkpoints {file}: {error}; choose another file") from error
    return saver
