"""What models cost: a shipped table of list prices with dates and sources, and the user's own over it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

from langchain_core.messages.ai import UsageMetadata
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from core.errors import UserError


class Price(BaseModel):
    """List price of a model, in US dollars a million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0.0)
    output: float = Field(ge=0.0)
    cached_input: float | None = Field(None, ge=0.0, description="of input tokens that the provider had cached")
    date: str = Field("", description="when it was read, YYYY-MM-DD")
    source: str = Field("", description="where")

    def usd(self, usage: UsageMetadata) -> float:
        """Of a call with this usage."""
        cached = (usage.get("input_token_details") or {}).get("cache_read", 0) if self.cached_input is not None else 0
        dollars = (usage["input_tokens"] - cached) * self.input + usage["output_tokens"] * self.output
        return (dollars + cached * (self.cached_input or 0.0)) / 1e6


FREE = Price(input=0.0, output=0.0)
_RELEASE = re.compile(r"-(?:\d{8}|\d{4}-\d{2}-\d{2}|latest)\Z")
_TABLE = TypeAdapter(dict[str, Price])


def find_price(model: str, own: Path | None = None) -> Price | None:
    """The price of a model by its spec without the URL, as in `openai:gpt-4o`; None if it is not known.

    A name with its release behind it, as in `openai:gpt-4o-2024-08-06`, has the price of the name without.

    Raises:
        UserError: the user's file cannot be read.
    """
    table = {**shipped_prices(), **(_own_prices(own) if own else {})}
    return table.get(model) or table.get(_RELEASE.sub("", model))


@cache
def shipped_prices() -> Mapping[str, Price]:
    """agents/data/prices.json."""
    return _TABLE.validate_json(resources.files("agents").joinpath("data/prices.json").read_bytes())


def _own_prices(path: Path) -> dict[str, Price]:
    shape = '{"openai:NAME": {"input": USD, "output": USD}}, in US dollars a million tokens'
    try:
        return _TABLE.validate_json(path.read_bytes())
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(f"the price file {path} cannot be read ({error}): write {shape}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"the price file {path} cannot be used ({where}: {first['msg']}): write {shape}") from error
