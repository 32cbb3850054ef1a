"""Saved conversations in SQLite and on a real Postgres server, from several processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from agents.schemas import Answer, Level
from apps.service.choices import RunChoices
from apps.service.database import THREAD_PHOTOS, THREADS, StateDatabase
from apps.service.errors import ConflictError, NotFoundError, TooManyError, UnusableError
from apps.service.events import Accepted, RunFailed, ServiceEvent
from apps.service.runs import RunPool, RunStream
from apps.service.service import GeolocationService
from core.errors import UserError
from graphs.chat.events import ToolCalled, TurnEnded
from graphs.chat.photo_archive import png_of
from graphs.chat.session import Conversation
from graphs.events.steps import Answered, StepDone
from retrieval.photos.photo import Photo, load_photo
from tests.apps.conftest import environment
from tests.fakes.conversations import ended, shot, talk
from tests.fakes.photo_files import jpeg
from tests.fakes.services import gated, server_process, service


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Photo:
    return load_photo(jpeg(tmp_path_factory.mktemp("photo") / "a.jpg"))


@pytest.fixture
def opened(state_url: str, tmp_path: Path) -> Iterator[GeolocationService]:
    with service(tmp_path, state_url, job_workers=0) as one:
        yield one


def last(stream: RunStream) -> ServiceEvent:
    return list(stream)[-1]


def reply(stream: RunStream) -> TurnEnded:
    ended = last(stream)
    assert isinstance(ended, TurnEnded), ended
    return ended


def rows(database: StateDatabase, *tables: sa.Table) -> list[int]:
    with database.read() as connection:
        return [connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() for table in tables]


def stored(database: StateDatabase, thread_id: str) -> dict[str, int]:
    """How many rows each table of checkpoints holds of a thread."""
    tables = sa.inspect(database._engine).get_table_names()
    found = sorted({"checkpoints", "writes", "checkpoint_blobs", "checkpoint_writes"} & set(tables))
    with database.read() as connection:
        return {
            name: connection.execute(
                sa.select(sa.func.count()).select_from(sa.table(name)).where(sa.column("thread_id") == thread_id)
            ).scalar_one()
            for name in found
        }


def test_a_conversation_goes_on_in_another_process_with_its_photo(
    opened: GeolocationService, state_url: str, tmp_path: Path, photo: Photo
) -> None:
    thread = opened.threads.create("anna", "holiday", RunChoices())
    first, *between, end = opened.conversations.send("anna", thread.id, "where is it?", [photo])
    assert isinstance(first, Accepted)
    assert {type(event) for event in between} == {StepDone, ToolCalled}
    assert isinstance(end, TurnEnded)
    assert isinstance(end.answer, Answer)
    with service(tmp_path, state_url, job_workers=0) as other:
        assert reply(other.conversations.send("anna", thread.id, "why?")).text
        history = other.conversations.history("anna", thread.id)
        assert [said.role for said in history.messages] == ["person", "geosleuth"] * 2
        assert [(shown.name, shown.sha256) for shown in history.photos] == [("a.jpg", photo.sha256)]
        assert history.photos[0].answer == end.answer
        assert other.conversations.photo_png("anna", thread.id, photo.id).startswith(b"\x89PNG")
        assert other.conversations.undo("anna", thread.id) == "why?"
    assert len(opened.conversations.history("anna", thread.id).messages) == 2


def test_a_thread_is_its_owners(opened: GeolocationService, photo: Photo) -> None:
    thread = opened.threads.create("anna", "", RunChoices())
    conversations = opened.conversations
    for refused in (conversations.history, conversations.undo, conversations.resume, opened.threads.delete):
        with pytest.raises(NotFoundError):
            refused("bert", thread.id)
    with pytest.raises(NotFoundError):
        opened.conversations.send("bert", thread.id, "why?", [photo])
    with pytest.raises(NotFoundError):
        conversations.photo_png("bert", thread.id, photo.id)
    assert opened.threads.all_of("bert", 10) == []


def test_deleting_a_thread_leaves_neither_photo_nor_checkpoint(opened: GeolocationService, photo: Photo) -> None:
    kept, gone = (opened.threads.create("anna", "", RunChoices()) for _ in range(2))
    for thread in (kept, gone):
        reply(opened.conversations.send("anna", thread.id, "", [photo]))
    opened.threads.delete("anna", gone.id)
    assert rows(opened.database, THREADS, THREAD_PHOTOS) == [1, 1]
    checkpointer = opened.database.checkpointer
    assert not list(checkpointer.list({"configurable": {"thread_id": gone.id}}))
    assert list(checkpointer.list({"configurable": {"thread_id": kept.id}}))
    with pytest.raises(NotFoundError):
        opened.conversations.send("anna", gone.id, "why?")


def test_a_thread_answers_one_turn_at_a_time_whichever_process_is_asked(
    state_url: str, tmp_path: Path, photo: Photo
) -> None:
    gate = tmp_path / "gate"
    with (
        service(tmp_path, state_url, gated(gate), job_workers=0) as slow,
        service(tmp_path, state_url, job_workers=0) as other,
    ):
        thread = slow.threads.create("anna", "", RunChoices())
        stream = slow.conversations.send("anna", thread.id, "where?", [photo])
        assert other.threads.find("anna", thread.id).is_busy
        for busy in (slow, other):
            with pytest.raises(ConflictError):
                busy.conversations.send("anna", thread.id, "why?")
            with pytest.raises(ConflictError):
                busy.threads.delete("anna", thread.id)
        gate.touch()
        assert reply(stream).text
        assert not other.threads.find("anna", thread.id).is_busy
        assert reply(other.conversations.send("anna", thread.id, "why?")).text


def test_a_lease_outlasts_a_turn_that_takes_longer(state_url: str, tmp_path: Path, photo: Photo) -> None:
    gate = tmp_path / "gate"
    with service(tmp_path, state_url, gated(gate), job_workers=0, lease_s=0.6) as slow:
        thread = slow.threads.create("anna", "", RunChoices())
        stream = slow.conversations.send("anna", thread.id, "where?", [photo])
        time.sleep(1.5)
        with pytest.raises(ConflictError):
            slow.conversations.send("anna", thread.id, "why?")
        gate.touch()
        assert reply(stream).text


def test_a_turn_of_a_killed_process_is_resumed_by_another_from_its_last_step(state_url: str, tmp_path: Path) -> None:
    """A real server process is killed in the middle of a turn; the steps that were done are not done again."""
    gate, lease_s = tmp_path / "never", "1"
    own = {"GEOSLEUTH_STATE_URL": state_url, "GEOSLEUTH_SERVE_LEASE_S": lease_s, "GEOSLEUTH_SERVE_JOB_WORKERS": "0"}
    command = ("tests.fakes.services.gated_server", gate, 2, "--port", "0", "--no-signs")
    with (
        server_process(command, environment(tmp_path) | own, tmp_path / "log") as (url, process),
        httpx.Client(base_url=f"{url}/v1", trust_env=False, timeout=60) as client,
    ):
        thread_id = client.post("/threads", json={}).json()["id"]
        files = {"photo": ("a.jpg", jpeg(tmp_path / "a.jpg").read_bytes())}
        sent = {"headers": {"accept": "text/event-stream"}, "files": files}
        with client.stream("POST", f"/threads/{thread_id}/messages", **sent) as response:  # type: ignore[arg-type]
            for line in response.iter_lines():
                if '"step": "tools"' in line:
                    break
            process.kill()
            process.wait()
    with service(tmp_path, state_url, job_workers=0, lease_s=1) as heir:
        while heir.threads.find("local", thread_id).is_busy:
            time.sleep(0.1)
        assert heir.conversations.history("local", thread_id).is_unfinished
        with pytest.raises(ConflictError, match="resume"):
            heir.conversations.send("local", thread_id, "why?")
        events = list(heir.conversations.resume("local", thread_id))
        done = [event.step for event in events if isinstance(event, StepDone)]
        assert isinstance(events[-1], TurnEnded)
        assert "revise" in done
        # The step that it was killed in may have been told and not yet be kept.
        assert not {"look", "hypothesise", "investigate"} & set(done)
        assert not heir.conversations.history("local", thread_id).is_unfinished


def test_words_without_a_photo_and_nothing_at_all_are_refused(opened: GeolocationService) -> None:
    thread = opened.threads.create("anna", "", RunChoices())
    for text in ("", "  ", "why?"):
        with pytest.raises(UnusableError):
            opened.conversations.send("anna", thread.id, text)
    with pytest.raises(ConflictError):
        opened.conversations.resume("anna", thread.id)
    with pytest.raises(ConflictError):
        opened.conversations.undo("anna", thread.id)
    assert not opened.threads.find("anna", thread.id).is_busy


def test_choices_of_a_thread_hold_for_its_turns_and_nothing_finer_than_allowed_gets_out(
    opened: GeolocationService, photo: Photo
) -> None:
    choices = RunChoices(max_precision=Level.COUNTRY, strategy="zero_shot")
    thread = opened.threads.create("anna", "", choices)
    events = list(opened.conversations.send("anna", thread.id, "where?", [photo]))
    assert all(event.text == event.step for event in events if isinstance(event, StepDone))
    tools = [event.event for event in events if isinstance(event, ToolCalled)]
    assert all(tool.result_sha256 is None and tool.arguments_sha256 is None for tool in tools)
    ended = events[-1]
    assert isinstance(ended, TurnEnded)
    assert ended.answer is not None
    assert (ended.answer.candidates, ended.answer.areas, ended.answer.versions.strategy) == ((), (), "zero_shot")
    with pytest.raises(UnusableError):
        opened.systems.find(RunChoices(model="openai:gpt-4o"))
    with pytest.raises(UnusableError):
        opened.systems.find(RunChoices(strategy="clusters"))


def test_photos_and_checkpoints_of_threads_count_among_the_bytes_that_a_caller_keeps(
    state_url: str, tmp_path: Path, photo: Photo
) -> None:
    png_bytes = len(png_of(photo))
    with service(tmp_path, state_url, job_workers=0) as opened:
        empty, first, second = (opened.threads.create("anna", "", RunChoices()) for _ in range(3))
        assert kept(opened.database) == 0
        assert reply(opened.conversations.send("anna", first.id, "", [photo])).answer
        one_turn = kept(opened.database)
        assert one_turn > png_bytes + 10_000
        assert kept(opened.database, "bert") == 0
    with service(tmp_path, state_url, job_workers=0, bytes_per_key=one_turn + png_bytes - 1) as opened:
        refused = last(opened.conversations.send("anna", second.id, "", [photo]))
        assert isinstance(refused, RunFailed)
        assert (refused.status, "delete threads or jobs" in refused.detail) == (409, True)
        with pytest.raises(ConflictError, match="delete threads or jobs"):
            opened.jobs.create("anna", RunChoices(), [("a.jpg", b"x" * png_bytes)])
    with service(tmp_path, state_url, job_workers=0, bytes_per_key=one_turn) as opened:
        opened.threads.delete("anna", second.id)
        assert reply(opened.conversations.send("anna", first.id, "why?")).text
        assert kept(opened.database) > one_turn
        with pytest.raises(ConflictError, match="delete threads or jobs"):
            opened.conversations.send("anna", first.id, "why?")
        with pytest.raises(ConflictError, match="delete threads or jobs"):
            opened.conversations.send("anna", first.id, "why?", about_photo_id=photo.id)
        assert not opened.threads.find("anna", first.id).is_busy
        assert opened.conversations.undo("anna", first.id) == "why?"
        opened.threads.delete("anna", first.id)
        assert kept(opened.database) == 0
        assert reply(opened.conversations.send("anna", empty.id, "", [photo])).answer


def test_a_turn_that_ends_at_once_lets_go_of_its_thread(
    tmp_path: Path, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = RunPool.start

    def start_and_wait(pool: RunPool, owner: str, produce: Any, at_end: Callable[[], None]) -> RunStream:
        ended = threading.Event()

        def ending() -> None:
            at_end()
            ended.set()

        stream = start(pool, owner, produce, ending)
        assert ended.wait(60.0), "the end of the run failed"
        return stream

    monkeypatch.setattr(RunPool, "start", start_and_wait)
    with service(tmp_path, f"sqlite:///{tmp_path / 'state.sqlite'}", job_workers=0) as opened:
        thread = opened.threads.create("anna", "", RunChoices())
        assert reply(opened.conversations.send("anna", thread.id, "", [photo])).answer
        assert not opened.threads.find("anna", thread.id).is_busy


def kept(database: StateDatabase, owner: str = "anna") -> int:
    with database.read() as connection:
        return database.kept_bytes(connection, owner)


def test_a_database_of_an_earlier_version_gets_the_columns_that_it_lacks(state_url: str, tmp_path: Path) -> None:
    missing = (("threads", "checkpoint_bytes"), ("job_items", "record_bytes"))
    with StateDatabase.open(state_url, tmp_path) as database, database.write() as connection:
        for table, column in missing:
            connection.execute(sa.text(f"ALTER TABLE {table} DROP COLUMN {column}"))
    for _ in range(2):
        with StateDatabase.open(state_url, tmp_path) as database:
            assert kept(database) == 0


def test_the_pool_refuses_more_than_may_wait_and_lets_the_thread_go(tmp_path: Path, photo: Photo) -> None:
    gate = tmp_path / "gate"
    with service(tmp_path, None, gated(gate), runs_at_once=1, runs_waiting=1, runs_per_key=2) as busy:
        running = [busy.locate("anna", photo) for _ in range(2)]
        thread = busy.threads.create("bert", "", RunChoices())
        with pytest.raises(TooManyError) as refused:
            busy.conversations.send("bert", thread.id, "where?", [photo])
        assert refused.value.retry_after_s > 0
        assert not busy.threads.find("bert", thread.id).is_busy
        gate.touch()
        accepted, *_, second = list(running[1])
        assert accepted == Accepted(ahead=1)
        assert isinstance(second, Answered)
        assert isinstance(last(running[0]), Answered)
        assert reply(busy.conversations.send("bert", thread.id, "where?", [photo])).text


def test_a_fault_of_the_program_is_told_without_its_words(
    opened: GeolocationService, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the password is hunter2")

    monkeypatch.setattr(type(opened.system), "stream", broken)
    ended = last(opened.locate("anna", photo))
    assert isinstance(ended, RunFailed)
    assert (ended.status, "hunter2" in ended.detail) == (500, False)
    assert opened.pool.under_way == 0


def test_tables_are_made_once_by_processes_that_start_together(state_url: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: StateDatabase.open(state_url, tmp_path), range(4)))
    for database in opened:
        database.check()
        database.close()


@pytest.mark.parametrize(
    "url", ["mysql://anna:secretword@db/x", "service.sqlite", "postgresql://a:secretword@127.0.0.1:1/x"]
)
def test_a_database_that_cannot_be_had_is_an_error_without_its_password(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.service.database._PATIENCE_S", 1.0)
    with pytest.raises(UserError) as error:
        StateDatabase.open(url, tmp_path)
    assert "secretword" not in str(error.value)


def test_photos_and_threads_of_sqlite_are_their_owners_only(tmp_path: Path) -> None:
    with service(tmp_path):
        files = list(tmp_path.glob("service.sqlite*"))
        assert files
        assert all(file.stat().st_mode & 0o077 == 0 for file in files)


def test_a_long_thread_keeps_what_undo_needs_its_words_and_no_more(
    state_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphs.chat.transcript.STATE_TURNS", 4)
    monkeypatch.setattr("graphs.chat.session.UNDONE_TURNS", undone := 3)
    said = ["where?", *(f"why? {turn}" for turn in range(10))]
    with StateDatabase.open(state_url, tmp_path) as database:
        chat = talk(saver=database.checkpointer)
        other = replace(talk(saver=database.checkpointer), thread_id="other")
        for conversation in (other, chat):
            ended(conversation.show(shot(), said[0]))
        untouched, seen = stored(database, "other"), [last_checkpoint(chat)]
        for words in said[1:]:
            ended(chat.ask(words))
            seen.append(last_checkpoint(chat))
            rows = stored(database, "t")
            assert rows["checkpoints"] <= 2 * undone + 1 + len(said) // 4
            assert rows.get("checkpoint_writes", rows.get("writes")) == 0
            # A value is one row, however many checkpoints have it; a turn changes fewer than ten.
            assert rows.get("checkpoint_blobs", 0) <= 5 * rows["checkpoints"]
        assert stored(database, "other") == untouched
        assert [message.text for message in chat.messages if message.type == "human"] == said
        newest = stored(database, "t")
        chat.checkpointer.prune_turns("t", seen[-2], undone)  # type: ignore[attr-defined] # a turn began meanwhile
        assert stored(database, "t")["checkpoints"] >= newest["checkpoints"] - 1
        assert [chat.undo() for _ in range(undone)] == said[: -undone - 1 : -1]
        assert chat.undo() is None
        assert ended(chat.ask("why?")).text
        database.checkpointer.delete_thread("t")
        assert set(stored(database, "t").values()) == {0}
        assert stored(database, "other") == untouched


def last_checkpoint(chat: Conversation) -> str:
    config = chat.graph.get_state({"configurable": {"thread_id": "t"}}).config
    return str(config["configurable"]["checkpoint_id"])
