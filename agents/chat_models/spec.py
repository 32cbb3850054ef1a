"""Specs of chat models (`offline`, `openai:NAME`, `vllm:MODEL@URL`, ...) and options of their requests.

Several specs separated by commas are a jury: models that are asked the same, side by side.
Parsing a spec loads nothing and sends nothing.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from langchain_core.caches import BaseCache
from pydantic import ConfigDict, Field

from agents.chat_models.adjustments import Capabilities as Capabilities
from agents.chat_models.kinds import DEFAULT_TIMEOUT_S, MODELS, ModelDescription
from agents.schemas import Frozen
from core.errors import UserError
from core.redaction import last_part, remote_host


class ModelSpec(NamedTuple):
    """A parsed spec.

    Attributes:
        kind: the part before the first colon.
        target: a provider's name for the model, or a file; empty for `offline` and a mailbox without a name.
        url: of the server, without a slash at the end, or the folder of the photos of recorded answers or of a mailbox;
            may be empty.
    """

    kind: str
    target: str = ""
    url: str = ""

    @property
    def text(self) -> str:
        """The spec as written."""
        return ":".join(part for part in (self.kind, "@".join(filter(None, (self.target, self.url)))) if part)

    @property
    def shared_text(self) -> str:
        """The spec as others may read it: of a file or a folder its name alone."""
        if MODELS[self.kind].is_served:
            return self.text
        return f"{self.kind}:{last_part(self.target)}" if self.target else self.kind


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
    if MODELS[kind].is_written and not MODELS[kind].needs_terminal:
        return _parse_mailbox(kind, rest.strip())
    if rest:
        raise UserError(f"the {kind} model takes no name: write just `{kind}`")
    return ModelSpec(kind)


def describe(spec: ModelSpec) -> ModelDescription:
    """The description of a model, with its own spec and the host that photos would go to."""
    row = MODELS[spec.kind]
    host = remote_host(spec.url or row.url) if row.is_served else row.leaves_the_machine
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
        if _has_a_path(before) and spec.partition(":")[0] not in MODELS:
            raise UserError(
                f"{before!r}, {_shown(spec)!r}: a comma separates the models of a jury, so the path of recorded answers"
                " or of a mailbox can hold none: rename the file or its folder"
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


def _has_a_path(spec: str) -> bool:
    kind = spec.partition(":")[0]
    return kind in MODELS and (MODELS[kind].is_recorded or MODELS[kind].is_written)


def short_name(model: str) -> str:
    """A model's name for tables and plots: without its provider, folders and address; of a jury, each model's.

    Any text is accepted, as it may come from an old run's record.

    >>> short_name("openai:gpt-4o,vllm:Qwen/Qwen2.5-VL-7B-Instruct@http://127.0.0.1:8000/v1")
    'gpt-4o + Qwen2.5-VL-7B-Instruct'
    """
    return " + ".join(_short_name(spec) for spec in model.split(","))


def _short_name(model: str) -> str:
    kind, _, rest = model.partition(":")
    if not rest or kind not in MODELS:
        return model
    target = rest.partition("@")[0]
    if MODELS[kind].is_recorded:
        return f"{kind} {Path(target).stem}"
    if _has_a_path(model):
        return f"{kind} {model_name(_parse_mailbox(kind, rest))}"
    return target.rpartition("/")[2]


def model_name(spec: ModelSpec) -> str:
    """The model's own name in a spec, without a provider's or a file's path: the same however it is asked."""
    if MODELS[spec.kind].is_recorded:
        return Path(spec.target).stem
    return spec.target.rpartition("/")[2] or Path(spec.url).name


def _parse_mailbox(kind: str, rest: str) -> ModelSpec:
    """NAME@FOLDER or FOLDER; what holds a slash before its first @ is a folder."""
    name, at, folder = rest.partition("@")
    if at and name and folder and not {"/", "\\"} & {*name}:
        return ModelSpec(kind, name, folder)
    return ModelSpec(kind, "", _required(kind, rest))


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


def _shown(text: str) -> str:
    """The user's text without what might be a credential in a URL."""
    return text.split("@")[0][:60] if "://" in text else text[:60]


class ModelOptions(Frozen):
    """Limits and sampling of the requests to a model."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    timeout_s: float = Field(
        DEFAULT_TIMEOUT_S, gt=0.0, description="for one attempt, to the last byte; not chosen: the kind's own"
    )
    max_retries: int = Field(
        3, ge=0, description="after the first attempt: rate limits, server errors, lost connections"
    )
    backoff_s: float = Field(1.0, ge=0.0, description="first pause between attempts; each one after is twice as long")
    load_s: float = Field(
        math.inf, gt=0.0, allow_inf_nan=True, description="for all that is asked of a server when the model is loaded"
    )
    concurrency: int = Field(8, ge=1, description="requests under way at once")
    temperature: float | None = Field(None, ge=0.0, description="None: the provider's default")
    max_output_tokens: int | None = Field(None, ge=1, description="None: the provider's default")
    prices: Path | None = Field(None, description="the user's file of prices; its rows replace list prices")
    has_photos: bool = Field(True, description="False: photos have no pixels and are known by name (recorded models)")
    capabilities: Capabilities | None = Field(None, description="declared; None: from the model's profile or a probe")
    cache: BaseCache | None = Field(None, description="of replies: one found there costs nothing")

    @staticmethod
    def chosen(timeout_s: float | None, **options: Any) -> ModelOptions:
        """Options with a user's time limit; None: each kind of models has its own."""
        return ModelOptions(**options, **({} if timeout_s is None else {"timeout_s": timeout_s}))

    def of_kind(self, kind: ModelDescription) -> ModelOptions:
        """The options with the kind's own time limit, unless one is chosen."""
        return self if "timeout_s" in self.model_fields_set else self.model_copy(update={"timeout_s": kind.timeout_s})
