"""What the API answers with, beside the project's own schemas (`Answer`, `Candidate`, `ThreadHistory`)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Self

from pydantic import BaseModel, Field

from agents.schemas import Answer
from apps.service.choices import RunChoices
from apps.service.conversations import ThreadHistory
from apps.service.jobs import JobRow, JobStatus
from apps.service.threads import ThreadRow
from graphs.chat.events import PersonAsked
from retrieval.candidate import Candidate

NO_NUL = r"^[^\x00]*$"
"""Postgres keeps no text with a null character in it."""


class NewThread(BaseModel):
    """A thread to begin, or what to change of one."""

    title: str | None = Field(
        None, max_length=200, pattern=NO_NUL, description="for people", examples=["the holiday photo"]
    )
    choices: RunChoices | None = Field(None, description="what its turns run with")


class ThreadSummary(BaseModel):
    """A thread as it is listed."""

    id: str = Field(examples=["18b535b7-eded-43a4-96ea-3155070d9c1e"])
    title: str
    choices: RunChoices
    created_at: datetime
    updated_at: datetime = Field(description="when its last turn began")
    is_busy: bool = Field(description="a turn is being answered")

    @classmethod
    def of(cls, row: ThreadRow) -> Self:
        """A row of the database, as callers see it."""
        return cls(
            id=row.id,
            title=row.title,
            choices=row.choices,
            created_at=_time(row.created_s),
            updated_at=_time(row.updated_s),
            is_busy=row.is_busy,
        )


class ThreadDetail(ThreadSummary):
    """A thread with everything said, shown and answered in it."""

    history: ThreadHistory


class ThreadReply(BaseModel):
    """How a turn ended: with a reply, or with a question that the next message answers."""

    text: str | None = Field(description="the reply; None: there is a question")
    answer: Answer | None = Field(description="the present answer about the current photo")
    question: PersonAsked | None


class TakenBack(BaseModel):
    """A turn that was taken back."""

    words: str = Field(description="what the person had said")


class JobSummary(BaseModel):
    """A batch of photos, and how many of them stand where."""

    id: str = Field(examples=["32937cf4-818a-4909-a7e3-c6530a7fd0a5"])
    status: JobStatus
    choices: RunChoices
    created_at: datetime
    counts: dict[str, int] = Field(examples=[{"queued": 7, "running": 1, "done": 2, "cancelled": 0}])

    @classmethod
    def of(cls, row: JobRow) -> Self:
        """A row of the database, as callers see it."""
        return cls(
            id=row.id, status=row.status, choices=row.choices, created_at=_time(row.created_s), counts=row.counts
        )


class SimilarPlaces(BaseModel):
    """Places of the atlases that look like a photo, most similar first within each atlas."""

    candidates: tuple[Candidate, ...]


class ServerHealth(BaseModel):
    """Whether the server can work."""

    status: str = Field(examples=["ok"])


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
