"""Facts that the person states in a conversation: noted when the model says which, in the person's own words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from langchain_core.messages import ToolCall, ToolMessage
from pydantic import ValidationError

from agents.reply_schemas import NoteFacts, StatedFact
from core.errors import first_problem
from geo.place import Place
from geo.places.names import name_key
from graphs.assessment.person import PERSON_TOOL, clues_with, fact_record, is_time, retracted
from graphs.chat.state import Case
from graphs.context import GeolocateContext
from graphs.nodes.tool_calls import Limits, run_tool_calls
from graphs.state import ToolRecord, add_records
from tools.results import FoundPlaces
from tools.untrusted_text import quoted, untrusted

NOTE = NoteFacts.__name__
MOST_PLACES = 8
"""Places of one name that a fact may mean, the most populous ones."""


def note_facts(
    context: GeolocateContext, case: Case, call: ToolCall, said: Sequence[str], limits: Limits, turn: str
) -> tuple[Case, ToolMessage]:
    """The case with the facts of a call noted or taken back, and the message for the model about it.

    Args:
        context: has the tool that finds places.
        case: what is known of the photo.
        call: of NoteFacts.
        said: everything that the person has said in this conversation.
        limits: of the look-ups of places.
        turn: begins the ids of the records.
    """
    try:
        wanted = NoteFacts.model_validate(call["args"])
    except ValidationError as error:
        return case, _answer(call, {"problems": [first_problem(error)]}, "error")
    records, problems = _taken_back(case, wanted.retract)
    noted: list[str] = []
    for number, fact in enumerate(wanted.facts):
        key = f"{turn}-fact{number}"
        problem, places = _problem(context, fact, said, limits, key)
        if problem:
            problems.append(problem)
            continue
        noted.append(fact.words)
        records = add_records(records, [fact_record(key, _without_place(fact, places), places)])
    outcome = {"noted": noted, "taken_back": wanted.retract, "problems": problems}
    clues = clues_with(case.get("clues"), records)
    return {**case, "records": records, "clues": clues}, _answer(call, outcome)


def _taken_back(case: Case, evidence_ids: Sequence[str]) -> tuple[list[ToolRecord], list[str]]:
    """The records without those behind the evidence that the person takes back, and which ids are none of theirs."""
    of_person = {
        item.id: item.source.arguments.get("record")
        for item in case["evidence"]
        if item.source is not None and item.source.tool == PERSON_TOOL
    }
    gone = {of_person[key] for key in evidence_ids if of_person.get(key)}
    problems = [f"{untrusted(key)} is nothing that the person stated" for key in evidence_ids if not of_person.get(key)]
    return [retracted(record) if record.call_id in gone else record for record in case["records"]], problems


def _problem(
    context: GeolocateContext, fact: StatedFact, said: Sequence[str], limits: Limits, key: str
) -> tuple[str, list[Place]]:
    """Why a fact cannot be noted, empty if it can; and the places of the name in it."""
    if not any(name_key(fact.words) in name_key(text) for text in said):
        return f"“{untrusted(fact.words)}” is not what the person said: copy their own words", []
    if fact.taken_at and not is_time(fact.taken_at):
        return f"{untrusted(fact.taken_at)!r} is no ISO 8601 time, such as 2024-03-15T12:00", []
    if not fact.place:
        return "", []
    call = ToolCall(name="find_place", args={"name": fact.place}, id=f"{key}-place")
    result = run_tool_calls([call], context.tools, limits)[0].record.result
    places = list(FoundPlaces.model_validate(result).places[:MOST_PLACES]) if result else []
    return ("" if places else f"no place called {untrusted(fact.place)!r} is known"), places


def _without_place(fact: StatedFact, places: Sequence[Place]) -> StatedFact:
    """The fact; where the name is a country's, the fact about that country."""
    if not places or places[0].city or places[0].region:
        return fact
    return fact.model_copy(update={"place": "", "countries": [places[0].country_code]})


def _answer(call: ToolCall, outcome: dict[str, Any], status: Literal["success", "error"] = "success") -> ToolMessage:
    return ToolMessage(quoted(outcome), tool_call_id=call["id"] or "", name=NOTE, status=status)
