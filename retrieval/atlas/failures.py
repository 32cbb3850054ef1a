"""Items that are not in an atlas, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from core.frozen import Immutable
from core.jsonl_log import JsonlLog
from retrieval.atlas.manifest import FAILED_FILE


class Failure(Immutable):
    """An item that is not in the atlas, and why."""

    id: int
    item_id: str
    reason: str


class FailureList(JsonlLog):
    """`failed.jsonl` of an atlas under construction. The item of a torn line is tried again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / FAILED_FILE, "list of failures", "build again with --replace", sync_every_s=0.0)
        self.ids = {failure.id for failure in _parsed(self.lines())}

    def add(self, failures: Sequence[Failure]) -> None:
        """Append failures, safe on disk when this returns."""
        for failure in failures:
            self.write_line(failure.model_dump_json().encode() + b"\n")
            self.ids.add(failure.id)


def read_failures(folder: Path) -> list[Failure]:
    """The failures of an atlas folder; none where there is no list."""
    try:
        return list(_parsed((folder / FAILED_FILE).read_bytes().splitlines(keepends=True)))
    except FileNotFoundError:
        return []


def _parsed(lines: Iterable[bytes]) -> Iterator[Failure]:
    for line in lines:
        try:
            yield Failure.model_validate_json(line)
        except ValidationError:
            continue  # of another version, or damaged: its item is tried again
