"""Events: every node and tool call, whole, once, whatever dies on the way."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from core.errors import UserError
from graphs.checkpoints import StateSerializer, open_checkpoints
from graphs.events.log import EventLog
from graphs.events.tracing import Phase, TraceEvent, What, recording
from graphs.geolocate import build_geolocate
from tests.fakes.conversations import in_a_process
from tests.fakes.machine import BrokenSearch, candidates, context, given

SIGNS = ("Lisbon", "www.obchod.cz")
THREAD: Any = {"configurable": {"thread_id": "t"}}

# Dies at the k-th end of a tool or a node, counted over both: inside steps as well as between them.
DYING = """
import os, sys
from pathlib import Path
from graphs.checkpoints import open_checkpoints
from graphs.events.log import EventLog
from graphs.geolocate import build_geolocate
from graphs.events.tracing import Phase, recording
from tests.fakes.machine import context, given
folder, dies_at = Path(sys.argv[1]), int(sys.argv[2])
graph = build_geolocate(context(("Lisbon", "www.obchod.cz")), open_checkpoints(folder / "c.sqlite"))
config = {"configurable": {"thread_id": "t"}}
ends = 0
with EventLog(folder / "events.jsonl") as log:
    def record(event):
        global ends
        log(event)
        ends += event.phase is Phase.END
        if ends == dies_at:
            os._exit(9)
    with recording(record):
        graph.invoke(given(), config, durability="sync")
"""


def recorded(signs: tuple[str, ...] = SIGNS, **changed: Any) -> list[TraceEvent]:
    events: list[TraceEvent] = []
    graph = build_geolocate(context(signs, **changed), InMemorySaver(serde=StateSerializer()))
    with recording(events.append):
        graph.invoke(given(), THREAD)  # type: ignore[call-overload]  # a plain dictionary
    return events


def contents(events: list[dict[str, Any]]) -> Counter[tuple[Any, ...]]:
    """What was reported, without ids and times; parallel calls come in any order."""
    return Counter((e["step"], e["node"], e["what"], e["name"], e["phase"], e.get("result_sha256")) for e in events)


def test_everything_that_starts_ends_with_its_time_and_hashes() -> None:
    events = recorded()
    starts = {event.id.removesuffix("/start"): event for event in events if event.phase is Phase.START}
    ends = {event.id.removesuffix("/end"): event for event in events if event.phase is Phase.END}
    assert starts.keys() == ends.keys()
    assert {event.what for event in events} == set(What)
    assert all(event.seconds is not None and event.result_sha256 and event.thread == "t" for event in ends.values())
    assert all(ends[key].arguments_sha256 == event.arguments_sha256 for key, event in starts.items())


def test_a_tools_hash_is_the_one_that_evidence_cites() -> None:
    events: list[TraceEvent] = []
    with recording(events.append):
        answer = build_geolocate(context(SIGNS)).invoke(given())["answer"]  # type: ignore[call-overload]  # a dictionary
    cited = {item.source.result_sha256 for item in answer.evidence if item.source}
    assert cited
    assert cited <= {event.result_sha256 for event in events if event.what is What.TOOL}


def test_a_tool_that_fails_says_why() -> None:
    events = recorded(search=BrokenSearch(candidates()))
    failed = [event for event in events if event.error]
    assert [event.name for event in failed] == ["search_photos"]
    assert "the atlas cannot be read now" in (failed[0].error or "")


def test_an_event_holds_nothing_of_the_photo_or_the_words() -> None:
    text = " ".join(event.model_dump_json() for event in recorded())
    assert not any(secret in text for secret in ("Lisbon", "obchod", "38.72", "Secretcam", "holiday"))


def test_nothing_is_recorded_once_the_recording_is_over() -> None:
    events = recorded()
    build_geolocate(context(SIGNS)).invoke(given())  # type: ignore[call-overload]  # a plain dictionary
    assert len(events) == len(recorded())


@pytest.mark.parametrize("dies_at", [2, 9, 12])
def test_killed_anywhere_no_event_is_lost_or_doubled(dies_at: int, tmp_path: Path) -> None:
    assert in_a_process(DYING, tmp_path, dies_at).returncode == 9
    saver = open_checkpoints(tmp_path / "c.sqlite")
    with EventLog(tmp_path / "events.jsonl") as log, recording(log):
        build_geolocate(context(SIGNS), saver).invoke(None, THREAD, durability="sync")
    saver.conn.close()
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert len({event["id"] for event in events}) == len(events)
    whole = [event.model_dump(mode="json", exclude_defaults=True) for event in recorded()]
    assert {key[:5] for key in contents(events)} == {key[:5] for key in contents(whole)}
    assert contents([e for e in events if e["what"] == "tool"]) == contents([e for e in whole if e["what"] == "tool"])


def test_a_torn_line_is_cut_off_and_written_again(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    first, second = recorded()[:2]
    with EventLog(file) as log:
        log(first)
    with file.open("a") as stream:
        stream.write(second.model_dump_json()[:40])
    with EventLog(file) as log:
        log(first)
        log(second)
        log(second)
    assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == [first.id, second.id]
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", ["a letter to a friend\n", "[1]\n", '{"time": 1}\n'])
def test_a_file_of_something_else_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    file.write_text(content)
    with pytest.raises(UserError, match="holds something else"):
        EventLog(file)
    assert file.read_text() == content


def test_a_log_that_cannot_be_written_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--events"):
        EventLog(tmp_path / "nowhere" / "events.jsonl")
