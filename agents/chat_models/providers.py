"""Chat models of each provider, through LangChain; packages and keys are checked before anything is sent."""

from __future__ import annotations

import os
import pkgutil
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx
from langchain_core.language_models import BaseChatModel

from agents.chat_models.dialects.requests import Dialect
from agents.chat_models.kinds import MODELS, ModelDescription
from agents.chat_models.spec import ModelOptions, ModelSpec
from core.errors import UserError
from core.redaction import remote_host

MAX_ANSWER_BYTES = 16_000_000
"""Limit of one answer: 32,000 tokens in a stream of JSON events are some 8 MB."""


class AnswerTooLarge(httpx.TransportError):
    """An answer exceeds `MAX_ANSWER_BYTES`."""


_DECODERS: MappingProxyType[str, Callable[[], zlib._Decompress]] = MappingProxyType(
    {"gzip": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16), "deflate": zlib.decompressobj}
)
ACCEPTED_ENCODINGS = {"Accept-Encoding": ", ".join(_DECODERS)}


class _Limited(httpx.SyncByteStream):
    """A body, decompressed, that raises once it takes too long or grows too large."""

    def __init__(self, body: httpx.SyncByteStream, encoding: str, deadline: float, request: httpx.Request) -> None:
        self._body, self._deadline, self._request = body, deadline, request
        self._decoder = _DECODERS[encoding]() if encoding else None

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for piece in self._body:
            plain = self._decompressed(piece, MAX_ANSWER_BYTES + 1 - size)
            size += len(plain)
            if size > MAX_ANSWER_BYTES:
                raise AnswerTooLarge(f"the answer is larger than {MAX_ANSWER_BYTES:,} bytes", request=self._request)
            if time.monotonic() > self._deadline:
                raise httpx.ReadTimeout("the answer takes too long", request=self._request)
            yield plain
        if self._decoder and not self._decoder.eof:
            raise httpx.ReadError("the compressed answer is cut off", request=self._request)

    def _decompressed(self, piece: bytes, limit: int) -> bytes:
        """At most `limit` bytes of a piece, whatever it would grow to."""
        if self._decoder is None:
            return piece
        try:
            return self._decoder.decompress(piece, limit)
        except zlib.error as error:
            raise httpx.DecodingError("the compressed answer is damaged", request=self._request) from error

    def close(self) -> None:
        self._body.close()


def limited_hooks(seconds: float) -> dict[str, list[Callable[..., Any]]]:
    """Event hooks of an `httpx.Client` that put the limits on each answer's body."""

    def limit(response: httpx.Response) -> None:
        if isinstance(response.stream, httpx.SyncByteStream):
            encoding = response.headers.pop("content-encoding", "").strip().casefold().replace("identity", "")
            if encoding and encoding not in _DECODERS:
                raise httpx.DecodingError(f"the answer is compressed as {encoding[:20]!r}", request=response.request)
            response.stream = _Limited(response.stream, encoding, time.monotonic() + seconds, response.request)

    return {"response": [limit]}


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


def _openai(_: str, options: ModelOptions) -> Arguments:
    return {"timeout": options.timeout_s, "max_retries": 0, "stream_usage": True}


def _openai_compatible(url: str, options: ModelOptions) -> Arguments:
    return {
        **_openai(url, options),
        "api_key": os.environ.get("GEOSLEUTH_MODEL_KEY", "").strip() or NO_KEY,
        "use_responses_api": False,
        # No redirects: photos go to the host that was named. No proxy to this machine.
        "http_client": httpx.Client(
            timeout=options.timeout_s,
            trust_env=remote_host(url) is not None,
            follow_redirects=False,
            headers=ACCEPTED_ENCODINGS,
            event_hooks=limited_hooks(options.timeout_s),
        ),
    }


def _google(_: str, options: ModelOptions) -> Arguments:
    return {"timeout": options.timeout_s, "max_retries": 1}  # its library takes 0 for "the default"; 1 is one attempt


def _ollama(url: str, options: ModelOptions) -> Arguments:
    trust_env = remote_host(url) is not None
    return {
        "client_kwargs": {"timeout": options.timeout_s, "trust_env": trust_env, "follow_redirects": False},
        "sync_client_kwargs": {"headers": ACCEPTED_ENCODINGS, "event_hooks": limited_hooks(options.timeout_s)},
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
            "langchain_anthropic:ChatAnthropic",
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
