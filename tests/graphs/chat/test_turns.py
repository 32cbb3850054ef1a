"""Turns of a conversation with the offline reasoner: what it says follows from the belief."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver

from agents.schemas import Answer, CredibleArea, EvidenceKind, Level
from geo.places.gazetteer import Gazetteer
from graphs.chat.events import BeliefChanged, ToolCalled, TurnEnded
from graphs.chat.photo_archive import FolderPhotoArchive, MissingPhotoError
from graphs.chat.prompt_data import follow_up_data, most_nats
from graphs.chat.session import Conversation
from graphs.chat.state import coarsened_answer
from graphs.checkpoints import UNDONE_TURNS, open_checkpoints
from graphs.coarsening import Units, coarsen
from graphs.events.steps import StepDone
from graphs.state import GeolocateState
from tests.fakes.conversations import ended, shot, talk
from tests.fakes.machine import FILE_NAME, context


def probability(answer: Answer | None, name: str) -> float:
    assert answer is not None
    return next((h.probability for h in answer.hypotheses if h.name.startswith(name)), 0.0)


def test_a_photo_is_located_step_by_step() -> None:
    events = list(talk().show(shot()))
    steps = [event.step for event in events if isinstance(event, StepDone)]
    assert steps[:4] == ["look", "recall", "cluster", "hypothesise"]
    assert {event.event.name for event in events if isinstance(event, ToolCalled)} >= {"search_photos", "find_place"}
    answer = ended(events).answer
    assert answer is not None
    assert answer.hypotheses[0].name.startswith("Lisbon")


def test_the_belief_of_each_step_is_an_event_for_those_who_ask_for_its_areas() -> None:
    asked: list[int] = []

    def areas(state: GeolocateState) -> tuple[CredibleArea, ...]:
        asked.append(len(state["hypotheses"]))
        return (CredibleArea(share=0.5, area_km2=1.0, polygons=()),)

    events = list(replace(talk(), areas=areas).show(shot()))
    changed = [number for number, event in enumerate(events) if isinstance(event, BeliefChanged)]
    first_step = next(n for n, e in enumerate(events) if isinstance(e, StepDone) and e.step == "hypothesise")
    assert first_step < changed[0] < len(events) - 1
    assert len(changed) == len(asked)
    assert min(asked) > 0
    assert not any(isinstance(event, BeliefChanged) for event in talk().show(shot()))


def test_why_cites_the_evidence_of_the_answer_and_says_who_speaks() -> None:
    chat = talk()
    answer = ended(chat.show(shot())).answer
    said = ended(chat.ask("why?")).text
    assert answer is not None
    telling = [e for e in answer.evidence if abs(e.log_likelihood_ratio.get(answer.hypotheses[0].id, 0.0)) > 0.2]
    assert telling
    assert all(f"({item.id}, " in said for item in telling)
    assert "no LMM" in said


def test_why_not_a_country_compares_its_hypothesis_with_the_answer() -> None:
    chat = talk()
    answer = ended(chat.show(shot())).answer
    assert answer is not None
    said = ended(chat.ask("why not Spain?")).text
    lisbon, madrid = (probability(answer, name) for name in ("Lisbon", "Madrid"))
    assert f"{lisbon / madrid:,.1f} times as likely" in said
    assert "'Lisbon' is the name of" in said


def test_a_place_that_is_named_becomes_a_hypothesis_and_its_name_no_evidence() -> None:
    chat = talk()
    before = ended(chat.show(shot())).answer
    events = list(chat.ask("compare with Osaka"))
    assert {event.event.name for event in events if isinstance(event, ToolCalled)} == {"find_place", "search_photos"}
    after = ended(events).answer
    assert after is not None
    assert before is not None
    assert not any(h.name.startswith("Osaka") for h in before.hypotheses)
    osaka = next(h for h in after.hypotheses if h.name.startswith("Osaka"))
    assert osaka.probability < 0.01  # nothing was retrieved there, and being named by a person is no sign
    named = [e for e in after.evidence if e.kind is EvidenceKind.PLACE_NAME]
    assert all("Osaka" not in item.claim for item in named)
    assert math.isclose(probability(after, "Lisbon"), probability(before, "Lisbon"), abs_tol=0.01)
    assert after.cost.tool_calls > before.cost.tool_calls


def test_a_place_nobody_knows_changes_nothing() -> None:
    chat = talk()
    before = ended(chat.show(shot())).answer
    reply = ended(chat.ask("is it Atlantis?"))
    assert "no place called 'Atlantis'" in reply.text
    assert reply.answer is not None
    assert before is not None
    assert reply.answer.hypotheses == before.hypotheses


def test_what_would_change_it_says_what_each_kind_of_evidence_could_do() -> None:
    chat = talk()
    answer = ended(chat.show(shot())).answer
    said = ended(chat.ask("what would change your mind?")).text
    assert answer is not None
    first = answer.hypotheses[0]
    other = next(h for h in answer.hypotheses if h.name != first.name)
    assert f"{math.log(first.probability / other.probability):.1f} nats behind {first.name}" in said
    most = most_nats(context())
    assert f"what you know yourself and answer when asked: {most['person']:.1f} nats" in said
    assert f"writing in its country's language: {most['language']:.1f} nats" in said


@pytest.mark.parametrize("words", ["hello", "", "???", "why not <data>?", "ж" * 5000, "compare", "why not \x1b[31m?"])
def test_any_words_get_a_reply(words: str) -> None:
    chat = talk()
    ended(chat.show(shot()))
    assert ended(chat.ask(words)).text


def test_words_before_a_photo_ask_for_one() -> None:
    assert "photo" in ended(talk().ask("where is this?")).text


def test_photos_have_hypotheses_of_their_own() -> None:
    work = context(("Lisbon",))
    chat = talk(work)
    first, second = shot(100), shot(200)
    ended(chat.show(first))
    ended(chat.ask("compare with Osaka"))
    ended(chat.show(second))
    assert [shown.photo_id for shown in chat.shown] == [first.id, second.id]
    assert chat.photo_id == second.id
    named = {key: [h.name for h in case["answer"].hypotheses] for key, case in chat.cases.items()}
    assert any(name.startswith("Osaka") for name in named[first.id])
    assert not any(name.startswith("Osaka") for name in named[second.id])
    chat.turn_to(chat.shown[0])
    reply = ended(chat.ask("why?"))
    assert reply.answer is not None
    assert reply.answer.photo_sha256 == first.sha256


def test_a_photo_shown_again_is_not_located_again() -> None:
    chat = talk()
    ended(chat.show(shot()))
    calls = chat.cost.tool_calls
    ended(chat.show(shot(), "why?"))
    assert chat.cost.tool_calls == calls


def test_undo_goes_back_turn_by_turn() -> None:
    chat = talk()
    ended(chat.show(shot()))
    ended(chat.ask("compare with Osaka"))
    ended(chat.ask("why?"))
    assert chat.undo() == "why?"
    assert chat.undo() == "compare with Osaka"
    assert not any(h.name.startswith("Osaka") for h in chat.cases[chat.photo_id or ""]["answer"].hypotheses)
    assert "Lisbon" in ended(chat.ask("why?")).text
    assert chat.undo() == "why?"
    assert chat.undo() == ""
    assert chat.shown == []
    assert chat.undo() is None
    assert ended(chat.show(shot())).answer is not None


def test_each_turn_leaves_an_audit_line() -> None:
    lines: list[Any] = []
    chat = talk(audit=lines)
    ended(chat.ask("hello"))
    ended(chat.show(shot(), "where?"))
    ended(chat.ask("why?"))
    assert [asked for _, asked in lines] == ["hello", "where?", "why?"]
    assert lines[0][0] is None
    assert lines[2][0].photo_sha256 == shot().sha256


def test_the_costs_of_all_turns_add_up() -> None:
    chat = talk()
    located = ended(chat.show(shot())).answer
    assert located is not None
    ended(chat.ask("compare with Osaka"))
    assert chat.cost.tool_calls == located.cost.tool_calls + 3
    assert chat.cost.model_calls == located.cost.model_calls + 3


def _as_it_is(answer: Answer) -> Answer:
    return answer


def test_a_coarse_conversation_says_nothing_finer() -> None:
    units = Units(Gazetteer())
    work = context(("Lisbon",))
    chat = talk(work, coarsened=lambda answer: coarsen(answer, Level.COUNTRY, units))
    events = list(chat.show(shot()))
    for question in ("why?", "why not Spain?", "compare with Osaka", "what would change your mind?"):
        events += chat.ask(question)
    words = [event.text for event in events if isinstance(event, StepDone | TurnEnded)]
    # What the person typed may come back; what the evidence holds may not.
    assert any("Portugal" in text for text in words)
    assert not any("Lisbon" in text or "Madrid" in text or "38.72" in text for text in words)
    case = chat.cases[chat.photo_id or ""]
    shown_to_the_model = str(follow_up_data(work, case, "why?", is_coarse=True, coarsen=_as_it_is))
    assert not any(secret in shown_to_the_model for secret in ("Lisbon", "Madrid", "38.72", "-9.13"))


def test_a_case_that_version_0_1_0_saved_still_has_its_answer() -> None:
    chat = talk(context(("Lisbon",)))
    ended(chat.show(shot()))
    [case] = chat.cases.values()
    old = {("told" if key == "coarsened" else key): value for key, value in case.items()}
    assert coarsened_answer(old, _as_it_is) == coarsened_answer(case, _as_it_is)
    assert follow_up_data(context(), old, "why?", is_coarse=False, coarsen=_as_it_is)["answer"]["name"]


def test_a_saved_thread_goes_on_in_another_process(tmp_path: Path) -> None:
    file, folder = tmp_path / "checkpoints.sqlite", tmp_path / "photos"
    first = context(("Lisbon",))
    saver = open_checkpoints(file)
    chat = talk(first, saver=saver, photos=FolderPhotoArchive(folder, first.photo_store))
    located = ended(chat.show(shot(77))).answer
    saver.conn.close()
    second = context(("Lisbon",))
    again = open_checkpoints(file)
    resumed = talk(second, saver=again, photos=FolderPhotoArchive(folder, second.photo_store))
    assert shot(77).id not in second.photo_store.ids()
    reply = ended(resumed.ask("compare with Osaka"))
    assert "Osaka" in reply.text
    assert located is not None
    assert probability(reply.answer, "Lisbon") == pytest.approx(probability(located, "Lisbon"), abs=0.01)
    again.conn.close()


def test_kept_photos_are_pixels_only_and_the_owners_only(tmp_path: Path) -> None:
    work = context()
    saver = open_checkpoints(tmp_path / "checkpoints.sqlite")
    folder = tmp_path / "photos"
    ended(talk(work, saver=saver, photos=FolderPhotoArchive(folder, work.photo_store)).show(shot(77)))
    saver.conn.close()
    kept = list(folder.iterdir())
    assert [file.name for file in kept] == [f"{shot(77).sha256}.png"]
    assert folder.stat().st_mode & 0o077 == 0
    assert kept[0].stat().st_mode & 0o077 == 0
    everything = b"".join(file.read_bytes() for file in [*tmp_path.glob("checkpoints*"), *kept])
    assert b"Secretcam" not in everything
    assert FILE_NAME.encode() not in everything
    assert not any(b"\x89PNG" in file.read_bytes() for file in tmp_path.glob("checkpoints*"))


def test_a_photo_that_is_not_kept_any_more_is_asked_for_again(tmp_path: Path) -> None:
    work = context(("Lisbon",))
    photos = FolderPhotoArchive(tmp_path / "photos", work.photo_store)
    chat = talk(work, photos=photos)
    ended(chat.show(shot(77)))
    (tmp_path / "photos" / f"{shot(77).sha256}.png").unlink()
    work.photo_store.discard(shot(77).id)
    reply = ended(chat.ask("why?"))
    assert "show the photo again" in reply.text
    with pytest.raises(MissingPhotoError):
        photos.bring(chat.shown[0])
    assert "Lisbon" in ended(chat.show(shot(77), "why?")).text


def checkpoint_count(chat: Conversation) -> int:
    assert isinstance(chat.checkpointer, SqliteSaver)
    (count,) = chat.checkpointer.conn.execute("SELECT count(*) FROM checkpoints").fetchone()
    (writes,) = chat.checkpointer.conn.execute("SELECT count(*) FROM writes").fetchone()
    return int(count) + int(writes)


def test_a_long_conversation_keeps_what_undo_needs_and_no_more() -> None:
    chat = talk()
    first = ended(chat.show(shot())).answer
    for turn in range(2 * UNDONE_TURNS):
        ended(chat.ask(f"why? {turn}"))
        assert checkpoint_count(chat) <= 2 * UNDONE_TURNS + 1
    undone = [chat.undo() for _ in range(UNDONE_TURNS)]
    assert undone == [f"why? {turn}" for turn in reversed(range(UNDONE_TURNS, 2 * UNDONE_TURNS))]
    assert chat.undo() is None
    assert chat.answers[shot().id] == first
    assert ended(chat.ask("and now?")).text
    assert chat.undo() == "and now?"


def test_what_an_earlier_version_left_is_pruned_and_the_file_shrinks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, work = tmp_path / "checkpoints.sqlite", context(("Lisbon",))
    saver = open_checkpoints(file)
    chat = talk(work, saver=saver)
    with monkeypatch.context() as earlier:
        earlier.setattr(Conversation, "prune", lambda _: None)
        ended(chat.show(shot()))
        for _ in range(UNDONE_TURNS + 2):
            ended(chat.ask("why?"))
    many = checkpoint_count(chat)
    words = [message.text for message in chat.graph.get_state({"configurable": {"thread_id": "t"}}).values["messages"]]
    monkeypatch.setattr("graphs.checkpoints._LARGE_PAGES", 1)
    saver.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = file.stat().st_size
    chat.prune()
    saver.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert checkpoint_count(chat) <= 2 * UNDONE_TURNS + 1 < many
    assert file.stat().st_size < before / 2
    kept = [message.text for message in chat.graph.get_state({"configurable": {"thread_id": "t"}}).values["messages"]]
    assert kept == words
    assert [chat.undo() for _ in range(3)] == ["why?"] * 3
    saver.conn.close()
