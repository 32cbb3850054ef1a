"""Capabilities of a model, and what its server refuses of a request, read from its error.

The adapter then asks again without it, and remembers.

Servers answer 400, 404, 422 or 500 (a chat template that raises) to what they cannot do, each in its own words, such
as "The tool_choice parameter does not support being set to required or object in thinking mode" (Qwen), "Thinking mode
does not support this tool_choice" (DeepSeek), "Thinking may not be enabled when tool_choice forces tool use"
(Anthropic), "Conversation roles must alternate user/assistant/..." (chat templates of Mistral and Gemma).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from enum import StrEnum

from pydantic import Field

from agents.schemas import Frozen


class Unsupported(StrEnum):
    """Part of a request that a server refuses, and what is sent in its place."""

    TEMPERATURE = "temperature"
    """None is sent."""
    LENGTH_NAME = "length_name"
    """The limit of tokens has its other name: `max_completion_tokens` for `max_tokens`."""
    LENGTH = "length"
    """No limit of tokens is sent."""
    STREAM_USAGE = "stream_usage"
    """Tokens of streams are estimated."""
    CACHE_MARKS = "cache_marks"
    """No marks for the prompt cache are sent."""
    SAMPLES = "samples"
    """Each sample is a request of its own."""
    SCHEMA = "schema"
    """The schema is in the prompt only."""
    MISSING_REASONING = "missing_reasoning"
    """The reasoning of past replies is sent back."""
    FORCED_CHOICE = "forced_choice"
    """The prompt names the tool to call."""
    TOOLS = "tools"
    """Tools are written into the prompt, and calls read from the text."""
    RESULT_PICTURES = "result_pictures"
    """Pictures of tools follow their results, as the user's."""
    SEVERAL_PICTURES = "several_pictures"
    """Only the first picture, the photo, is sent."""
    PICTURES = "pictures"
    """A text stands for each picture."""
    SYSTEM_ROLE = "system_role"
    """The system prompt begins the first user message."""
    REPEATED_ROLES = "repeated_roles"
    """Assistant and user alternate strictly."""


class Capabilities(Frozen):
    """Capabilities of a model by itself; `AdaptedChat` makes up for missing ones."""

    images: bool = Field(True, description="without, the photo is left out and the prompt says so")
    tools: bool = Field(True, description="without, tools are written into the prompt and calls read from the text")
    structured_output: bool = Field(False, description="the server holds a reply to a JSON schema")
    forced_tools: bool = Field(
        True,
        description="a call of a named tool can be forced; models that think refuse it, then the prompt asks",
    )
    samples: bool = Field(False, description="several replies can be asked for in one request")
    refuses: frozenset[Unsupported] = Field(frozenset(), description="what else the server refuses of a request")

    @property
    def refused(self) -> frozenset[Unsupported]:
        """All that is not to be sent."""
        has = {
            Unsupported.PICTURES: self.images,
            Unsupported.TOOLS: self.tools,
            Unsupported.SCHEMA: self.structured_output,
            Unsupported.FORCED_CHOICE: self.forced_tools,
            Unsupported.SAMPLES: self.samples,
        }
        return self.refuses | {refusal for refusal, can in has.items() if not can}

    def without(self, refused: frozenset[Unsupported]) -> Capabilities:
        """These, less what a server has refused."""
        return Capabilities(
            images=self.images and Unsupported.PICTURES not in refused,
            tools=self.tools and Unsupported.TOOLS not in refused,
            structured_output=self.structured_output and Unsupported.SCHEMA not in refused,
            forced_tools=self.forced_tools and Unsupported.FORCED_CHOICE not in refused,
            samples=self.samples and Unsupported.SAMPLES not in refused,
            refuses=(self.refuses | refused) - _OWN_FIELDS,
        )


_OWN_FIELDS = Capabilities(images=False, tools=False, forced_tools=False).refused


_IMAGE = r"image|vision|multi-?modal|picture"
_NOT = r"(?:not|n't|only|unsupported|invalid|unknown|unexpected)"
_LENGTH = r"max_(?:completion_|output_|new_)?tokens"
_WORDS = {
    Unsupported.TEMPERATURE: r"temperature",
    Unsupported.LENGTH_NAME: _LENGTH,
    Unsupported.LENGTH: _LENGTH,
    Unsupported.STREAM_USAGE: r"stream_options|include_usage",
    Unsupported.CACHE_MARKS: r"cache_control",
    Unsupported.SCHEMA: r"response_format|json_schema|structured.?output|guided|grammar",
    Unsupported.SAMPLES: r"(?:\b|['\"`])n(?:['\"`]|\b)\s*(?:[=><]|must|should|is|does|greater|param|only)"
    r"|(?:parameter|param|field|value|for)\W{1,3}n\b|best_of|multiple (?:choices|completions)",
    Unsupported.MISSING_REASONING: r"reasoning_content|passed back|thinking block",
    Unsupported.FORCED_CHOICE: r"tool.?choice|forces? (?:a )?tool|named? tool|function.?call",
    Unsupported.SYSTEM_ROLE: rf"system.{{0,40}}{_NOT}|{_NOT}.{{0,40}}system",
    Unsupported.REPEATED_ROLES: r"alternat|consecutive|unexpected role|after role|same role|roles? must|last role",
    Unsupported.TOOLS: r"\btools?\b|tool.?(?:choice|call|use)|function.?call|\bfunctions?\b",
    Unsupported.RESULT_PICTURES: _IMAGE,
    Unsupported.SEVERAL_PICTURES: rf"(?:at most|only one|more than|multiple|too many|number of).{{0,30}}(?:{_IMAGE})",
    Unsupported.PICTURES: _IMAGE,
}
"""In the order in which they are looked for: names of parameters before words that other messages hold too."""
_PATTERNS = {refusal: re.compile(words, re.IGNORECASE | re.DOTALL) for refusal, words in _WORDS.items()}

_ADJUSTABLE_STATUS = frozenset({400, 404, 405, 415, 422, 500, 501})
_OF_THE_REQUEST = frozenset({400, 422})
_OF_PICTURES = frozenset({Unsupported.PICTURES, Unsupported.RESULT_PICTURES, Unsupported.SEVERAL_PICTURES})
_NOT_SUPPORTED = re.compile(r"support|mmproj|only text|text.?only|at most|only one", re.IGNORECASE)
"""Without such a word a server's error about a picture is a mishap, for which the photo is not left out for good."""
_WITHOUT_A_WORD = (Unsupported.FORCED_CHOICE, Unsupported.TOOLS)
"""Tried in this order where a server says only that the request is bad."""


def next_refusal(status: int | None, said: str, used: Collection[Unsupported]) -> Unsupported | None:
    """What to leave out after a failure; None if it is of another kind, or nothing is left to leave out.

    Args:
        status: of HTTP.
        said: the server's error.
        used: what the request would still hold that can be left out.
    """
    if status not in _ADJUSTABLE_STATUS:
        return None
    named = next((refusal for refusal, words in _PATTERNS.items() if refusal in used and words.search(said)), None)
    if named in _OF_PICTURES and status is not None and status >= 500 and not _NOT_SUPPORTED.search(said):
        return None
    if named or status not in _OF_THE_REQUEST:
        return named
    return next((refusal for refusal in _WITHOUT_A_WORD if refusal in used), None)


def remarks(refused: Collection[Unsupported], model: str) -> Iterator[str]:
    """What an answer should say about what was left out."""
    if Unsupported.PICTURES in refused:
        yield f"the model {model} takes no pictures: the photo was not shown to it"
    if Unsupported.SEVERAL_PICTURES in refused:
        yield f"the server of {model} takes one picture a request: it was shown the first photo, and no other"
    if Unsupported.TEMPERATURE in refused:
        yield f"the server of {model} refuses a temperature: its own default was used"
    if Unsupported.LENGTH in refused:
        yield f"the server of {model} refuses the limit of output tokens: none was sent"
