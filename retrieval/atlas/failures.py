"""The items a build could not use, one JSON line each, appended as they are met."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from core.jsonl_log import JsonlLog, whole_lines
from retrieval.atlas.manifest import FAILED_FILE


class Failure(BaseModel):
    """An item that is not in the atlas, and why."""

    model_config = ConfigDict(frozen=True)

    id: int
    item_id: str
    reason: str


class FailureList(JsonlLog):
    """`failed.jsonl` of an atlas under construction. The item of a torn line is tried again.

    Attributes:
        ids: of the items listed.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder / FAILED_FILE, "list of failures", "delete the folder and build again", sync_every_s=0.0
        )
        self.ids = {failure.id for failure in map(_parsed, self.lines()) if failure}

    def add(self, failures: Sequence[Failure]) -> None:
        """Append failures, safe on disk when this returns."""
        for failure in failures:
            self.write_line(failure.model_dump_json().encode() + b"\n")
            self.ids.add(failure.id)


def read_failures(folder: Path) -> list[Failure]:
    """The failures an atlas records, in the order they were met; none if it has no list."""
    path = folder / FAILED_FILE
    return [failure for failure in map(_parsed, whole_lines(path)) if failure] if path.exists() else []


def _parsed(line: bytes) -> Failure | None:
    try:
        return Failure.model_validate_json(line)
    except ValidationError:
        return None  # of another version, or damaged: its item is tried again
