"""The records of a folder run: one JSON line a photo, appended as each finishes, so that a killed run resumes.

Rows are read from the disk each time they are gone through: an answer with its candidates takes 0.17 MB of memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias

from pydantic import ValidationError

from agents.schemas import Answer, AnswerStatus, Level, Versions
from apps.output.formatting import printable
from core.errors import UserError
from core.files import OWNER_ONLY
from core.json_text import parse_json
from core.jsonl_log import JsonlLog
from retrieval.photos.together import joined_sha256

_FIELDS = {"photo", "sha256", "status", "error", "answer"}
_LATER_FIELDS = {"settings", "photos"}
"""Fields that rows of earlier versions, or of single photos, lack."""
PhotoKey: TypeAlias = tuple[str, str | None]
"""A photo's name and the hash of its file."""


class RunStatus(StrEnum):
    """Outcome of a photo of a run."""

    ANSWERED = "answered"
    ABSTAINED = "abstained"
    REFUSED = "refused"
    """The model declined."""
    UNPARSABLE = "unparsable"
    """The model's reply holds no usable answer."""
    FAILED = "failed"
    """The photo could not be used, or the model could not be reached: the error says which."""


@dataclass(frozen=True)
class PhotoResult:
    """One photo of a run.

    Attributes:
        photo: path relative to the run's folder.
        sha256: of the file; None if it could not be read.
        status: how it ended.
        error: why it failed, on one line.
        answer: unless the photo could not be used.
        settings: those that it was made with (`graphs.settings.answering_settings`); None in files of earlier versions.
        photos: of several photos of one place, each one's name and hash; `photo` and `sha256` then stand for the set
            (`retrieval.photos.together`).
    """

    photo: str
    sha256: str | None
    status: RunStatus
    error: str | None = None
    answer: Answer | None = None
    settings: Mapping[str, Any] | None = None
    photos: tuple[PhotoKey, ...] = ()

    @classmethod
    def of_answer(cls, photo: str, answer: Answer) -> Self:
        """The record of a photo that was located, or for which the model gave no answer."""
        error = answer.reasoning if answer.status is AnswerStatus.FAILED else None
        return cls(photo, joined_sha256(answer.photo_sha256s), RunStatus(answer.status.value), error, answer)

    @classmethod
    def of_failure(cls, photo: str, sha256: str | None, error: str) -> Self:
        """The record of a photo that could not be used."""
        return cls(photo, sha256, RunStatus.FAILED, error)

    def line(self) -> str:
        """The record as one line of ASCII JSON: any file name and any sign can be written and read again."""
        answer = self.answer.model_dump(mode="json") if self.answer else None
        fields = {"photo": self.photo, "sha256": self.sha256, "status": self.status.value, "error": self.error}
        made_with = {} if self.settings is None else {"settings": self.settings}
        several = {"photos": [{"photo": name, "sha256": sha256} for name, sha256 in self.photos]} if self.photos else {}
        return json.dumps(fields | several | {"answer": answer} | made_with, ensure_ascii=True, allow_nan=False) + "\n"

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """A record from its line.

        Raises:
            ValueError: not a record.
        """
        fields = parse_json(line)
        if not isinstance(fields, dict) or set(fields) - _LATER_FIELDS != _FIELDS:
            raise ValueError("not a record of a run")
        photo, sha256, error, made_with = (fields.get(name) for name in ("photo", "sha256", "error", "settings"))
        if not (isinstance(photo, str) and isinstance(sha256, str | None) and isinstance(error, str | None)):
            raise ValueError("no name, hash or error of a record")
        if not isinstance(made_with, dict | None):
            raise ValueError("not the settings of a record")
        answer = None if fields["answer"] is None else Answer.model_validate(fields["answer"])
        photos = tuple((str(one["photo"]), one["sha256"]) for one in fields.get("photos", ()))
        return cls(photo, sha256, RunStatus(fields["status"]), error, answer, made_with, photos)

    @property
    def key(self) -> PhotoKey:
        """Name and hash of the photo: another photo of that name is another one."""
        return self.photo, self.sha256


class Row(NamedTuple):
    """What is kept in memory of a row.

    Attributes:
        start: its first byte in the file.
        size: bytes, the line feed included.
        status: how the photo ended.
        is_located: whether it has an answer.
    """

    start: int
    size: int
    status: RunStatus
    is_located: bool


class RunFile(JsonlLog):
    """An open run file: what is done already, and a place for the rest.

    Attributes:
        rows: where each photo's row is; of rows about the same photo, the last one.
    """

    def __init__(self, file: Path, report: Callable[[int], None] | None = None, *, is_temporary: bool = False) -> None:
        """Open a run file, made if it is not there.

        Args:
            report: called with the number of rows read so far.
            is_temporary: whether it is deleted when this run ends, however it ends.

        Raises:
            UserError: the file cannot be read or written, is in use by another run, or holds something else.
        """
        if file.name == "-" or (file.exists() and not file.is_file()):
            raise UserError(f"run file {file}: is no file, and a run reads its own again; choose another with --jsonl")
        remedy, begins = "choose another with --jsonl", b'{"photo": '
        self._is_temporary = is_temporary
        super().__init__(file, "run file", remedy, mode=OWNER_ONLY, first_bytes=begins, exclusive=True)
        try:
            self._index(report)
        except BaseException:
            self.close()
            raise

    def _index(self, report: Callable[[int], None] | None = None) -> None:
        self.rows: dict[PhotoKey, Row] = {}
        self._end = 0
        self._versions: Versions | None = None
        self._settings: list[Mapping[str, Any]] = []
        for number, line in enumerate(self.lines(), 1):
            self._add(self._parsed(number, line), len(line))
            if report:
                report(number)

    def _add(self, record: PhotoResult, size: int) -> None:
        self.rows[record.key] = Row(self._end, size, record.status, record.answer is not None)
        self._end += size
        if self._versions is None and record.answer:
            self._versions = record.answer.versions
        if (made_with := _made_with(record)) not in self._settings:
            self._settings.append(made_with)

    def records(self, keys: Iterable[PhotoKey] | None = None) -> Iterator[PhotoResult]:
        """The records of some photos, in their order, or of all; each is read from the disk when it is its turn.

        Raises:
            KeyError: a photo without a row.
            UserError: the file has been changed by something else.
        """
        with self.path.open("rb") as stream:
            for key in self.rows if keys is None else keys:
                row = self.rows[key]
                stream.seek(row.start)
                yield self._parsed(None, stream.read(row.size))

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Refuse to go on with other settings than those the rows were made with.

        Args:
            settings: see `graphs.settings.answering_settings`.

        Raises:
            UserError: a row was made with others; the message names them.
        """
        for made_with in self._settings:
            if different := settings_differences(made_with, settings):
                raise UserError(
                    f"run file {self.path}: its rows were made with {different}; go on with the same, or choose another"
                    " file"
                )

    def append(self, record: PhotoResult) -> None:
        """Add a row.

        Raises:
            UserError: the answer was made by another system than the file's earlier ones; or the disk is full.
        """
        self._check_same_system(record)
        line = record.line().encode("ascii")
        try:
            self.write_line(line)
        except UserError as error:
            if not self._is_temporary:
                raise
            raise UserError(
                f"no room for the rows of this run in {self.path.parent} ({error.__cause__}): nothing is kept without"
                " --jsonl FILE"
            ) from error
        self._add(record, len(line))

    def forget_failures(self, photos: Collection[str]) -> int:
        """Take the rows of photos that failed out, so that these are tried again; returns how many there were.

        Args:
            photos: names of those that are to be tried again; the rows of others stay.
        """
        kept = [key for key, row in self.rows.items() if row.status is not RunStatus.FAILED or key[0] not in photos]
        failures = len(self.rows) - len(kept)
        if failures:
            self._replace(self.records(kept))
        return failures

    def coarsen(self, coarsen: Callable[[Answer], Answer], level: Level) -> int:
        """Replace the rows whose answers are finer than a level; returns how many.

        Raises:
            UserError: the disk is full; then all rows are as they were.
        """
        changed = sum(new.answer != old.answer for old, new in self._coarsened(coarsen, level))
        if changed:
            self._replace(new for _, new in self._coarsened(coarsen, level))
        return changed

    def _coarsened(
        self, coarsen: Callable[[Answer], Answer], level: Level
    ) -> Iterator[tuple[PhotoResult, PhotoResult]]:
        return ((row, _coarsened(row, coarsen, level)) for row in self.records())

    def _replace(self, records: Iterable[PhotoResult]) -> None:
        try:
            self.replace_lines(record.line().encode("ascii") for record in records)
        except OSError as error:
            raise UserError(f"run file {self.path}: {error.strerror}; make room and run it again") from error
        self._index()

    def _parsed(self, number: int | None, line: bytes) -> PhotoResult:
        """The record of a line; `number` is None for one that was good when the file was opened."""
        try:
            return PhotoResult.parse(line)
        except (ValueError, ValidationError) as error:
            problem = (
                "something else has changed it meanwhile; run the command again"
                if number is None
                else f"line {number} is not a record of a run; choose another file, or mend the line"
            )
            raise UserError(f"run file {self.path}: {problem}") from error

    def _check_same_system(self, record: PhotoResult) -> None:
        earlier = self._versions
        if record.answer is not None and earlier is not None and record.answer.versions != earlier:
            raise UserError(
                f"run file {self.path}: was begun with {_differences(earlier, record.answer.versions)};"
                " go on with the same, or choose another file"
            )


def _coarsened(row: PhotoResult, coarsen: Callable[[Answer], Answer], level: Level) -> PhotoResult:
    if row.answer is None:
        return row
    settings = None if row.settings is None else {**row.settings, "max_precision": level.value}
    return replace(row, answer=coarsen(row.answer), settings=settings)


def settings_differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What both hold and is not the same, in words; empty where all is."""
    from graphs.settings import is_same_setting

    kept = [
        name
        for name in now
        if name in earlier
        and not is_same_setting(name, earlier[name], now[name])
        and not _is_coarser(name, earlier, now)
    ]
    return printable("; ".join(f"{name} {_value(earlier[name])}, not {_value(now[name])}" for name in kept))


def _is_coarser(name: str, earlier: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a difference is a coarser precision: answers that are there already can be made as coarse."""
    if name != "max_precision" or now[name] is None:
        return False
    order = [None, *(level.value for level in Level)]
    return earlier[name] in order and order.index(earlier[name]) < order.index(now[name])


def _made_with(record: PhotoResult) -> Mapping[str, Any]:
    if record.settings is not None or record.answer is None:
        return record.settings or {}
    versions = record.answer.versions  # files of earlier versions
    return {"model": versions.model, "strategy": versions.strategy}


def _differences(earlier: Versions, now: Versions) -> str:
    return settings_differences(earlier.model_dump(mode="json"), now.model_dump(mode="json"))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return (", ".join(map(str, value)) if isinstance(value, list) else str(value or "")) or "none"
