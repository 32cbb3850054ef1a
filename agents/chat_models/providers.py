"""Chat models of each provider, through LangChain: keys and packages checked before anything is sent."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

from langchain_core.language_models import BaseChatModel

from agents.chat_models.http_limits import LimitedClient, limited_hooks
from agents.chat_models.spec import (
    ANTHROPIC_URL,
    GOOGLE_URL,
    OLLAMA_URL,
    OPENAI_URL,
    ModelOptions,
    ModelSpec,
    remote_host,
)
from core.errors import UserError

NO_KEY = "none-needed"
"""What servers that need no key are sent for one."""


class Provided(NamedTuple):
    """A provider's chat model.

    Attributes:
        chat: of LangChain's integration.
        errors: what its library raises.
        shows_results: whether it takes pictures in tool results.
    """

    chat: BaseChatModel
    errors: tuple[type[Exception], ...]
    shows_results: bool = False


def provide(spec: ModelSpec, options: ModelOptions) -> Provided:
    """The chat model of a spec.

    Raises:
        UserError: its package or key is missing.
    """
    return _PROVIDERS[spec.kind](spec, options)


def _package(module: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.replace("_", "-")
        raise UserError(f"this model needs the package {name}: pip install 'geosleuth[{extra}]'") from error


def _key(*names: str) -> str:
    """The first of some environment variables; its value is never printed."""
    for name in names:
        if os.environ.get(name, "").strip():
            return os.environ[name].strip()
    raise UserError(f"no key for this model: set the environment variable {names[0]}")


def _sampling(options: ModelOptions, limit_name: str) -> dict[str, Any]:
    """Temperature and length, where they are chosen; some models refuse any temperature."""
    chosen = {"temperature": options.temperature, limit_name: options.max_output_tokens}
    return {name: value for name, value in chosen.items() if value is not None}


def _openai(spec: ModelSpec, options: ModelOptions) -> Provided:
    package = _package("langchain_openai", "openai")
    chat = package.ChatOpenAI(
        model=spec.target,
        api_key=_key("OPENAI_API_KEY"),
        base_url=OPENAI_URL,
        timeout=options.timeout_s,
        max_retries=0,
        stream_usage=True,
        **_sampling(options, "max_tokens"),
    )
    return Provided(chat, _openai_errors())


def _openai_compatible(spec: ModelSpec, options: ModelOptions) -> Provided:
    package = _package("langchain_openai", "openai")
    stays_here = remote_host(spec.url) is None
    chat = package.ChatOpenAI(
        model=spec.target,
        api_key=os.environ.get("GEOSLEUTH_MODEL_KEY", "").strip() or NO_KEY,
        base_url=spec.url,
        timeout=options.timeout_s,
        max_retries=0,
        stream_usage=True,
        use_responses_api=False,
        # No redirects: photos go to the host that was named. No proxy to this machine.
        http_client=LimitedClient(options.timeout_s, trust_env=not stays_here),
        **_sampling(options, "max_tokens"),
    )
    return Provided(chat, _openai_errors())


def _openai_errors() -> tuple[type[Exception], ...]:
    import httpx

    library = importlib.import_module("openai")
    # openai >= 3 speaks HTTP through httpx2, whose errors leave a stream as they are.
    transport = importlib.import_module("httpx2").HTTPError if hasattr(library, "_httpx2") else httpx.HTTPError
    return (library.OpenAIError, transport, httpx.HTTPError)


def _anthropic(spec: ModelSpec, options: ModelOptions) -> Provided:
    package = _package("langchain_anthropic", "anthropic")
    chat = package.ChatAnthropic(
        model=spec.target,
        api_key=_key("ANTHROPIC_API_KEY"),
        base_url=ANTHROPIC_URL,
        timeout=options.timeout_s,
        max_retries=0,
        **_sampling(options, "max_tokens"),
    )
    library = importlib.import_module("anthropic")
    return Provided(chat, (library.AnthropicError, *_http_errors()), shows_results=True)


def _google(spec: ModelSpec, options: ModelOptions) -> Provided:
    package = _package("langchain_google_genai", "google")
    chat = package.ChatGoogleGenerativeAI(
        model=spec.target,
        api_key=_key("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        base_url=GOOGLE_URL,
        timeout=options.timeout_s,
        max_retries=1,  # its library reads 0 as "the default": 1 is the first attempt alone
        **_sampling(options, "max_output_tokens"),
    )
    errors = importlib.import_module("google.genai.errors")
    return Provided(chat, (errors.APIError, *_http_errors()), shows_results=True)


def _ollama(spec: ModelSpec, options: ModelOptions) -> Provided:
    package = _package("langchain_ollama", "ollama")
    url = spec.url or OLLAMA_URL
    chat = package.ChatOllama(
        model=spec.target,
        base_url=url,
        client_kwargs={
            "timeout": options.timeout_s,
            "trust_env": remote_host(url) is not None,
            "follow_redirects": False,
        },
        sync_client_kwargs={"event_hooks": limited_hooks(options.timeout_s)},
        **_sampling(options, "num_predict"),
    )
    library = importlib.import_module("ollama")
    return Provided(chat, (library.ResponseError, library.RequestError, ConnectionError, *_http_errors()))


def _http_errors() -> tuple[type[Exception], ...]:
    import httpx

    return (httpx.HTTPError,)


_PROVIDERS: MappingProxyType[str, Callable[[ModelSpec, ModelOptions], Provided]] = MappingProxyType(
    {
        "openai": _openai,
        "anthropic": _anthropic,
        "google_genai": _google,
        "ollama": _ollama,
        "vllm": _openai_compatible,
        "openai_compatible": _openai_compatible,
    }
)
