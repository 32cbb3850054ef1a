"""A run's folder: resumed after a kill with nothing lost or doubled, one process at a time, tidy at the end.

Lines come in the order photos finish; when all are there, the file is put in the benchmark's order at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from agents.fingerprint import changes, combined_digest
from core.closing import Closing
from core.files import write_atomic
from core.jsonl_log import JsonlLog, append_line
from evals.runs.records import (
    INFO_FILE,
    RECORDS_FILE,
    EvalRecord,
    RecordError,
    Replaced,
    RunInfo,
    Scored,
    parse_record,
    read_info,
    write_info,
)
from evals.runs.transcripts import TRANSCRIPTS_FILE, Transcript

MAY_CHANGE = {"started_at", "finished_at", "spent_usd", "arguments", "commit", "versions"}
"""What may differ when a run is resumed; a change of anything else would mix two runs."""
COMPARED_BY_PART = {"asked", "asked_texts", "replaced", "settings"}
REPLACED_FOLDER = "replaced"

Key = tuple[str, str]


class RunFolder(Closing):
    """An open run folder. Close it, or use it as a context manager. Appending is safe between threads.

    Attributes:
        info: of the run, as it was first begun.
        scores: of every photo and strategy that is done; their whole lines stay on the disk.

    Args:
        info: of the run as it would begin now.
        fresh: strategies to be asked again where what they ask has changed; their old records are put aside.

    Raises:
        UserError: the folder holds another run, or something else, or another process writes it.
    """

    def __init__(self, folder: Path, info: RunInfo, fresh: Sequence[str] = ()) -> None:
        self.folder = folder
        unknown = [name for name in fresh if name not in info.strategies]
        if unknown:
            raise RecordError(f"--fresh-strategy {unknown[0]}: this run's strategies are {', '.join(info.strategies)}")
        self._guard = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"run folder {folder}: {error.strerror}; choose another with --out") from error
        self._log = JsonlLog(folder / RECORDS_FILE, "records", "choose another --out", exclusive=True)
        try:
            self.info = self._begun_or_new(info)
            self.scores: dict[Key, Scored] = self._read()
            self._bind(info, fresh)
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
            # Before the record: one without a transcript would never get one.
            self._write_transcript(record)
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
        changed = _differences(begun, info)
        if changed:
            raise RecordError(f"{self.folder} was begun with {'; '.join(changed)[:500]}: choose another --out")
        return begun

    def _bind(self, info: RunInfo, fresh: Sequence[str]) -> None:
        """Refuse to go on where what is asked has changed, but for the strategies that are to be asked again.

        Raises:
            RecordError: something has changed; the message names it, and says how to go on.
        """
        changed = {name: changes(self.info.asked.get(name, {}), info.asked.get(name, {})) for name in info.strategies}
        for name, parts in changed.items():
            if parts and name not in fresh:
                concerned = ",".join(other for other, of in changed.items() if of)
                raise RecordError(_changed(self.folder, parts, concerned, is_known=name in self.info.asked))
        again = {name: combined_digest(info.asked.get(name, {})) for name in fresh}
        for name, digest in again.items():
            self._put_aside(name, digest)
        if again:
            asked = {**self.info.asked, **{name: info.asked.get(name, {}) for name in fresh}}
            texts = {**self.info.asked_texts, **info.asked_texts}
            self.info = self.info.model_copy(update={"asked": asked, "asked_texts": texts})
            write_info(self.folder, self.info)

    def _put_aside(self, strategy: str, digest: str) -> None:
        """Move a strategy's records that were not asked what is asked now into a file of their own."""
        old = [key for key, score in self.scores.items() if score.strategy == strategy and score.asked != digest]
        if not old:
            return
        folder = self.folder / REPLACED_FOLDER
        folder.mkdir(exist_ok=True)
        number = next(n for n in count(1) if not (folder / f"{strategy}-{n}.jsonl").exists())
        file = folder / f"{strategy}-{number}.jsonl"
        write_atomic(file, self._ordered(old))
        self.forget(lambda score: score.strategy == strategy and score.asked != digest)
        replaced = Replaced(
            strategy=strategy,
            file=file.relative_to(self.folder).as_posix(),
            records=len(old),
            asked=self.info.asked.get(strategy, {}),
        )
        self.info = self.info.model_copy(update={"replaced": (*self.info.replaced, replaced)})

    def _write_transcript(self, record: EvalRecord) -> None:
        if record.calls:
            kept = Transcript(photo=record.photo, strategy=record.strategy, asked=record.asked, calls=record.calls)
            append_line(self.folder / TRANSCRIPTS_FILE, kept.model_dump_json().encode() + b"\n")

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


def _differences(begun: RunInfo, now_: RunInfo) -> list[str]:
    """What would make another run of it; settings by their names, where these and not only their files differ."""
    compared = [name for name in RunInfo.model_fields if name not in MAY_CHANGE | COMPARED_BY_PART]
    found = {name: (getattr(begun, name), getattr(now_, name)) for name in compared}
    settings = {name: (begun.settings.get(name), value) for name, value in now_.settings.items() if begun.settings}
    by_name = {name: pair for name, pair in settings.items() if pair[0] != pair[1]}
    if by_name:
        found = {**found, **by_name}
        del found["settings_sha256"]
    return [f"{name} {before!r}, not {now!r}" for name, (before, now) in found.items() if before != now]


def _changed(folder: Path, parts: Sequence[str], strategies: str, *, is_known: bool) -> str:
    """Why a run cannot go on, and what to do."""
    again = f"start another run with --out, or `--fresh-strategy {strategies}` asks"
    again += " those strategies again" if "," in strategies else " that strategy again"
    if not is_known:
        return f"{folder} was begun by a version that did not keep what it asked: {again}"
    said = f"{parts[0]} since this run began"
    more = f", and {len(parts) - 1} more differ" if parts[1:] else ""
    return f"{said} ({folder}{more}): {again}; old records are kept aside"


def now() -> str:
    """The time as records of runs have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
