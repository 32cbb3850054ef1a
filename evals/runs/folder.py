"""A run's folder: resumed after a kill with nothing lost or doubled, one process at a time, tidy at the end.

Lines come in the order photos finish; when all are there, the file is put in the benchmark's order at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from core.closing import Closing
from core.jsonl_log import JsonlLog
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
)

MAY_CHANGE = {"started_at", "finished_at", "spent_usd", "arguments", "commit", "versions"}
"""What may differ when a run is resumed; a change of anything else would mix two runs."""

Key = tuple[str, str]


class RunFolder(Closing):
    """An open run folder. Close it, or use it as a context manager. Appending is safe between threads.

    Attributes:
        info: of the run, as it was first begun.
        scores: of every photo and strategy that is done; their whole lines stay on the disk.

    Raises:
        UserError: the folder holds another run, or something else, or another process writes it.
    """

    def __init__(self, folder: Path, info: RunInfo) -> None:
        self.folder = folder
        self._guard = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"run folder {folder}: {error.strerror}; choose another with --out") from error
        self._log = JsonlLog(folder / RECORDS_FILE, "records", "choose another --out", exclusive=True)
        try:
            self.info = self._begun_or_new(info)
            self.scores: dict[Key, Scored] = self._read()
        except BaseException:
            self._log.close()
            raise

    def append(self, record: EvalRecord) -> None:
        """Add a record.

        Raises:
            UserError: it is there already; or the disk is full.
        """
        with self._guard:
            if record.key in self.scores:
                raise RecordError(f"{self.folder} has {record.photo} by {record.strategy} already")
            self._log.write_line(record.line())
            self.scores[record.key] = Scored.model_validate(record.model_dump(include=set(Scored.model_fields)))

    def forget(self, unwanted: Callable[[Scored], bool]) -> None:
        """Remove records, to make them again."""
        with self._guard:
            kept = [key for key, record in self.scores.items() if not unwanted(record)]
            self._log.replace_lines(self._ordered(kept))
            self.scores = {key: self.scores[key] for key in kept}

    def note_spending(self, spent_usd: float) -> None:
        """Keep how much money is gone, for the limit of the next process that goes on with the run."""
        with self._guard:
            self.info = self.info.model_copy(update={"spent_usd": spent_usd})
            write_info(self.folder, self.info)

    def finish(self, order: Sequence[Key], spent_usd: float) -> RunInfo:
        """Put the records in order and note when the run ended.

        Raises:
            RecordError: records are missing, or some are of no photo of the run.
        """
        with self._guard:
            if set(order) != set(self.scores):
                raise RecordError(f"{self.folder} has {len(self.scores)} records, the run {len(order)}")
            self._log.replace_lines(self._ordered(order))
            self.info = self.info.model_copy(update={"finished_at": now(), "spent_usd": spent_usd})
            write_info(self.folder, self.info)
            return self.info

    def close(self) -> None:
        """Bring every line to the disk and let go of the folder."""
        self._log.close()

    def _begun_or_new(self, info: RunInfo) -> RunInfo:
        if not (self.folder / INFO_FILE).exists():
            if not self._log.is_empty:
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
        file = self._log.path
        scores: dict[Key, Scored] = {}
        for number, line in enumerate(self._log.lines(), 1):
            score = parse_record(line, f"{file}, line {number},", Scored)
            if score.key in scores:
                raise RecordError(f"{file} has {score.photo} by {score.strategy} twice: remove one line")
            scores[score.key] = score
        return scores

    def _ordered(self, order: Sequence[Key]) -> Iterator[bytes]:
        """Lines by the order of their keys, as they were written; one at a time in memory."""
        with self._log.path.open("rb") as stream:
            starts: dict[Key, int] = {}
            start = 0
            for line in stream:
                starts[parse_record(line, "a line", Scored).key] = start
                start += len(line)
            for key in order:
                stream.seek(starts[key])
                yield stream.readline()


def now() -> str:
    """The time as records of runs have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
