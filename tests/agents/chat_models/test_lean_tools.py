"""Schemas of tools as models read them: what tells them nothing is left out, what a call needs stays."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel, Field

from agents.chat_models.base import lean_tool
from agents.reply_schemas import GivePosition, NamePlace, ProposeHypotheses, ReviseHypotheses


class Inner(BaseModel):
    """A class for readers of the code.

    With a second paragraph.
    """

    deep: float | None = Field(None, ge=0.0, description="how deep")


class Outer(BaseModel):
    """Do it."""

    one: Inner | None = None
    many: list[Inner] = Field(default_factory=list, max_length=3, description="several")
    title: str = Field("x", max_length=5, description="a field called title")


def test_titles_bounds_defaults_and_null_go_names_descriptions_and_kinds_stay() -> None:
    function = lean_tool(Outer)["function"]
    assert (function["name"], function["description"]) == ("Outer", "Do it.")
    inner = {"type": "object", "properties": {"deep": {"description": "how deep", "type": "number"}}}
    assert function["parameters"] == {
        "type": "object",
        "properties": {
            "one": inner,
            "many": {"description": "several", "type": "array", "items": inner, "maxItems": 3},
            "title": {"description": "a field called title", "type": "string"},
        },
    }


@pytest.mark.parametrize("schema", [GivePosition, NamePlace, ProposeHypotheses, ReviseHypotheses])
def test_a_lean_schema_is_made_once_and_for_all(schema: type[BaseModel]) -> None:
    lean = lean_tool(schema)
    assert lean_tool(lean) == lean
    assert "null" not in json.dumps(lean)


@pytest.mark.parametrize("schema", [GivePosition, ProposeHypotheses])
def test_observations_and_reasoning_are_asked_for_before_any_place(schema: type[BaseModel]) -> None:
    parameters = lean_tool(schema)["function"]["parameters"]
    assert list(parameters["properties"])[:2] == ["observations", "reasoning"] == parameters["required"][:2]
    assert {"observations", "reasoning"} <= set(parameters["required"])


def test_a_reply_without_what_was_asked_for_is_read_all_the_same() -> None:
    assert GivePosition(lat=1.0, lon=2.0).observations == ""
    assert GivePosition.model_validate({"lat": 1, "lon": 2, "observations": ["a", "b"]}).observations == "a; b"
