"""Running: kills, torn lines, errors, money, concurrency, and people who interrupt."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import UserError
from evals.runs.cost import MoneySpentError
from evals.runs.folder import RunFolder
from evals.runs.progress import RunProgress
from evals.runs.recording import EvalQuery
from evals.runs.records import RECORDS_FILE, EvalRecord, RecordError, RecordStatus, read_info, read_records, read_scores
from evals.runs.runner import Ended, RunSession, run_queries
from tests.fakes.eval_runs import ignore, made_record, plan, queries, run_info, run_made

ROOT = Path(__file__).parents[3]
COUNT = 40


def untimed(folder: Path) -> bytes:
    return b"".join(record.untimed().line() for record in read_records(folder))


def run_session(
    folder: RunFolder, locate: Callable[[EvalQuery], EvalRecord], *, concurrency: int = 4, max_errors: int = 0
) -> RunSession:
    return run_queries(queries(COUNT), plan(locate), folder, ignore, concurrency=concurrency, max_errors=max_errors)


def test_records_end_in_the_benchmarks_order_whatever_the_concurrency(tmp_path: Path) -> None:
    for concurrency in (1, 16):
        run_made(tmp_path / str(concurrency), COUNT, concurrency, pause_s=0.001)
    assert untimed(tmp_path / "1") == untimed(tmp_path / "16")
    keys = [record.key for record in read_records(tmp_path / "16")]
    assert keys == [query.key for query in queries(COUNT)]
    assert read_info(tmp_path / "16").finished_at


def test_a_run_killed_again_and_again_ends_like_an_unbroken_one(tmp_path: Path) -> None:
    run_made(tmp_path / "whole", COUNT)
    rng = random.Random(7)
    killed, broken_run = 0, tmp_path / "broken"
    command = [sys.executable, "-m", "tests.fakes.eval_runs", str(broken_run), str(COUNT), "0.04"]
    file = broken_run / RECORDS_FILE
    while killed < 4:
        before = file.stat().st_size if file.exists() else 0
        process = subprocess.Popen(command, cwd=ROOT)
        # Not by the clock alone: a slow machine must get as far as a fast one before it is killed.
        while process.poll() is None and (not file.exists() or file.stat().st_size <= before):
            time.sleep(0.002)
        time.sleep(rng.random() * 0.05)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        if process.returncode == 0:
            break
    assert killed >= 2, "it was too fast to be killed"
    run_made(broken_run, COUNT)
    assert untimed(broken_run) == untimed(tmp_path / "whole")


def test_a_torn_line_is_cut_off_and_done_again(tmp_path: Path) -> None:
    run_made(tmp_path, COUNT)
    whole = untimed(tmp_path)
    file = tmp_path / RECORDS_FILE
    file.write_bytes(file.read_bytes()[:-100])
    again: list[EvalQuery] = []

    def locate(query: EvalQuery) -> EvalRecord:
        again.append(query)
        return made_record(query)

    with RunFolder(tmp_path, run_info(COUNT)) as folder:
        run_session(folder, locate)
        folder.finish([query.key for query in queries(COUNT)], 0.0)
    assert [query.key for query in again] == [queries(COUNT)[-1].key]
    assert untimed(tmp_path) == whole


def test_a_photo_that_raises_an_error_is_recorded_and_the_run_goes_on(tmp_path: Path) -> None:
    def locate(query: EvalQuery) -> EvalRecord:
        if query.sample.photo in ("0003.jpg", "0005.jpg"):
            raise ZeroDivisionError("a bug\nof two lines")
        return made_record(query)

    with RunFolder(tmp_path, run_info(COUNT)) as folder:
        assert run_session(folder, locate, max_errors=4).ended is Ended.COMPLETE
    broke = [record for record in read_records(tmp_path) if record.status is RecordStatus.ERROR]
    assert len(broke) == 4
    assert {record.error for record in broke} == {"ZeroDivisionError: a bug of two lines"}
    assert all(record.point is None and record.distance_km is None for record in broke)
    assert len(read_scores(tmp_path)) == 2 * COUNT, "the denominator is intact"


def test_too_many_errors_end_the_session_and_can_be_done_again(tmp_path: Path) -> None:
    def fail(query: EvalQuery) -> EvalRecord:
        raise RuntimeError(f"no {query.sample.photo}")

    with RunFolder(tmp_path, run_info(COUNT)) as folder:
        session = run_session(folder, fail, max_errors=3, concurrency=1)
        assert session.ended is Ended.ERRORS
        assert session.last_error is not None
        assert "no 0001.jpg" in session.last_error
        assert len(folder.scores) == 4
        folder.forget(lambda record: record.status is RecordStatus.ERROR)
        assert not folder.scores
        assert run_session(folder, made_record).ended is Ended.COMPLETE
    assert {record.status for record in read_records(tmp_path)} == {RecordStatus.ANSWERED}


def test_when_the_money_is_spent_the_run_stops_without_a_record_of_it(tmp_path: Path) -> None:
    left = threading.Semaphore(10)

    def locate(query: EvalQuery) -> EvalRecord:
        if not left.acquire(blocking=False):
            raise MoneySpentError("spent")
        return made_record(query)

    with RunFolder(tmp_path, run_info(COUNT)) as folder:
        assert run_session(folder, locate).ended is Ended.MONEY
        assert len(folder.scores) == 10
        assert not [score for score in folder.scores.values() if score.status is RecordStatus.ERROR]
    with RunFolder(tmp_path, run_info(COUNT)) as folder:
        assert len(folder.scores) == 10
        assert run_session(folder, made_record).ended is Ended.COMPLETE


def interrupt_at(*numbers: int) -> tuple[list[EvalRecord], Callable[[EvalRecord], None]]:
    """Records as they come, and a watcher that interrupts at some of them."""
    seen: list[EvalRecord] = []

    def watch(record: EvalRecord) -> None:
        seen.append(record)
        if len(seen) in numbers:
            raise KeyboardInterrupt

    return seen, watch


def test_an_interrupted_run_records_what_was_under_way(tmp_path: Path) -> None:
    seen, watch = interrupt_at(5)
    with RunFolder(tmp_path, run_info(COUNT)) as folder:
        session = run_queries(queries(COUNT), plan(made_record, 1.25), folder, watch, concurrency=4, max_errors=0)
        assert session == RunSession(Ended.INTERRUPTED)
        assert 5 <= len(folder.scores) < 2 * COUNT
    assert len(read_records(tmp_path)) == len(seen)
    assert read_info(tmp_path).spent_usd == 1.25


def test_a_second_interrupt_waits_for_nobody(tmp_path: Path) -> None:
    leave = threading.Event()

    def locate(query: EvalQuery) -> EvalRecord:
        if query.sample.photo >= "0001.jpg":
            leave.wait(30.0)
        return made_record(query)

    seen, watch = interrupt_at(1, 2)
    with RunFolder(tmp_path, run_info(COUNT)) as folder:
        session = run_queries(queries(COUNT), plan(locate, 1.25), folder, watch, concurrency=4, max_errors=0)
        assert session == RunSession(Ended.INTERRUPTED, has_abandoned_queries=True)
        assert not leave.is_set(), "two queries were still under way"
        leave.set()
    assert len(read_records(tmp_path)) == len(seen) == 2
    assert read_info(tmp_path).spent_usd == 1.25


def test_as_many_photos_are_under_way_as_asked_for(tmp_path: Path) -> None:
    meeting = threading.Barrier(10, timeout=30.0)

    def locate(query: EvalQuery) -> EvalRecord:
        meeting.wait()  # ten have to be here at once, or nobody leaves
        return made_record(query)

    with RunFolder(tmp_path, run_info(COUNT)) as folder:
        assert run_session(folder, locate, concurrency=10).ended is Ended.COMPLETE


def test_a_folder_takes_one_run_and_one_process(tmp_path: Path) -> None:
    with RunFolder(tmp_path, run_info(COUNT)), pytest.raises(UserError, match="another run is writing"):
        RunFolder(tmp_path, run_info(COUNT))
    with pytest.raises(RecordError, match="model 'none', not 'other'"):
        RunFolder(tmp_path, run_info(COUNT, model="other"))
    RunFolder(tmp_path, run_info(COUNT, started_at="later", commit="abc")).close()
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / RECORDS_FILE).write_text("my shopping list\n")
    with pytest.raises(RecordError, match=r"no run\.json"):
        RunFolder(strange, run_info(COUNT))
    assert (strange / RECORDS_FILE).read_text() == "my shopping list\n"


def test_a_record_is_never_doubled(tmp_path: Path) -> None:
    record = made_record(queries(1)[0])
    with RunFolder(tmp_path, run_info(COUNT)) as folder:
        folder.append(record)
        with pytest.raises(RecordError, match="already"):
            folder.append(record)
    (tmp_path / RECORDS_FILE).write_bytes(record.line() * 2)
    with pytest.raises(RecordError, match="twice"):
        RunFolder(tmp_path, run_info(COUNT))


def test_a_run_is_not_finished_while_records_are_missing(tmp_path: Path) -> None:
    with RunFolder(tmp_path, run_info(COUNT)) as folder:
        folder.append(made_record(queries(1)[0]))
        with pytest.raises(RecordError, match="1 records, the run 80"):
            folder.finish([query.key for query in queries(COUNT)], 0.0)
    assert read_info(tmp_path).finished_at is None


def test_progress_tells_accuracy_failures_and_money(tmp_path: Path) -> None:
    said = (tmp_path / "said").open("w+")
    near, far = (made_record(query) for query in queries(1))
    progress = RunProgress(4, [near.model_copy(update={"distance_km": 3.0})], lambda: 0.5, said)
    progress.add(far.model_copy(update={"distance_km": None, "status": RecordStatus.REFUSED}))
    assert progress.line() == "within 25 km: quick 100.0 %, slow 0.0 %; 1 without an answer; US$ 0.50"
    with progress:
        pass
    said.seek(0)
    assert said.read() == f"2 of 4; {progress.line()}\n"
    said.close()
