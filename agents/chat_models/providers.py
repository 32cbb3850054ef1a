"""Chat models of each provider, through LangChain; packages and keys are checked before anything is sent."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx
from langchain_core.language_models import BaseChatModel

from agents.chat_models.dialects.requests import Dialect
from agents.chat_models.http_limits import limited
from agents.chat_models.kinds import MODELS, ModelDescription
from agents.chat_models.spec import ModelOptions, ModelSpec
from core.errors import UserError
from core.redaction import remote_host

NO_KEY = "none-needed"
"""Sent as the key to servers that need none."""


class Provided(NamedTuple):
    """A provider's chat model.

    Attributes:
        chat: of LangChain's integration.
        errors: exceptions of its library.
        dialect: how its requests differ.
    """

    chat: BaseChatModel
    errors: tuple[type[Exception], ...]
    dialect: Dialect = Dialect()


Arguments = dict[str, Any]


class _Integration(NamedTuple):
    """LangChain's class for a kind of models.

    Attributes:
        chat_class: as `module:name`.
        arguments: of the class beside model, URL, key and sampling, from the URL and the options.
        errors: exceptions of the provider's library, each as `module:name`.
        dialect: how the provider's requests differ.
        samples: whether several replies can be asked for in one request.
    """

    chat_class: str
    arguments: Callable[[str, ModelOptions], Arguments]
    errors: tuple[str, ...]
    dialect: Dialect = Dialect()
    samples: bool = False


def provide(spec: ModelSpec, options: ModelOptions) -> Provided:
    """The chat model of a spec of a kind that is served.

    Raises:
        UserError: its package or key is missing.
    """
    row, integration = MODELS[spec.kind], _INTEGRATIONS[spec.kind]
    chat_class = _chat_class(integration, row)
    url = spec.url or row.url
    arguments = {
        "model": spec.target,
        "base_url": url,
        **({"api_key": _key(row.keys)} if row.keys else {}),
        **_sampling(options, integration.dialect.length_field),
        **integration.arguments(url, options),
    }
    errors = (*map(pkgutil.resolve_name, integration.errors), *_transport_errors())
    return Provided(chat_class(**arguments), errors, integration.dialect)


def takes_samples(spec: ModelSpec) -> bool:
    """Whether the protocol of a spec's kind has several replies to one request."""
    return _INTEGRATIONS[spec.kind].samples


def _chat_class(integration: _Integration, row: ModelDescription) -> Callable[..., BaseChatModel]:
    try:
        chat_class: Callable[..., BaseChatModel] = pkgutil.resolve_name(integration.chat_class)
    except ImportError as error:
        raise UserError(f"this model needs the package {row.package}: pip install 'geosleuth[{row.extra}]'") from error
    return chat_class


def _key(names: Sequence[str]) -> str:
    """The first of some environment variables that is set; its value is never printed."""
    for name in names:
        if os.environ.get(name, "").strip():
            return os.environ[name].strip()
    raise UserError(f"no key for this model: set the environment variable {names[0]}")


def _sampling(options: ModelOptions, length_name: str) -> Arguments:
    """Temperature and length, where they are chosen; some models refuse any temperature."""
    chosen = {"temperature": options.temperature, length_name: options.max_output_tokens}
    return {name: value for name, value in chosen.items() if value is not None}


def _transport_errors() -> list[type[Exception]]:
    """HTTP errors that leave a stream as they are: of httpx, and of httpx2, which openai 3 uses."""
    return [pkgutil.resolve_name(f"{name}:HTTPError") for name in ("httpx", "httpx2") if find_spec(name)]


def _anthropic(_: str, options: ModelOptions) -> Arguments:
    return {"timeout": options.timeout_s, "max_retries": 0}


def _openai(url: str, options: ModelOptions) -> Arguments:
    # No redirects: photos go to the host that was named. No proxy to this machine.
    client = httpx.Client(
        timeout=options.timeout_s,
        trust_env=remote_host(url) is not None,
        follow_redirects=False,
        **limited(options.timeout_s),
    )
    return {"timeout": options.timeout_s, "max_retries": 0, "stream_usage": True, "http_client": client}


def _openai_compatible(url: str, options: ModelOptions) -> Arguments:
    return {
        **_openai(url, options),
        "api_key": os.environ.get("GEOSLEUTH_MODEL_KEY", "").strip() or NO_KEY,
        "use_responses_api": False,
    }


def _google(_: str, options: ModelOptions) -> Arguments:
    # Its library takes 0 retries for "the default"; 1 is one attempt.
    client = {"follow_redirects": False, **limited(options.timeout_s)}
    return {"timeout": options.timeout_s, "max_retries": 1, "client_args": client}


def _ollama(url: str, options: ModelOptions) -> Arguments:
    trust_env = remote_host(url) is not None
    return {
        "client_kwargs": {"timeout": options.timeout_s, "trust_env": trust_env, "follow_redirects": False},
        "sync_client_kwargs": limited(options.timeout_s),
    }


_COMPATIBLE = _Integration(
    "agents.chat_models.dialects.openai_compatible:CompatibleChat",
    _openai_compatible,
    ("openai:OpenAIError",),
    samples=True,
)
_INTEGRATIONS: MappingProxyType[str, _Integration] = MappingProxyType(
    {
        "openai": _Integration("langchain_openai:ChatOpenAI", _openai, ("openai:OpenAIError",), samples=True),
        "anthropic": _Integration(
            "agents.chat_models.dialects.anthropic_limited:LimitedAnthropic",
            _anthropic,
            ("anthropic:AnthropicError",),
            # Its protocol requires a limit of tokens.
            Dialect(shows_results=True, marks_cache=True, default_length=4_096),
        ),
        "google_genai": _Integration(
            "langchain_google_genai:ChatGoogleGenerativeAI",
            _google,
            ("google.genai.errors:APIError",),
            Dialect(shows_results=True, length_field="max_output_tokens"),
        ),
        "ollama": _Integration(
            "langchain_ollama:ChatOllama",
            _ollama,
            ("ollama:ResponseError", "ollama:RequestError", "builtins:ConnectionError"),
            Dialect(length_field="num_predict"),
        ),
        "vllm": _COMPATIBLE,
        "openai_compatible": _COMPATIBLE,
    }
)
