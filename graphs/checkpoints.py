"""Checkpoints in SQLite: a run that died goes on from its last finished node."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
from core.files import make_private
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


@contextmanager
def _naming_damage() -> Iterator[None]:
    """Raises UserError where a checkpoint is damaged."""
    try:
        yield
    except (sqlite3.DatabaseError, *_UNREADABLE) as error:
        problem = f"a checkpoint is damaged ({type(error).__name__}): it cannot be gone on from"
        raise UserError(f"{problem}; begin another thread, or choose another file of checkpoints") from error


def open_checkpoints(file: Path) -> SqliteSaver:
    """A checkpointer on a file, made if it is not there and its owner's only; close it with `.conn.close()`.

    Raises:
        UserError: the file cannot be opened or is no SQLite database.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        make_private(file)
        saver = CheckedSaver(sqlite3.connect(file, check_same_thread=False), serde=StateSerializer())
        if (found := saver.conn.execute("PRAGMA quick_check(1)").fetchone()) != ("ok",):
            raise sqlite3.DatabaseError(f"damaged: {found}")
        saver.setup()
    except (OSError, UnicodeError, sqlite3.Error) as error:  # UnicodeError: of a damaged schema
        raise UserError(f"checkpoints {file}: {error}; choose another file") from error
    return saver
