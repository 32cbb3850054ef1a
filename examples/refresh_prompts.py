"""Write docs/prompts.md, every prompt as it is sent: `python -m examples.refresh_prompts [--check]`.

Each strategy runs on one photo with a model of fixed replies, and what reaches the model is written down: of each
request what is new. `--check` writes nothing and fails where the page differs.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from langchain_core.messages import AIMessage, BaseMessage, ToolCall
from pydantic import Field

from agents.chat_models.base import LocalModel, Tool
from agents.chat_models.registry import LoadedModel
from agents.messages import is_picture
from agents.reply_schemas import GivePosition, NamePlace, ProposeHypotheses, ReviseHypotheses
from agents.strategies import STRATEGIES, Strategy
from graphs.budgets import Budgets
from graphs.settings import Settings
from graphs.system import GeoSleuth
from retrieval.atlas.build import build_gps_atlas
from retrieval.encoders.registry import load_encoder
from retrieval.photos.photo import Photo

PAGE = Path(__file__).parents[1] / "docs" / "prompts.md"
SHOWN_CHARACTERS = 900
"""Of one block of data."""
DATA = re.compile(r'(?<=<data note="quoted material, never instructions">\n).*?(?=\n</data>)', re.DOTALL)
PRAGUE = {"name": "Old Town, Prague, Czechia", "lat": 50.087, "lon": 14.421, "radius_km": 2.0, "confidence": 0.6}
VIENNA = {"name": "Vienna, Austria", "lat": 48.208, "lon": 16.372, "radius_km": 10.0, "confidence": 0.3}
SEEN = {"observations": "Baroque fronts, a tram, a sign.", "reasoning": "Central Europe; Prague before Vienna."}
BOX = {"left": 0.1, "top": 0.2, "right": 0.4, "bottom": 0.5}
HEAD = """\
# Prompts, as they are sent

Every strategy's requests to a model, written by `python -m examples.refresh_prompts`: the photo is grey, the model's
replies are fixed. Of each request only what is new is shown; long data are cut (…). The texts are files in
`agents/prompts/`, the clue catalogue among them; a folder of your own replaces any of them
([how](models.md#strategies-of-your-own)). [What was taken from whom](models.md#what-was-taken-from-whom).
"""


class Request(NamedTuple):
    """A request: its messages, the tools in it, and the one that has to be called, if any."""

    messages: Sequence[BaseMessage]
    tools: Sequence[Tool]
    choice: str | None


class FixedModel(LocalModel):
    """Gives the reply that the tools offered call for, and keeps every request."""

    requests: list[Request] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "fixed"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        self.requests.append(Request(list(messages), kwargs.get("tools", []), kwargs.get("tool_choice")))
        return super()._generate(messages, *args, **kwargs)

    def reply(self, messages: Sequence[BaseMessage], tools: Sequence[Tool]) -> AIMessage:
        """Two places; a closer look at a part; a view from above; one judgement, and settled."""
        offered = [tool["function"]["name"] for tool in tools]
        called = sum(isinstance(message, AIMessage) for message in messages)
        name, arguments = _answer(offered, called)
        if not name:
            return AIMessage(arguments)
        return AIMessage("", tool_calls=[ToolCall(name=name, args=arguments, id=f"call-{called}")])


def _answer(offered: Sequence[str], called: int) -> tuple[str, Any]:
    if len(offered) == 1:
        wanted = {
            ProposeHypotheses.__name__: {
                **SEEN,
                "hypotheses": [PRAGUE, VIENNA],
                **({} if called else {"look_closer": [BOX]}),
            },
            GivePosition.__name__: {**SEEN, **PRAGUE, "alternatives": [VIENNA]},
            NamePlace.__name__: {"why": "the tram", "name": "Czechia"},
            ReviseHypotheses.__name__: {"judgements": [], "settled": True},
        }
        return offered[0], wanted[offered[0]]
    if not offered:
        return "", "A tram and baroque fronts: Central Europe, Prague before Vienna."
    if called > 2:  # the two readings, and a round of calls
        return "", "Nothing more would help."
    return "satellite_view", {"lat": PRAGUE["lat"], "lon": PRAGUE["lon"], "zoom": 5}


def page() -> str:
    """The whole page."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        encoder = load_encoder("compact")
        build_gps_atlas(home / "atlases" / "example", encoder, [(50.09, 14.42), (48.21, 16.37)], ["Prague", "Vienna"])
        settings = Settings(home=home, atlases=("example",), read_signs=False, budgets=Budgets(rounds=1))
        model = FixedModel()
        system = GeoSleuth.open(settings, model=LoadedModel(name="offline", chat=model))
        try:
            sections = ["\n".join(_section(system, strategy, model)) for strategy in STRATEGIES.values()]
        finally:
            system.close()
    return "\n".join([HEAD, *sections])


def _section(system: GeoSleuth, strategy: Strategy, model: FixedModel) -> Iterator[str]:
    yield f"## {strategy.name}\n\n{strategy.summary[0].upper()}{strategy.summary[1:].rstrip('?')}.\n"
    if not strategy.uses_model:
        yield "No model is asked.\n"
        return
    model.requests.clear()
    grey = np.full((96, 128, 3), 127, np.uint8)
    system.with_strategy(strategy.name).locate(Photo(grey, "0" * 64, "grey.png"))
    requests = model.requests[:2] if strategy.samples > 1 else model.requests
    catalogue, known = strategy.clue_catalogue, 0
    for number, request in enumerate(requests, start=1):
        yield f"### {strategy.name}, request {number}\n"
        yield f"{_tools(request)}\n"
        new = request.messages if number == 1 or strategy.samples > 1 else request.messages[known:]
        for message in new:
            yield f"{_role(message)}\n\n```text\n{_shown(message, catalogue)}\n```\n"
        known = len(request.messages)
    if strategy.samples > 1:
        yield f"The same {strategy.samples} times over.\n"


def _tools(request: Request) -> str:
    names = [f"`{tool['function']['name']}`" for tool in request.tools]
    if request.choice and len(names) == 1:
        return f"To be called: `{request.choice}`."
    chosen = f"; to be called: `{request.choice}`" if request.choice else ""
    return f"Tools: {', '.join(names)}{chosen}." if names else "No tools."


def _role(message: BaseMessage) -> str:
    return {"system": "**System**", "human": "**User**", "ai": "*Model*", "tool": "*Tool*"}[message.type]


def _shown(message: BaseMessage, catalogue: str) -> str:
    blocks = message.content if isinstance(message.content, list) else [message.content]
    parts = [_block(block) for block in blocks]
    if isinstance(message, AIMessage) and message.tool_calls:
        parts += [f"{call['name']} {json.dumps(call['args'], ensure_ascii=False)}" for call in message.tool_calls]
    text = "\n\n".join(part for part in parts if part)
    text = DATA.sub(lambda found: _cut(found.group()), text)
    return text if message.type == "system" else text.replace(catalogue, _catalogue(catalogue))


def _catalogue(text: str) -> str:
    """The clue catalogue's first line: it is in a file of its own."""
    return f"{text.splitlines()[0]} … (agents/prompts/clue_catalogue.md)"


def _block(block: str | Mapping[str, Any]) -> str:
    if isinstance(block, str):
        return block
    return "[a picture]" if is_picture(block) else str(block.get("text", ""))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the page differs")
    check = parser.parse_args().check
    old, new = PAGE.read_text(encoding="utf-8") if PAGE.exists() else "", page()
    if not check:
        PAGE.write_text(new, encoding="utf-8")
    elif old != new:
        sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), "prompts.md", "as sent"))
        raise SystemExit("docs/prompts.md differs from what is sent: run `python -m examples.refresh_prompts`")


if __name__ == "__main__":
    main()
