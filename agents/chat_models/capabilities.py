"""What a model can do: declared, in the model's profile, or found out by asking it a word or two."""

from __future__ import annotations

import io
from base64 import b64encode
from functools import cache
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from PIL import Image
from pydantic import BaseModel, ValidationError

from agents.chat_models.adapter import AdaptedChat
from agents.chat_models.failures import ModelFailure
from agents.chat_models.providers import Provided
from agents.chat_models.retry import Attempts
from agents.chat_models.spec import Capabilities, ModelOptions, ModelSpec
from core.errors import UserError

PROBE_TOKENS = 64
_PROBED = frozenset({"vllm", "openai_compatible"})


class SayReady(BaseModel):
    """Say that you are ready."""

    ready: bool


def capabilities_of(spec: ModelSpec, provided: Provided, options: ModelOptions) -> Capabilities:
    """As declared by the user, else by Ollama or the model's profile, else by a probe of the server.

    Raises:
        UserError: a server that would have to be asked cannot be reached, or does not accept the key or model.
    """
    if options.capabilities:
        return options.capabilities
    if spec.kind == "ollama":
        return _told_by_ollama(spec, provided)
    if spec.kind in _PROBED:
        return probe(spec, provided, options)
    return from_profile(dict(provided.chat.profile or {}))


def from_profile(profile: dict[str, Any]) -> Capabilities:
    """Of a model that LangChain knows; a model newer than its tables is taken to be able to do everything."""
    return Capabilities(images=profile.get("image_inputs", True), tools=profile.get("tool_calling", True))


def _told_by_ollama(spec: ModelSpec, provided: Provided) -> Capabilities:
    client: Any = getattr(provided.chat, "_client", None)
    try:
        told = set(client.show(spec.target).capabilities or ())
    except provided.errors as error:
        raise UserError(
            f"Ollama is not running or does not know the model {spec.target!r}: ollama pull {spec.target}"
        ) from error
    return Capabilities(images="vision" in told, tools="tools" in told)


def probe(spec: ModelSpec, provided: Provided, options: ModelOptions) -> Capabilities:
    """Ask a server for a word about a tiny picture, for a tool call, and, without one, for JSON of a schema.

    Raises:
        UserError: it cannot be reached, or does not accept the key or model.
    """
    ask = _Prober(provided, options.timeout_s)
    sees = isinstance(ask(_picture_message()), AIMessage)
    words = None if sees else ask(HumanMessage("Say: ready"))
    if isinstance(words, ModelFailure):
        problem = f"the model server of {spec.text} cannot be used: {words}"
        raise UserError(f"{problem}; start it, or check the URL, the model's name and the key") from words
    tools = _calls_a_tool(ask)
    return Capabilities(images=sees, tools=tools, structured_output=not tools and _keeps_a_schema(ask))


class _Prober:
    """Asks for a few tokens, twice if need be."""

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
    picture = {"type": "image", "base64": _tiny_picture(), "mime_type": "image/png"}
    return HumanMessage([picture, {"type": "text", "text": "Which colour is this?"}])


@cache
def _tiny_picture() -> str:
    """Grey, 64 px: some servers refuse smaller ones."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (128, 128, 128)).save(buffer, format="PNG")
    return b64encode(buffer.getvalue()).decode("ascii")
