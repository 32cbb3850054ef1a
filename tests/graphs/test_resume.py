"""Checkpoints: a run that dies at any step goes on from there, in another process, to the same answer."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.schemas import Answer, EvidenceKind
from core.errors import UserError
from geo.point import Point
from graphs.assessment.assess import assess
from graphs.chat.state import ShownPhoto
from graphs.checkpoints import STATE_TYPES, StateSerializer, is_passing, open_checkpoints
from graphs.geolocate import build_geolocate
from graphs.state import PersonQuestion
from tests.fakes.machine import context, given
from tests.graphs.assessment.run_states import state

THREAD: Any = {"configurable": {"thread_id": "t"}}
SIGNS = ("Lisbon", "www.obchod.cz")
STEPS = [
    "initialise",
    "look",
    "recall",
    "cluster",
    "hypothesise",
    "investigate",
    "tools",
    "revise",
    "investigate",
    "tools",
]

KILLED_RUN = """
import os, sys
from pathlib import Path
from graphs.checkpoints import open_checkpoints
from graphs.geolocate import build_geolocate
from tests.fakes.machine import context, given
graph = build_geolocate(context(("Lisbon", "www.obchod.cz")), open_checkpoints(Path(sys.argv[1])))
config = {"configurable": {"thread_id": "t"}}
for done, update in enumerate(graph.stream(given(), config, stream_mode="updates", durability="sync"), start=1):
    if done == int(sys.argv[2]):
        graph.get_state(config)
        os._exit(9)
"""


def comparable(answer: Answer) -> dict[str, Any]:
    timeless = answer.model_copy(update={"cost": answer.cost.model_copy(update={"seconds": 0.0})})
    return timeless.model_dump(mode="json")


def whole_run() -> dict[str, Any]:
    return comparable(build_geolocate(context(SIGNS)).invoke(given())["answer"])  # type: ignore[call-overload]


@pytest.mark.parametrize("killed_after", [3, 8])
def test_a_killed_run_goes_on_to_the_same_answer(killed_after: int, tmp_path: Path) -> None:
    file = tmp_path / "checkpoints.sqlite"
    died = subprocess.run(
        [sys.executable, "-c", KILLED_RUN, str(file), str(killed_after)], cwd=Path(__file__).parents[2], check=False
    )
    assert died.returncode == 9
    saver = open_checkpoints(file)
    graph = build_geolocate(context(SIGNS), saver)
    assert graph.get_state(THREAD).tasks
    resumed = graph.invoke(None, THREAD)
    saver.conn.close()
    assert comparable(resumed["answer"]) == whole_run()


DIES_AT_EVERY_STEP = '''
import os, sys, time
from pathlib import Path
from graphs.checkpoints import open_checkpoints
from graphs.geolocate import build_geolocate
from graphs.nodes.tool_calls import TOOL_CALL_TASK
from graphs.events.tracing import Phase, What, recording
from tests.fakes.machine import context, given
folder = Path(sys.argv[1])
kept = folder / "kept"
known = kept.read_text().split() if kept.exists() else []
steps = folder / "steps"
last = steps.read_text().split()[-1:] if steps.exists() else []
def note(file, text):
    with (folder / file).open("a") as handle:
        handle.write(text + "\\n")
def returned(event):
    if event.what is What.TOOL and event.phase is Phase.END:
        note("returned", event.call_id)
saver = open_checkpoints(folder / "checkpoints.sqlite")
graph = build_geolocate(context(("Lisbon", "www.obchod.cz")), saver)
config = {"configurable": {"thread_id": "t"}}
def is_kept(call_id):
    """Whether the outcome of a tool call is in the checkpoints: it is streamed a moment before it is written."""
    writes = saver.get_tuple(config).pending_writes
    return any(isinstance(kept, dict) and "record" in kept and kept["record"].call_id == call_id for *_, kept in writes)
start = None if graph.get_state(config).tasks else given()
with recording(returned):
    for update in graph.stream(start, config, stream_mode="updates", durability="sync"):
        graph.get_state(config)
        step = next(iter(update))
        if step == TOOL_CALL_TASK:
            step = update[step]["record"].call_id
            if step in known:
                continue
            for _ in range(1000):
                if is_kept(step):
                    break
                time.sleep(0.01)
            else:
                sys.exit(f"the outcome of {step} was never written")
            note("kept", step)
        # A step that was done, but not yet ended by a checkpoint, is reported once more, and not done again.
        if [step] != last and step != "commit":
            note("steps", step)
            os._exit(9)
'''


def test_killed_at_every_step_in_turn_the_answer_is_the_same_and_no_kept_tool_call_is_made_again(
    tmp_path: Path,
) -> None:
    """Each process does one step, or one tool call of a step, and dies."""
    died = 9
    for _ in range(40):
        if died == 0:
            break
        done = subprocess.run(
            [sys.executable, "-c", DIES_AT_EVERY_STEP, str(tmp_path)], cwd=Path(__file__).parents[2], check=False
        )
        died = done.returncode
        assert died in (0, 9)
    saver = open_checkpoints(tmp_path / "checkpoints.sqlite")
    answer = build_geolocate(context(SIGNS), saver).get_state(THREAD).values["answer"]
    saver.conn.close()
    assert comparable(answer) == whole_run()
    kept = (tmp_path / "kept").read_text().split()
    returned = (tmp_path / "returned").read_text().split()
    assert len(set(returned)) > len(set(kept)) >= 3  # some calls returned side by side with the one that was seen
    assert {call: returned.count(call) for call in kept} == dict.fromkeys(kept, 1)
    assert {"initialise", "recall", "tools", "revise"} <= set((tmp_path / "steps").read_text().split())


def test_everything_in_a_checkpoint_comes_back_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saver = open_checkpoints(tmp_path / "new" / "checkpoints.sqlite")
    graph = build_geolocate(context(SIGNS), saver)
    answer = graph.invoke(given(), THREAD)["answer"]  # type: ignore[call-overload]
    with caplog.at_level(logging.WARNING):
        kept = graph.get_state(THREAD).values
    assert not caplog.records
    assert kept["answer"] == answer
    assert type(kept["candidates"][0]).__name__ == "Candidate"
    assert kept["records"][0].result is not None
    saver.conn.close()


def test_no_pixels_and_no_metadata_in_a_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints.sqlite"
    saver = open_checkpoints(file)
    build_geolocate(context(SIGNS), saver).invoke(given(), THREAD)  # type: ignore[call-overload]
    saver.conn.close()
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"JFIF" not in content
    assert b"/9j/" not in content  # a JPEG in base64
    assert b"Secretcam" not in content
    assert b"lisbon_holiday" not in content


def test_types_that_are_not_of_the_state_stay_plain(caplog: pytest.LogCaptureFixture) -> None:
    class Stranger(Answer):
        """Not of the state."""

    serializer = StateSerializer()
    strange = Stranger.model_construct(**{"photo_sha256": "x"})  # type: ignore[arg-type]  # as incomplete as can be
    with caplog.at_level(logging.ERROR):
        assert not isinstance(serializer.loads_typed(serializer.dumps_typed(strange)), Stranger)
    assert all(kind.__module__.split(".")[0] in ("agents", "geo", "graphs", "retrieval") for kind in STATE_TYPES)


# {"photos": [ShownPhoto], "question_posed": PersonQuestion} as version 0.1.0 wrote it, before the types moved.
WRITTEN_BEFORE_THE_MOVE = bytes.fromhex(
    "82a670686f746f7391c7770594b16772617068732e636861745f7374617465aa53686f776e50686f746f83a870686f746f5f6964a770686f74"
    "6f2d31a6736861323536a86162616261626162a7636c61696d656482a36c6174cb3ff8000000000000a36c6f6ecb4004000000000000b36d6f"
    "64656c5f76616c69646174655f6a736f6eae7175657374696f6e5f706f736564c7880594af6772617068732e7175657374696f6eae50657273"
    "6f6e5175657374696f6e86a474657874a8497320697420413fa56669727374a24831a67365636f6e64a24832a56e616d657392a141a142a66f"
    "6e5f79657381a24831cb4000000000000000a56f6e5f6e6f81a24831cbbfe6666666666666b36d6f64656c5f76616c69646174655f6a736f6e"
)


def test_types_that_have_moved_are_read_from_old_checkpoints(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        kept = StateSerializer().loads_typed(("msgpack", WRITTEN_BEFORE_THE_MOVE))
    assert not caplog.records
    assert kept["photos"] == [ShownPhoto(photo_id="photo-1", sha256="abababab", claimed=Point(lat=1.5, lon=2.5))]
    assert kept["question_posed"] == PersonQuestion(
        text="Is it A?", first="H1", second="H2", names=("A", "B"), on_yes={"H1": 2.0}, on_no={"H1": -0.7}
    )


# Evidence, a position, a hypothesis and an opinion as they were written before evidence told nats of information, and
# positions their model, sample and stated radius.
WRITTEN_BEFORE_THE_BELIEF = bytes.fromhex(
    "84a865766964656e636591c801010594ae6167656e74732e736368656d6173a845766964656e636585a26964a24531a46b696e64c7230093ae"
    "6167656e74732e736368656d6173ac45766964656e63654b696e64a57369676874a5636c61696dab6974206c6f6f6b7320736fa6736f757263"
    "6583a4746f6f6ca56d6f64656ca9617267756d656e747380ad726573756c745f736861323536d9403030303030303030303030303030303030"
    "3030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030b46c6f675f6c696b656c"
    "69686f6f645f726174696f81a24831cb4000000000000000b36d6f64656c5f76616c69646174655f6a736f6ea9706f736974696f6e7391c7bf"
    "0594ac6772617068732e7374617465a8506f736974696f6e87a46e616d65a64c6973626f6ea5706f696e7482a36c6174cb40435c28f5c28f5c"
    "a36c6f6ecbc022428f5c28f5c3a97261646975735f6b6dcb4039000000000000aa636f6e666964656e6365cb3fe0000000000000a3776879a5"
    "74696c6573a66f726967696ec71d0093ae6167656e74732e736368656d6173a64f726967696ea56d6f64656cac7265706c795f736861323536"
    "a0b36d6f64656c5f76616c69646174655f6a736f6eaa6879706f74686573657391c7f00594ae6167656e74732e736368656d6173aa4879706f"
    "74686573697388a26964a24831a46e616d65a64c6973626f6ea5706f696e7482a36c6174cb40435c28f5c28f5ca36c6f6ecbc022428f5c28f5"
    "c3a97261646975735f6b6dcb4039000000000000ab70726f626162696c697479cb3fe6666666666666ac65766964656e63655f69647390a673"
    "7461747573c7260093ae6167656e74732e736368656d6173b04879706f746865736973537461747573a46f70656ea66f726967696ec71d0093"
    "ae6167656e74732e736368656d6173a64f726967696ea56d6f64656cb36d6f64656c5f76616c69646174655f6a736f6ea86f70696e696f6e73"
    "91c77b0594ac6772617068732e7374617465a74f70696e696f6e85ad6879706f7468657369735f6964a24831a5636c61696da574696c6573ad"
    "737472656e6774685f6e617473cb4000000000000000ac746f6f6c5f63616c6c5f6964a163ab6f665f615f706572736f6ec2b36d6f64656c5f"
    "76616c69646174655f6a736f6e"
)


def test_evidence_and_positions_of_earlier_versions_are_read_with_defaults(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        kept = StateSerializer().loads_typed(("msgpack", WRITTEN_BEFORE_THE_BELIEF))
    assert not caplog.records
    [evidence], [position], [hypothesis], [opinion] = kept.values()
    assert (evidence.kind, evidence.log_likelihood_ratio, evidence.information_nats) == (
        EvidenceKind.SIGHT,
        {"H1": 2.0},
        0.0,
    )
    assert (position.name, position.model, position.sample, position.stated_radius_km) == ("Lisbon", "", 0, None)
    known = state(positions=[position], hypotheses=[hypothesis], opinions=[opinion], evidence=[evidence])
    assert [item.kind for item in assess(context(), known).evidence] == [EvidenceKind.SIGHT, EvidenceKind.OPINION]


def test_an_old_name_beside_a_moved_type_opens_no_other_type() -> None:
    stranger = WRITTEN_BEFORE_THE_MOVE.replace(b"PersonQuestion", b"AllowedForAll!")
    kept = StateSerializer().loads_typed(("msgpack", stranger))
    assert isinstance(kept["photos"][0], ShownPhoto)
    assert isinstance(kept["question_posed"], dict)


def test_a_file_that_is_no_database_is_a_user_error(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints.sqlite"
    file.write_text("this is a letter to a friend, not a database" * 50)
    with pytest.raises(UserError, match="choose another file"):
        open_checkpoints(file)


def test_a_locked_database_is_not_called_damaged(tmp_path: Path) -> None:
    saver = open_checkpoints(tmp_path / "checkpoints.sqlite")
    saver.conn.execute("PRAGMA journal_mode = DELETE")
    saver.conn.execute("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(tmp_path / "checkpoints.sqlite")
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(sqlite3.OperationalError) as raised:
            saver.get_tuple({"configurable": {"thread_id": "a", "checkpoint_ns": ""}})
    finally:
        other.close()
        saver.conn.close()
    assert is_passing(raised.value)
    assert not is_passing(sqlite3.DatabaseError("malformed"))
