"""Checkpoints in SQLite: a run that died goes on from its last finished node."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

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
from geo.point import Point
from graphs.chat.state import ShownPhoto
from graphs.state import CaptureClues, Opinion, PersonQuestion, Position, ToolRecord
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


def state_serializer() -> JsonPlusSerializer:
    """Reads nothing from a checkpoint but plain values, messages and the types of the state."""
    return JsonPlusSerializer(allowed_msgpack_modules=[(kind.__module__, kind.__name__) for kind in STATE_TYPES])


def open_checkpoints(file: Path) -> SqliteSaver:
    """A checkpointer on a file, made if it is not there; close it with `.conn.close()`.

    Raises:
        UserError: the file cannot be opened or is no SQLite database.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        saver = SqliteSaver(sqlite3.connect(file, check_same_thread=False), serde=state_serializer())
        saver.setup()
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"checkpoints {file}: {error}; choose another file") from error
    return saver
