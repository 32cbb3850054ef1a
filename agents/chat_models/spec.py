"""How a model is asked for: `offline`, `openai:NAME`, `vllm:MODEL@URL` and so on. Reading one loads nothing."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlsplit

from langchain_core.caches import BaseCache
from pydantic import BaseModel, ConfigDict, Field

from core.errors import UserError


class ModelDescription(BaseModel):
    """A model, or a kind of models, that can be asked for."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="what to ask for it by; capitals stand for what the user fills in")
    summary: str
    leaves_the_machine: str | None = Field(description="host that photos and questions go to; None: they stay here")


class ModelSpec(NamedTuple):
    """What a spec says.

    Attributes:
        kind: the part before the first colon.
        target: a provider's name for the model, or a file; empty for `offline`.
        url: where the server is, without a slash at the end; empty where the kind has its own.
    """

    kind: str
    target: str = ""
    url: str = ""

    @property
    def text(self) -> str:
        """The spec as written."""
        return ":".join(part for part in (self.kind, f"{self.target}@{self.url}" if self.url else self.target) if part)


OLLAMA_URL = "http://127.0.0.1:11434"
OPENAI_URL = "https://api.openai.com/v1"
ANTHROPIC_URL = "https://api.anthropic.com"
GOOGLE_URL = "https://generativelanguage.googleapis.com"

_REGISTERED = (
    ModelDescription(
        name="offline", summary="rules over tool results; no LMM, does not look at the picture", leaves_the_machine=None
    ),
    ModelDescription(
        name="recorded:FILE[@PHOTOS]",
        summary="answers of a real model, read from a JSONL file; PHOTOS is the folder its file names are in",
        leaves_the_machine=None,
    ),
    ModelDescription(name="openai:NAME", summary="OpenAI; OPENAI_API_KEY", leaves_the_machine="api.openai.com"),
    ModelDescription(
        name="anthropic:NAME", summary="Anthropic; ANTHROPIC_API_KEY", leaves_the_machine="api.anthropic.com"
    ),
    ModelDescription(
        name="google_genai:NAME",
        summary="Google Gemini; GOOGLE_API_KEY",
        leaves_the_machine="generativelanguage.googleapis.com",
    ),
    ModelDescription(
        name="ollama:NAME[@URL]", summary="Ollama, on this machine unless a URL is given", leaves_the_machine=None
    ),
    ModelDescription(name="vllm:MODEL@URL", summary="a vLLM server", leaves_the_machine="the URL's host"),
    ModelDescription(
        name="openai_compatible:MODEL@URL",
        summary="any server that speaks OpenAI's protocol",
        leaves_the_machine="the URL's host",
    ),
)
MODELS: MappingProxyType[str, ModelDescription] = MappingProxyType(
    {model.name.partition(":")[0]: model for model in _REGISTERED}
)
"""Kinds of models by the word before the colon: the only registry of them."""

_OWN_URLS = {"openai": OPENAI_URL, "anthropic": ANTHROPIC_URL, "google_genai": GOOGLE_URL, "ollama": OLLAMA_URL}
_NEED_URL = frozenset({"vllm", "openai_compatible"})


def parse_spec(text: str) -> ModelSpec:
    """Read a spec.

    Raises:
        UserError: an unknown kind, a missing name or URL, a URL that cannot be used. It repeats no credentials.
    """
    kind, _, rest = text.strip().partition(":")
    if kind not in MODELS:
        valid = ", ".join(model.name for model in MODELS.values())
        raise UserError(f"unknown model {_shown(text)!r}: choose one of {valid}")
    if kind == "offline":
        return _offline(rest)
    if kind == "recorded":
        file, _, folder = rest.partition("@")
        return ModelSpec(kind, _named(kind, file), folder)
    return _served(kind, rest)


def describe(spec: ModelSpec) -> ModelDescription:
    """What a spec stands for, and the host that photos would go to."""
    host = remote_host(spec.url or _OWN_URLS[spec.kind]) if spec.kind in (*_OWN_URLS, *_NEED_URL) else None
    return ModelDescription(name=spec.text, summary=MODELS[spec.kind].summary, leaves_the_machine=host)


def find_model(spec: str) -> ModelDescription:
    """The description of a model, without loading it.

    Raises:
        UserError: no such model; the message lists the valid ones.
    """
    return describe(parse_spec(spec))


def _offline(rest: str) -> ModelSpec:
    if rest:
        raise UserError("the offline model takes no name: write just `offline`")
    return ModelSpec("offline")


def _served(kind: str, rest: str) -> ModelSpec:
    at = rest.rfind("@http")
    target, url = (rest[:at], rest[at + 1 :]) if at >= 0 else (rest, "")
    if not url and ("@" in rest and (kind in _NEED_URL or "://" in rest)):
        raise UserError(f"model {kind}:…: the URL after @ must start with http:// or https://")
    if kind in _NEED_URL and not url:
        raise UserError(
            f"model {kind}:…: say where the server is, as in {MODELS[kind].name} with URL http://host:8000/v1"
        )
    if url and kind not in (*_NEED_URL, "ollama"):
        raise UserError(f"model {kind}:… takes no URL: use openai_compatible:MODEL@URL for another server")
    return ModelSpec(kind, _named(kind, target), _checked_url(kind, url) if url else "")


def _named(kind: str, target: str) -> str:
    if not target.strip():
        raise UserError(f"model {kind!r} needs more: write {MODELS[kind].name}")
    return target.strip()


def _checked_url(kind: str, url: str) -> str:
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError as error:
        raise UserError(f"model {kind}:…: its URL cannot be read ({error}): write http://host:port/v1") from error
    if parts.username or parts.password:
        raise UserError(
            f"model {kind}:…: no name or password in the URL, it would be printed: set the key by environment"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_valid:
        raise UserError(f"model {kind}:…: its URL cannot be used: write http://host:port/v1")
    if parts.query or parts.fragment:
        raise UserError(f"model {kind}:…: no query in the URL, it would be printed: set the key by environment")
    return url.rstrip("/")


def remote_host(url: str) -> str | None:
    """The host of a URL that is not this machine; None for this machine."""
    host = urlsplit(url).hostname or ""
    return None if host == "localhost" or _is_loopback(host) else host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(text: str) -> str:
    """A text of the user's without what might be a credential in a URL."""
    return text.split("@")[0][:60] if "://" in text else text[:60]


class Capabilities(BaseModel):
    """What a model can do by itself; what it cannot, the adapter around it does or says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: bool = Field(True, description="without, the photo is left out and the prompt says so")
    tools: bool = Field(True, description="without, tools are written into the prompt and calls read from the text")
    structured_output: bool = Field(False, description="the server holds a reply to a JSON schema")


class ModelOptions(BaseModel):
    """How a model is used."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    timeout_s: float = Field(120.0, gt=0.0, description="for one attempt, from sending to the last byte")
    max_retries: int = Field(
        3, ge=0, description="after the first attempt: rate limits, server errors, lost connections"
    )
    backoff_s: float = Field(1.0, ge=0.0, description="first pause between attempts; each one after is twice as long")
    concurrency: int = Field(8, ge=1, description="requests under way at once")
    temperature: float | None = Field(None, ge=0.0, description="None: the provider's default")
    max_output_tokens: int | None = Field(None, ge=1, description="None: the provider's default")
    prices: Path | None = Field(None, description="a file of prices; its rows replace the shipped ones")
    capabilities: Capabilities | None = Field(None, description="declared; None: from the model's profile or a probe")
    cache: BaseCache | None = Field(None, description="of replies: one found there costs nothing")
