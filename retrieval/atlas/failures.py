"""The items a build could not use, one JSON line each, appended as they are met."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from retrieval.atlas.manifest import FAILED_FILE


class Failure(BaseModel):
    """An item that is not in the atlas, and why."""

    model_config = ConfigDict(frozen=True)

    id: int
    item_id: str
    reason: str


class FailureList:
    """`failed.jsonl` of an atlas folder; a last line cut off by a kill is dropped, so that its item is tried again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FAILED_FILE
        known = read_failures(folder)
        self.ids = {failure.id for failure in known}
        self._rewrite(known)

    def add(self, failures: Sequence[Failure]) -> None:
        """Append failures, safe on disk when this returns."""
        if not failures:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(failure.model_dump_json() + "\n" for failure in failures)
            file.flush()
            os.fsync(file.fileno())
        self.ids.update(failure.id for failure in failures)

    def _rewrite(self, failures: Sequence[Failure]) -> None:
        draft = self._path.with_name(FAILED_FILE + ".new")
        draft.write_text("".join(failure.model_dump_json() + "\n" for failure in failures), encoding="utf-8")
        draft.replace(self._path)


def read_failures(folder: Path) -> list[Failure]:
    """The failures an atlas records, in the order they were met; none if it has no list."""
    path = folder / FAILED_FILE
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return [failure for line in lines if (failure := _parsed(line))]


def _parsed(line: str) -> Failure | None:
    try:
        return Failure.model_validate_json(line)
    except ValidationError:
        return None  # cut off by a kill
