"""The second look: parts of the photo enlarged, and what the model then says counts in place of its first reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from agents.chat_models.registry import LoadedModel
from agents.messages import count_pictures, read_data
from agents.schemas import Answer, EvidenceKind
from graphs.budgets import Budgets
from graphs.context import GeolocateContext
from tests.fakes.machine import FakeReader, ScriptedModel, context, run
from tools.look_closer import look_closer_tool

BOX = {"left": 0.25, "top": 0.25, "right": 0.75, "bottom": 0.75}
MADRID = {"name": "Madrid", "lat": 40.42, "lon": -3.7, "radius_km": 30.0, "confidence": 0.9}
TOKYO = {"name": "Tokyo", "lat": 35.69, "lon": 139.69, "radius_km": 30.0, "confidence": 0.9}


def looking(boxes: Sequence[Any] = (BOX,), second: Any = (TOKYO,)) -> ScriptedModel:
    """Says Madrid and asks for parts; says something else once it sees them."""

    def policy(messages: Sequence[BaseMessage], offered: set[str]) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
        if "ProposeHypotheses" not in offered:
            return "done", []
        closer = any("close_ups" in read_data(message) for message in messages if message.type == "human")
        if not closer:
            return "", [("ProposeHypotheses", {"hypotheses": [MADRID], "look_closer": list(boxes)})]
        return ("no idea", []) if second is None else ("", [("ProposeHypotheses", {"hypotheses": list(second)})])

    return ScriptedModel(policy=policy)


def with_closer(*models: ScriptedModel, strategy: str = "look_closer", **changed: Any) -> GeolocateContext:
    at = context(model=models[0], strategy=strategy, found=(), **changed)
    tool = look_closer_tool(at.photo_store, FakeReader(["Rua Augusta"]))  # type: ignore[arg-type]  # its one method
    loaded = tuple(LoadedModel(name=f"fake{n}", chat=model) for n, model in enumerate(models))
    return replace(at, tools={**at.tools, tool.name: tool}, models=loaded)


def city(answer: Answer) -> str | None:
    return answer.place.city if answer.place else None


def test_what_it_says_after_a_closer_look_counts_in_place_of_its_first_reading() -> None:
    model = looking()
    answer = run(with_closer(model))
    assert city(answer) == "Tokyo"
    [sight] = [item for item in answer.evidence if item.kind is EvidenceKind.SIGHT]
    assert sight.source is not None
    assert [place["lat_deg"] for place in sight.source.arguments["places"]] == [35.69]
    assert (answer.cost.model_calls, answer.cost.tool_calls) == (2, 1)


def test_it_sees_the_enlarged_parts_and_its_own_first_reading() -> None:
    model = looking()
    run(with_closer(model))
    first, second = model.seen
    assert (count_pictures(first), count_pictures(second)) == (1, 2)
    assert "Rua Augusta" in second[-1].text
    assert "Madrid" in str([message.tool_calls for message in second if message.type == "ai"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("boxes", [[], ["the sign on the left"], [{"left": 0.9, "top": 0, "right": 0.1, "bottom": 1}]])
def test_a_model_that_asks_for_no_usable_part_is_asked_once(boxes: list[Any]) -> None:
    model = looking(boxes)
    assert city(run(with_closer(model))) == "Madrid"
    assert len(model.seen) == 1


def test_usable_boxes_are_kept_among_others_and_in_other_forms() -> None:
    model = looking(["?", [0.1, 0.1, 0.5, 0.5]])
    assert city(run(with_closer(model))) == "Tokyo"


def test_a_second_reply_that_cannot_be_used_leaves_the_first_and_a_note() -> None:
    answer = run(with_closer(looking(second=None)))
    assert city(answer) == "Madrid"
    assert "did not say what it saw when it looked closer" in answer.reasoning


def test_a_tool_that_fails_leaves_the_first_and_a_note() -> None:
    tiny = {"left": 0.5, "top": 0.5, "right": 0.501, "bottom": 0.501}
    answer = run(with_closer(looking([tiny])))
    assert city(answer) == "Madrid"
    assert "look_closer failed" in answer.reasoning


def test_strategies_without_the_step_and_spent_budgets_do_not_look_closer() -> None:
    model = looking()
    assert city(run(with_closer(model, strategy="jury"))) == "Madrid"
    assert "look_closer" not in model.seen[0][-1].text
    dear = looking()
    dear.tokens = 1_000
    assert city(run(with_closer(dear, budgets=Budgets(tokens=900)))) == "Madrid"
    assert len(dear.seen) == 1


def test_each_model_of_a_jury_sees_what_it_asked_for_itself() -> None:
    one, other = looking(), looking([])
    answer = run(with_closer(one, other))
    assert (len(one.seen), len(other.seen)) == (2, 1)
    sights = [item for item in answer.evidence if item.kind is EvidenceKind.SIGHT]
    assert [item.source.arguments["places"][0]["lat_deg"] for item in sights if item.source] == [35.69, 40.42]


def test_refine_goes_on_from_the_second_reading() -> None:
    model = looking()
    answer = run(with_closer(model, strategy="refine"))
    assert city(answer) == "Tokyo"
    assert count_pictures(model.seen[2]) == 1, "what was replied to is not sent again"
