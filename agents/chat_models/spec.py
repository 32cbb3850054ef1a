"""Specs of chat models (`offline`, `openai:NAME`, `vllm:MODEL@URL`, ...) and the registry of their kinds.

Several specs separated by commas are a jury: models that are asked the same, side by side.
Parsing a spec loads nothing and sends nothing.
"""

from __future__ import annotations

import ipaddress
import math
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlsplit

from langchain_core.caches import BaseCache
from pydantic import BaseModel, ConfigDict, Field

from agents.chat_models.adjustments import Capabilities as Capabilities
from agents.schemas import Frozen
from core.errors import UserError


class ModelDescription(BaseModel):
    """A model, or a kind of models, and everything that the rest of the system asks about it."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="its spec; capitals stand for what the user fills in")
    summary: str
    leaves_the_machine: str | None = Field(None, description="host that photos and questions go to; None: they stay")
    is_lmm: bool = Field(True, description="its replies are those of a language model, not of rules")
    is_recorded: bool = Field(False, description="replies come from a file; the model that gave them saw the photos")
    package: str = Field("", description="distribution with LangChain's integration; empty: no server is asked")
    extra: str = Field("", description="the extra of geosleuth that installs the package")
    keys: tuple[str, ...] = Field((), description="environment variables, of which one must hold a key")
    url: str = Field("", description="of the provider's server, or of the default one")
    takes_url: bool = Field(False, description="a spec may name another server")
    prices: str | None = Field(None, description="the provider's id in the package genai-prices")

    @property
    def is_served(self) -> bool:
        """Whether a server is asked; other models reply at once and for nothing, and have no temperature."""
        return bool(self.package)


class ModelSpec(NamedTuple):
    """A parsed spec.

    Attributes:
        kind: the part before the first colon.
        target: a provider's name for the model, or a file; empty for `offline`.
        url: of the server, without a slash at the end, or the folder of the photos of recorded answers; may be empty.
    """

    kind: str
    target: str = ""
    url: str = ""

    @property
    def text(self) -> str:
        """The spec as written."""
        return ":".join(part for part in (self.kind, f"{self.target}@{self.url}" if self.url else self.target) if part)


_REGISTERED = (
    ModelDescription(
        name="offline", summary="rules over tool results; no LMM, does not look at the picture", is_lmm=False
    ),
    ModelDescription(
        name="recorded:FILE[@PHOTOS]",
        summary="answers of a real model, read from a JSONL file; PHOTOS is the folder its file names are in",
        is_recorded=True,
    ),
    ModelDescription(
        name="openai:NAME",
        summary="OpenAI; OPENAI_API_KEY",
        leaves_the_machine="api.openai.com",
        package="langchain-openai",
        extra="openai",
        keys=("OPENAI_API_KEY",),
        url="https://api.openai.com/v1",
        prices="openai",
    ),
    ModelDescription(
        name="anthropic:NAME",
        summary="Anthropic; ANTHROPIC_API_KEY",
        leaves_the_machine="api.anthropic.com",
        package="langchain-anthropic",
        extra="anthropic",
        keys=("ANTHROPIC_API_KEY",),
        url="https://api.anthropic.com",
        prices="anthropic",
    ),
    ModelDescription(
        name="google_genai:NAME",
        summary="Google Gemini; GOOGLE_API_KEY",
        leaves_the_machine="generativelanguage.googleapis.com",
        package="langchain-google-genai",
        extra="google",
        keys=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        url="https://generativelanguage.googleapis.com",
        prices="google",
    ),
    ModelDescription(
        name="ollama:NAME[@URL]",
        summary="Ollama, on this machine unless a URL is given",
        package="langchain-ollama",
        extra="ollama",
        url="http://127.0.0.1:11434",
        takes_url=True,
    ),
    ModelDescription(
        name="vllm:MODEL@URL",
        summary="a vLLM server",
        leaves_the_machine="the URL's host",
        package="langchain-openai",
        extra="openai",
        takes_url=True,
    ),
    ModelDescription(
        name="openai_compatible:MODEL@URL",
        summary="any server that speaks OpenAI's protocol",
        leaves_the_machine="the URL's host",
        package="langchain-openai",
        extra="openai",
        takes_url=True,
    ),
)
MODELS: MappingProxyType[str, ModelDescription] = MappingProxyType(
    {model.name.partition(":")[0]: model for model in _REGISTERED}
)
"""Kinds of models by the word before the colon: the only registry of them."""


def parse_spec(text: str) -> ModelSpec:
    """Parse a spec.

    Raises:
        UserError: an unknown kind, a missing name or URL, a URL that cannot be used. It repeats no credentials.
    """
    kind, _, rest = text.strip().partition(":")
    if kind not in MODELS:
        valid = ", ".join(model.name for model in MODELS.values())
        raise UserError(f"unknown model {_shown(text)!r}: choose one of {valid}")
    if MODELS[kind].is_served:
        return _parse_served(kind, rest)
    if MODELS[kind].is_recorded:
        file, _, folder = rest.partition("@")
        return ModelSpec(kind, _required(kind, file), folder)
    if rest:
        raise UserError(f"the {kind} model takes no name: write just `{kind}`")
    return ModelSpec(kind)


def describe(spec: ModelSpec) -> ModelDescription:
    """The description of a model, with its own spec and the host that photos would go to."""
    row = MODELS[spec.kind]
    host = remote_host(spec.url or row.url) if row.is_served else None
    return row.model_copy(update={"name": spec.text, "leaves_the_machine": host})


def find_model(spec: str) -> ModelDescription:
    """The description of a model, without loading it.

    Raises:
        UserError: no such model; the message lists the valid ones.
    """
    return describe(parse_spec(spec))


def split_jury(text: str) -> tuple[str, ...]:
    """The specs of a jury, which are separated by commas; one spec alone is a jury of one.

    Raises:
        UserError: an empty spec, a model that is named twice, a file of recorded answers with a comma in its path.
    """
    specs = tuple(part.strip() for part in text.split(","))
    if len(specs) > 1 and "" in specs:
        raise UserError("a jury is named without empty places between commas: MODEL,MODEL")
    for before, spec in pairwise(specs):
        if _is_recorded(before) and spec.partition(":")[0] not in MODELS:
            raise UserError(
                f"{before!r}, {_shown(spec)!r}: a comma separates the models of a jury, so the path of recorded answers"
                " can hold none: rename the file or its folder"
            )
    repeated = next((spec for number, spec in enumerate(specs) if spec in specs[:number]), None)
    if repeated is not None:
        raise UserError(
            f"the jury names {_shown(repeated)!r} twice: name different models, separated by commas; the strategy"
            " self_consistency asks one model several times"
        )
    return specs


def find_jury(text: str) -> tuple[ModelDescription, ...]:
    """The descriptions of the models of a jury, without loading them; one spec alone is a jury of one.

    Raises:
        UserError: no such model, or not a jury; the message says what to write.
    """
    return tuple(find_model(spec) for spec in split_jury(text))


def _is_recorded(spec: str) -> bool:
    kind = spec.partition(":")[0]
    return kind in MODELS and MODELS[kind].is_recorded


def short_name(model: str) -> str:
    """A model's name for tables and plots: its spec, shortened to the file's stem where answers were recorded.

    Any text is accepted, as it may come from an old run's record; of a jury, each model's.
    """
    return " + ".join(_short_name(spec) for spec in model.split(","))


def _short_name(model: str) -> str:
    kind, _, rest = model.partition(":")
    return f"{kind} {Path(rest.partition('@')[0]).stem}" if _is_recorded(model) else model


def _parse_served(kind: str, rest: str) -> ModelSpec:
    row = MODELS[kind]
    needs_url = not row.url
    at = rest.rfind("@http")
    target, url = (rest[:at], rest[at + 1 :]) if at >= 0 else (rest, "")
    if not url and "@" in rest and (needs_url or "://" in rest):
        raise UserError(f"model {kind}:…: the URL after @ must start with http:// or https://")
    if not url and needs_url:
        raise UserError(f"model {kind}:…: say where the server is, as in {row.name} with URL http://host:8000/v1")
    if url and not row.takes_url:
        raise UserError(f"model {kind}:… takes no URL: use openai_compatible:MODEL@URL for another server")
    return ModelSpec(kind, _required(kind, target), _checked_url(kind, url) if url else "")


def _required(kind: str, target: str) -> str:
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
    """The user's text without what might be a credential in a URL."""
    return text.split("@")[0][:60] if "://" in text else text[:60]


class ModelOptions(Frozen):
    """Limits and sampling of the requests to a model."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    timeout_s: float = Field(120.0, gt=0.0, description="for one attempt, from sending to the last byte")
    max_retries: int = Field(
        3, ge=0, description="after the first attempt: rate limits, server errors, lost connections"
    )
    backoff_s: float = Field(1.0, ge=0.0, description="first pause between attempts; each one after is twice as long")
    load_s: float = Field(math.inf, gt=0.0, description="for all that is asked of a server when the model is loaded")
    concurrency: int = Field(8, ge=1, description="requests under way at once")
    temperature: float | None = Field(None, ge=0.0, description="None: the provider's default")
    max_output_tokens: int | None = Field(None, ge=1, description="None: the provider's default")
    prices: Path | None = Field(None, description="the user's file of prices; its rows replace list prices")
    has_photos: bool = Field(True, description="False: photos have no pixels and are known by name (recorded models)")
    capabilities: Capabilities | None = Field(None, description="declared; None: from the model's profile or a probe")
    cache: BaseCache | None = Field(None, description="of replies: one found there costs nothing")
