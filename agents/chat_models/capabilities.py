"""Capabilities of a model: as declared, from LangChain's profile of it, or found by a few short requests."""

from __future__ import annotations

from typing import Any

import numpy as np
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, ValidationError

from agents.chat_models.adapter import AdaptedChat
from agents.chat_models.failures import ModelFailure
from agents.chat_models.providers import Provided
from agents.chat_models.retry import Attempts
from agents.chat_models.spec import MODELS, Capabilities, ModelOptions, ModelSpec
from agents.messages import image_block
from core.errors import UserError

PROBE_TOKENS = 64


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
    # Of a model newer than LangChain's tables everything is expected.
    profile = provided.chat.profile or {}
    return Capabilities(images=profile.get("image_inputs", True), tools=profile.get("tool_calling", True))


def _from_ollama(spec: ModelSpec, provided: Provided) -> Capabilities:
    client: Any = getattr(provided.chat, "_client", None)
    try:
        able = set(client.show(spec.target).capabilities or ())
    except provided.errors as error:
        raise UserError(
            f"Ollama is not running or does not know the model {spec.target!r}: ollama pull {spec.target}"
        ) from error
    return Capabilities(images="vision" in able, tools="tools" in able)


def probe(spec: ModelSpec, provided: Provided, options: ModelOptions) -> Capabilities:
    """Ask a server about a tiny picture, for a tool call, and, if it makes none, for JSON of a schema.

    Raises:
        UserError: it cannot be reached, or does not accept the key or model.
    """
    ask = _Prober(provided, options.timeout_s)
    has_seen = isinstance(ask(_picture_message()), AIMessage)
    without_picture = None if has_seen else ask(HumanMessage("Say: ready"))
    if isinstance(without_picture, ModelFailure):
        problem = f"the model server of {spec.text} cannot be used: {without_picture}"
        raise UserError(f"{problem}; start it, or check the URL, the model's name and the key") from without_picture
    tools = _calls_a_tool(ask)
    return Capabilities(images=has_seen, tools=tools, structured_output=not tools and _keeps_a_schema(ask))


class _Prober:
    """Sends requests for a few tokens, each twice if need be."""

    def __init__(self, provided: Provided, timeout_s: float) -> None:
        self._chat = AdaptedChat(inner=provided.chat, label="probe", errors=provided.errors, shows_results=True)
        self._options = ModelOptions(timeout_s=timeout_s, max_retries=1, backoff_s=0.2)

    def __call__(self, message: HumanMessage, **kwargs: Any) -> AIMessage | ModelFailure:
        """The answer, or why there is none."""
        attempts = Attempts(self._options, None)
        try:
            return attempts(lambda: self._chat.invoke([message], max_tokens=PROBE_TOKENS, **kwargs))
        except ModelFailure as failure:
            return failure


def _calls_a_tool(ask: _Prober) -> bool:
    answer = ask(HumanMessage("Call the tool Ready with ready=true."), tools=[convert_to_openai_tool(SayReady)])
    return isinstance(answer, AIMessage) and bool(answer.tool_calls)


def _keeps_a_schema(ask: _Prober) -> bool:
    """Whether the server answers with the object that was asked for and nothing else."""
    wanted = {"type": "json_schema", "json_schema": {"name": "reply", "schema": SayReady.model_json_schema()}}
    answer = ask(HumanMessage("Say that you are ready."), response_format=wanted)
    try:
        return isinstance(answer, AIMessage) and SayReady.model_validate_json(answer.text).ready is not None
    except ValidationError:
        return False


def _picture_message() -> HumanMessage:
    """A question about a grey picture of 64 px: some servers refuse smaller ones."""
    picture = image_block(np.full((64, 64, 3), 128, np.uint8))
    return HumanMessage([picture, {"type": "text", "text": "Which colour is this?"}])
