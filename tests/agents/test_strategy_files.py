"""Strategies from a folder: JSON or TOML, templates beside them, and one clear line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.strategies import CommitRule, Shown, find_strategy
from agents.strategy_files import load_strategies
from core.errors import UserError

HAIKU: dict[str, Any] = {
    "name": "haiku",
    "summary": "a poem, then a position",
    "steps": ["guess"],
    "commit_rule": "model",
    "asks": [{"prompt": "poem", "wants": "text", "values": {"form": "haiku"}}, {"prompt": "position"}],
    "shown": ["question"],
    "samples": 3,
    "temperature": 0.5,
}
POEM = "Write a $form about photo $photo_id."


def folder(tmp_path: Path, strategy: Any = HAIKU, **templates: str) -> Path:
    (tmp_path / "haiku.json").write_text(strategy if isinstance(strategy, str) else json.dumps(strategy))
    for name, text in {"poem": POEM, **templates}.items():
        (tmp_path / f"{name}.md").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_strategy_of_json_and_a_template(tmp_path: Path) -> None:
    own = load_strategies(folder(tmp_path))
    found = find_strategy("haiku", own)
    assert (found.commit_rule, found.samples, found.shown) == (CommitRule.MODEL, 3, frozenset({Shown.QUESTION}))
    assert found.render("poem", photo_id="P", form="haiku") == "Write a haiku about photo P."
    assert "Where on Earth" in found.template("position")
    assert find_strategy("refine", own).name == "refine"


def test_toml_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "poem.md").write_text(POEM)
    (tmp_path / "haiku.toml").write_text(
        'name = "haiku"\nsummary = "s"\nsteps = ["guess"]\ncommit_rule = "model"\n'
        '[[asks]]\nprompt = "poem"\nwants = "text"\nvalues = {form = "haiku"}\n[[asks]]\nprompt = "position"\n'
    )
    assert [ask.prompt for ask in load_strategies(tmp_path)["haiku"].asks] == ["poem", "position"]


def test_a_template_of_the_folder_replaces_the_packaged_one(tmp_path: Path) -> None:
    own = load_strategies(folder(tmp_path, position="Photo $photo_id: call $tool_name."))
    assert own["haiku"].render("position", photo_id="P", tool_name="T") == "Photo P: call T."


@pytest.mark.parametrize(
    ("strategy", "templates", "message"),
    [
        ("{", {}, "haiku.json"),
        ("[]", {}, "not fields of a strategy"),
        ({**HAIKU, "colour": "red"}, {}, "colour"),
        ({**HAIKU, "steps": ["guess", "dance"]}, {}, "steps"),
        ({**HAIKU, "samples": 99}, {}, "samples"),
        ({**HAIKU, "name": "Two Words"}, {}, "name"),
        ({**HAIKU, "commit_rule": "posterior"}, {}, "guess commits by model"),
        ({**HAIKU, "asks": [{"prompt": "ode"}]}, {}, "no template ode.md"),
        (HAIKU, {"poem": "Write about $season."}, "wants \\$season, which has no value"),
        (HAIKU, {"poem": "It costs 5 $ to enter."}, "dollar sign"),
        (HAIKU, {"poem": "For example 48.8584, 2.2945 for $photo_id."}, "looks like a coordinate"),
        (HAIKU, {"poem": "At 48° N, $photo_id."}, "looks like a coordinate"),
    ],
)
def test_mistakes_are_reported_in_one_line_with_the_file(
    strategy: Any, templates: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_strategies(folder(tmp_path, strategy, **templates))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_two_strategies_of_one_name(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "other.json").write_text(json.dumps(HAIKU))
    with pytest.raises(UserError, match="another file of the folder is called 'haiku'"):
        load_strategies(tmp_path)


def test_a_folder_that_is_not_there_and_a_file_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_strategies(tmp_path / "nowhere")
    (folder(tmp_path) / "poem.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read as text"):
        load_strategies(tmp_path)
