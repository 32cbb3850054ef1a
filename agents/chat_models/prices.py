"""Prices of models' tokens: the user's own file, and list prices from the data bundled with genai-prices.

genai-prices (MIT licence) comes with the extras of hosted models. Its data is part of the package and as old as the
installed version; it is never updated over the network. A price found there is the one in force today.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from langchain_core.messages.ai import UsageMetadata
from pydantic import Field, TypeAdapter, ValidationError

from agents.chat_models.kinds import MODELS
from agents.chat_models.spec import ModelSpec
from agents.schemas import Frozen
from core.errors import UserError, first_problem


class Price(Frozen):
    """Price of a model, in US dollars a million tokens."""

    input: float = Field(ge=0.0)
    output: float = Field(ge=0.0)
    cached_input: float | None = Field(None, ge=0.0, description="of input tokens that the provider had cached")
    cache_write: float | None = Field(None, ge=0.0, description="of input tokens that are put into the cache")
    date: str = Field("", description="when it was read, YYYY-MM-DD")
    source: str = Field("", description="where")

    def usd(self, usage: UsageMetadata) -> float:
        """Cost in US dollars of a call with this usage."""
        read, written = cached_tokens(usage), _cache_written_tokens(usage)
        plain = max(0, usage["input_tokens"] - read - written)
        dollars = plain * self.input + usage["output_tokens"] * self.output
        dollars += read * (self.input if self.cached_input is None else self.cached_input)
        return (dollars + written * (self.input if self.cache_write is None else self.cache_write)) / 1e6


def cached_tokens(usage: UsageMetadata) -> int:
    """Input tokens that the provider had cached."""
    return (usage.get("input_token_details") or {}).get("cache_read") or 0


def _cache_written_tokens(usage: UsageMetadata) -> int:
    """Input tokens that the provider has put into its cache: Anthropic charges more for them."""
    details: Mapping[str, Any] = usage.get("input_token_details") or {}
    names = ("cache_creation", "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
    return sum(details.get(name) or 0 for name in names)


FREE = Price(input=0.0, output=0.0)
PRICES_PACKAGE = "genai-prices"
_RELEASE = re.compile(r"-(?:\d{8}|\d{4}-\d{2}-\d{2}|latest)\Z")
_TABLE = TypeAdapter(dict[str, Price])
_PROBE_TOKENS = 1_000
"""Below the least number of tokens at which any list price has a second tier."""


def find_price(spec: ModelSpec, own: Path | None = None) -> Price | None:
    """The price of a model, from the user's file first; None if it is not known.

    In the file a model is named by its spec without the URL, as in `openai:gpt-4o`; a name with its release behind it,
    as in `openai:gpt-4o-2024-08-06`, has the price of the name without.

    Raises:
        UserError: the user's file cannot be read.
    """
    table = _own_prices(own) if own else {}
    model = f"{spec.kind}:{spec.target}"
    return table.get(model) or table.get(_RELEASE.sub("", model)) or list_price(spec)


def why_unknown(spec: ModelSpec) -> str:
    """Why a model has no price, and what to do."""
    if MODELS[spec.kind].prices and _package() is None:
        return f"the package {PRICES_PACKAGE} is not installed; install it, or give the price in a file of prices"
    return "give it in a file of prices"


def list_price(spec: ModelSpec) -> Price | None:
    """The provider's list price for prompts below any second tier; None if genai-prices is missing or has none."""
    provider, package = MODELS[spec.kind].prices, _package()
    if provider is None or package is None:
        return None

    def per_million(**tokens: int) -> float:
        found = package.calc_price(package.Usage(**tokens), spec.target, provider_id=provider)
        return float(found.total_price * (1_000_000 // _PROBE_TOKENS))

    try:
        price = Price(
            input=per_million(input_tokens=_PROBE_TOKENS),
            output=per_million(output_tokens=_PROBE_TOKENS),
            cached_input=per_million(input_tokens=_PROBE_TOKENS, cache_read_tokens=_PROBE_TOKENS),
            cache_write=per_million(input_tokens=_PROBE_TOKENS, cache_write_tokens=_PROBE_TOKENS),
            source=f"{PRICES_PACKAGE} {package.__version__}",
        )
    except LookupError:
        return None
    # Without any price of tokens the model is charged otherwise, as by the picture or the minute.
    return price if price.input or price.output else None


def _package() -> ModuleType | None:
    try:
        import genai_prices
    except ImportError:
        return None
    return genai_prices


def _own_prices(path: Path) -> dict[str, Price]:
    shape = '{"openai:NAME": {"input": USD, "output": USD}}, in US dollars a million tokens'
    try:
        return _TABLE.validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"the price file {path} cannot be read ({error}): write {shape}") from error
    except ValidationError as error:
        raise UserError(f"the price file {path} cannot be used ({first_problem(error)}): write {shape}") from error
