"""Capabilities of a model: as declared, from LangChain's profile of it, or found by a few short requests."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, ValidationError

from agents.chat_models.adapter import AdaptedChat
from agents.chat_models.dialects.requests import schema_argument
from agents.chat_models.failures import ModelFailure
from agents.chat_models.kinds import MODELS
from agents.chat_models.providers import Provided, takes_samples
from agents.chat_models.retry import Attempts
from agents.chat_models.spec import Capabilities, ModelOptions, ModelSpec
from agents.messages import image_block
from core.errors import UserError

PROBE_TOKENS = 1_024
"""Of a reply, unless the user allows fewer: a model that thinks needs hundreds before it calls a tool."""


class SayReady(BaseModel):
    """Say that you are ready."""

    ready: bool


def capabilities_of(spec: ModelSpec, provided: Provided, options: ModelOptions) -> Capabilities:
    """Capabilities as declared by the user, else from Ollama or the model's profile, else from a probe of the server.

    Raises:
        UserError: a server that would have to be asked cannot be reached, or does not accept the key or model.
    """
    if options.capabilities:
        return options.capabilities
    if spec.kind == "ollama":
        return _from_ollama(spec, provided)
    if not MODELS[spec.kind].url:  # a server of the user's choice: LangChain's tables do not know its models
        return probe(spec, provided, options)
    # Of a model newer than LangChain's tables everything is expected; what its server refuses is found when it does.
    profile = provided.chat.profile or {}
    return Capabilities(
        images=profile.get("image_inputs", True),
        tools=profile.get("tool_calling", True),
        samples=takes_samples(spec),
    )


def _from_ollama(spec: ModelSpec, provided: Provided) -> Capabilities:
    client: Any = getattr(provided.chat, "_client", None)
    try:
        able = set(client.show(spec.target).capabilities or ())
    except provided.errors as error:
        raise UserError(
            f"Ollama is not running or does not know the model {spec.target!r}: ollama pull {spec.target}"
        ) from error
    # LangChain's integration does not pass on which tool must be called.
    return Capabilities(images="vision" in able, tools="tools" in able, forced_tools=False)


def probe(spec: ModelSpec, provided: Provided, options: ModelOptions) -> Capabilities:
    """Ask a server about a tiny picture, for a tool call, and, if it makes none, for JSON of a schema.

    What it refuses meanwhile (a forced call, a temperature, the system role) is part of the result. All of it takes at
    most `options.load_s`.

    Raises:
        UserError: it cannot be reached, does not answer in time, or does not accept the key or model.
    """
    ask = _Prober(spec, provided, options)
    with_picture = ask(_picture_message())
    has_seen = isinstance(with_picture, AIMessage) and ask.able.images
    if isinstance(with_picture, ModelFailure):
        without_picture = with_picture if ask.is_late else ask(HumanMessage("Say: ready"))
        if isinstance(without_picture, ModelFailure):
            problem = f"the model server of {spec.text} cannot be used: {without_picture}"
            raise UserError(f"{problem}; start it, or check the URL, the model's name and the key") from without_picture
    tools = _calls_a_tool(ask) and ask.able.tools
    keeps_schema = not tools and _keeps_a_schema(ask)
    found = ask.able
    return found.model_copy(
        update={
            "images": has_seen,
            "tools": tools,
            "structured_output": keeps_schema,
            "forced_tools": found.forced_tools or not tools,
            "samples": takes_samples(spec),
        }
    )


class _Prober:
    """Sends requests for short replies, each twice if need be, all within one time."""

    def __init__(self, spec: ModelSpec, provided: Provided, options: ModelOptions) -> None:
        tokens = min(PROBE_TOKENS, options.max_output_tokens or PROBE_TOKENS)
        self._chat = AdaptedChat(
            inner=provided.chat.model_copy(update={provided.dialect.length_field: tokens}),
            label=spec.text,
            errors=provided.errors,
            dialect=provided.dialect._replace(default_length=None),
        )
        self._options = options.model_copy(update={"max_retries": 1, "backoff_s": min(0.2, options.backoff_s)})
        self._deadline = time.monotonic() + options.load_s

    @property
    def able(self) -> Capabilities:
        """What has not been refused so far."""
        return self._chat.capabilities

    @property
    def is_late(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self._deadline

    def __call__(self, message: HumanMessage, **kwargs: Any) -> AIMessage | ModelFailure:
        """The answer, or why there is none."""
        attempts = Attempts(self._options, self._deadline, self._chat.label)
        try:
            return attempts(lambda: self._chat.invoke([SystemMessage("Answer briefly."), message], **kwargs))
        except ModelFailure as failure:
            return failure


def _calls_a_tool(ask: _Prober) -> bool:
    """Whether the model calls a tool that it is told to call, as a call and not in its text."""
    answer = ask(
        HumanMessage("Call the tool SayReady with ready=true."),
        tools=[convert_to_openai_tool(SayReady)],
        tool_choice=SayReady.__name__,
    )
    return isinstance(answer, AIMessage) and bool(answer.tool_calls)


def _keeps_a_schema(ask: _Prober) -> bool:
    """Whether the server answers with the object that was asked for and nothing else."""
    answer = ask(HumanMessage("Say that you are ready."), **schema_argument(SayReady.model_json_schema()))
    try:
        return isinstance(answer, AIMessage) and SayReady.model_validate_json(answer.text).ready is not None
    except ValidationError:
        return False


def _picture_message() -> HumanMessage:
    """A question about a grey picture of 64 px: some servers refuse smaller ones."""
    picture = image_block(np.full((64, 64, 3), 128, np.uint8))
    return HumanMessage([picture, {"type": "text", "text": "Which colour is this?"}])
