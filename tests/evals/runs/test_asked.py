"""What a strategy asks is known part by part, and messages are kept as they were said."""

from __future__ import annotations

from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

import agents.prompts
from agents.chat_models.dialects.replies import normalised
from agents.chat_models.spec import ModelOptions
from agents.fingerprint import asked_parts, changes, digests
from agents.strategies import STRATEGIES
from evals.runs.folder import RunFolder
from evals.runs.records import RecordError, read_info
from evals.runs.transcripts import as_message, finish_reason, reasoning_of, tokens_of
from tests.fakes.eval_runs import run_info, run_made


@tool
def measure(metres: float) -> str:
    """Measure something."""
    return str(metres)


def parts_of(name: str, options: ModelOptions | None = None, **changed: object) -> dict[str, str]:
    strategy = STRATEGIES[name].model_copy(update=changed)
    return asked_parts(strategy, [measure], options or ModelOptions(), "mine")


def test_a_strategy_is_bound_to_all_that_it_asks_and_to_nothing_else() -> None:
    refine, zero_shot = parts_of("refine"), parts_of("zero_shot")
    assert "the prompt agents/prompts/revise.md" in refine
    assert "the prompt agents/prompts/revise.md" not in zero_shot
    assert "the reply schema ReviseHypotheses" in refine
    assert "Measure something." in refine["the tool measure"]
    assert not [name for name in zero_shot if name.startswith("the tool")]
    assert "half of the probability" in zero_shot["the reply schema GivePosition"]
    assert {name.split(" ")[1] for name in parts_of("retrieval")} == {"field"}, "it asks no model"


@pytest.mark.parametrize(
    ("options", "changed", "said"),
    [
        (ModelOptions(temperature=0.5), {}, ["the model option temperature has changed"]),
        (ModelOptions(timeout_s=1.0, concurrency=2), {}, []),
        (None, {"samples": 3}, ["the field samples of the strategy zero_shot has changed"]),
        (
            None,
            {"templates": {"position": "Where?"}},
            ["the prompt agents/prompts/position.md is gone", "the prompt mine/position.md is new"],
        ),
    ],
)
def test_a_change_is_named(options: ModelOptions | None, changed: dict[str, object], said: list[str]) -> None:
    before, now = parts_of("zero_shot"), parts_of("zero_shot", options, **changed)
    assert changes(digests(before), digests(now)) == said


def test_a_folder_that_does_not_know_what_it_asked_says_so(tmp_path: Path) -> None:
    run_made(tmp_path, 3)
    now = run_info(3).model_copy(update={"asked": {"quick": {"the prompt a.md": "1"}}})
    with pytest.raises(RecordError, match=r"did not keep what it asked.*--fresh-strategy quick"):
        RunFolder(tmp_path, now)
    with RunFolder(tmp_path, now, ("quick",)) as folder:
        assert {strategy for _, strategy in folder.scores} == {"slow"}
    assert read_info(tmp_path).replaced[0].records == 3


def test_messages_are_kept_with_calls_reasoning_and_tokens() -> None:
    usage = {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11, "input_token_details": {"cache_read": 4}}
    call = {"name": "measure", "args": {"metres": 2}, "id": "1"}
    answer = AIMessage(
        [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "so"}],
        tool_calls=[call],
        usage_metadata=usage,
        response_metadata={"stop_reason": "tool_use"},
    )
    kept = as_message(answer)
    assert (kept.role, kept.text) == ("assistant", "so")
    assert kept.tool_calls == ('{"tool": "measure", "arguments": {"metres": 2}}',)
    common = normalised(answer, {})
    assert (reasoning_of(common), finish_reason(common)) == ("hm", "tool_calls")
    assert tokens_of(answer) == {"input": 9, "output": 2, "cached": 4}
    assert reasoning_of(AIMessage("x", additional_kwargs={"reasoning_content": "first"})) == "first"
    assert as_message(ToolMessage("4", tool_call_id="1", name="measure")).tool == "measure"
    picture = {"type": "image", "base64": "AAAA", "mime_type": "image/jpeg"}
    assert as_message(HumanMessage([picture, {"type": "text", "text": "where?"}])).text == "[picture]\nwhere?"


def test_every_packaged_prompt_but_those_of_conversations_is_bound_to_a_strategy() -> None:
    bound = {name for strategy in STRATEGIES.values() for name in asked_parts(strategy, [], ModelOptions())}
    prompts = {f"the prompt agents/prompts/{file.name}" for file in Path(agents.prompts.__file__).parent.glob("*.md")}
    of_conversations = {"follow_up.md", "follow_up_again.md", "ask_person.md"}
    assert prompts - bound == {f"the prompt agents/prompts/{name}" for name in of_conversations}


def test_a_changed_setting_is_named_and_a_changed_file_is_not_missed(tmp_path: Path) -> None:
    begun = run_info(3).model_copy(update={"settings": {"recall_limit": 100, "aim": "geoscore"}})
    RunFolder(tmp_path, begun).close()
    changed = {"settings_sha256": "f" * 64, "settings": {"recall_limit": 50, "aim": "geoscore"}}
    with pytest.raises(RecordError, match=r"begun with recall_limit 100, not 50: choose another"):
        RunFolder(tmp_path, begun.model_copy(update=changed))
    with pytest.raises(RecordError, match="begun with settings_sha256"):
        RunFolder(tmp_path, begun.model_copy(update={"settings_sha256": "f" * 64}))
    RunFolder(tmp_path, begun).close()


def test_what_a_template_shows_of_another_is_part_of_it() -> None:
    own = {"clues": "Go by this list: $catalogue", "catalogue": "poles, plates"}
    assert parts_of("chain_of_thought", templates=own)["the prompt mine/catalogue.md"] == "poles, plates"
