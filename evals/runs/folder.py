"""A run's folder: resumed after a kill with nothing lost or doubled, one process at a time, tidy at the end.

A record is one write to an append-only file, so a killed process leaves whole lines and at most one torn one, which
the next sitting cuts off. Lines come in the order photos finish; when all are there, the file is put in the
benchmark's order at once. Lines reach the disk itself at least every few seconds.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from evals.runs.records import (
    INFO_FILE,
    RECORDS_FILE,
    EvalRecord,
    RecordError,
    RunInfo,
    Scored,
    parse_record,
    read_info,
    write_info,
    write_lines,
)

SYNC_EVERY_S = 5.0
MAY_CHANGE = {"started_at", "finished_at", "spent_usd", "arguments", "commit", "versions"}
"""What another sitting of a run may say differently; a change of anything else would mix two runs."""

Key = tuple[str, str]


class RunFolder:
    """An open run folder. Close it, or use it as a context manager. Appending is safe between threads.

    Attributes:
        info: of the run, as its first sitting wrote it.
        scores: of every photo and strategy that is done; their whole lines stay on the disk.

    Raises:
        RecordError: the folder holds another run, or something else, or another process writes it.
    """

    def __init__(self, folder: Path, info: RunInfo) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._claimed: IO[str] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(folder / RECORDS_FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise RecordError(f"run folder {folder}: {error.strerror}; choose another with --out") from error
        try:
            self._claim()
            self.info = self._begun_or_new(info)
            self.scores: dict[Key, Scored] = self._read()
        except BaseException:
            os.close(self._handle)
            raise
        self._synced_at = time.monotonic()

    def append(self, record: EvalRecord) -> None:
        """Add a record.

        Raises:
            RecordError: it is there already; or the disk is full.
        """
        with self._lock:
            if record.key in self.scores:
                raise RecordError(f"{self.folder} has {record.photo} by {record.strategy} already")
            try:
                _write_all(self._handle, record.line())
                if time.monotonic() - self._synced_at > SYNC_EVERY_S:
                    self._sync()
            except OSError as error:
                raise RecordError(f"{self.folder}: {error.strerror}; make room and run the same command") from error
            self.scores[record.key] = Scored.model_validate(record.model_dump(include=set(Scored.model_fields)))

    def forget(self, unwanted: Callable[[Scored], bool]) -> None:
        """Remove records, to make them again."""
        with self._lock:
            kept = [key for key, record in self.scores.items() if not unwanted(record)]
            write_lines(self.folder / RECORDS_FILE, self._ordered(kept))
            self.scores = {key: self.scores[key] for key in kept}
            os.close(self._handle)
            self._handle = os.open(self.folder / RECORDS_FILE, os.O_RDWR | os.O_APPEND)

    def note_spending(self, spent_usd: float) -> None:
        """Keep how much money is gone, for the next sitting's limit."""
        with self._lock:
            self.info = self.info.model_copy(update={"spent_usd": spent_usd})
            write_info(self.folder, self.info)

    def finish(self, order: Sequence[Key], spent_usd: float) -> RunInfo:
        """Put the records in order and say when the run ended.

        Raises:
            RecordError: records are missing, or some are of no photo of the run.
        """
        with self._lock:
            if set(order) != set(self.scores):
                raise RecordError(f"{self.folder} has {len(self.scores)} records, the run {len(order)}")
            write_lines(self.folder / RECORDS_FILE, self._ordered(order))
            self.info = self.info.model_copy(update={"finished_at": now(), "spent_usd": spent_usd})
            write_info(self.folder, self.info)
            return self.info

    def close(self) -> None:
        """Bring every line to the disk and let go of the folder."""
        self._sync()
        os.close(self._handle)
        if self._claimed is not None:
            self._claimed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _claim(self) -> None:
        """Lock the folder, through a file that is never replaced."""
        if os.name != "posix":
            return  # there is no fcntl; two runs in one folder are then the user's to avoid
        import fcntl

        self._claimed = (self.folder / ".lock").open("w")
        try:
            fcntl.flock(self._claimed, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._claimed.close()
            raise RecordError(f"{self.folder}: another run is writing it; wait, or choose another --out") from error

    def _begun_or_new(self, info: RunInfo) -> RunInfo:
        if not (self.folder / INFO_FILE).exists():
            if os.fstat(self._handle).st_size:
                raise RecordError(f"{self.folder} has records but no {INFO_FILE}: choose another --out")
            write_info(self.folder, info)
            return info
        begun = read_info(self.folder)
        before, now_ = begun.model_dump(exclude=MAY_CHANGE), info.model_dump(exclude=MAY_CHANGE)
        changed = [f"{name} {before[name]!r}, not {now_[name]!r}" for name in before if before[name] != now_[name]]
        if changed:
            raise RecordError(f"{self.folder} was begun with {'; '.join(changed)[:500]}: choose another --out")
        return begun

    def _read(self) -> dict[Key, Scored]:
        file = self.folder / RECORDS_FILE
        scores: dict[Key, Scored] = {}
        kept = 0
        with file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if not line.endswith(b"\n"):
                    os.ftruncate(self._handle, kept)
                    break
                score = parse_record(line, f"{file}, line {number},", Scored)
                if score.key in scores:
                    raise RecordError(f"{file} has {score.photo} by {score.strategy} twice: remove one line")
                scores[score.key] = score
                kept += len(line)
        return scores

    def _ordered(self, order: Sequence[Key]) -> Iterator[bytes]:
        """Lines by the order of their keys, as they were written; one at a time in memory."""
        with (self.folder / RECORDS_FILE).open("rb") as stream:
            starts: dict[Key, int] = {}
            start = 0
            for line in stream:
                starts[parse_record(line, "a line", Scored).key] = start
                start += len(line)
            for key in order:
                stream.seek(starts[key])
                yield stream.readline()

    def _sync(self) -> None:
        os.fsync(self._handle)
        self._synced_at = time.monotonic()


def now() -> str:
    """The time as records of runs have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
