"""Immutable models: what values and settings are made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Immutable(BaseModel):
    """An immutable model; fields that it does not know are left out, and its numbers are finite.

    JSON has no NaN and no infinity: pydantic reads them nevertheless, and writes them as null.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Frozen(Immutable):
    """An immutable model that rejects unknown fields."""

    model_config = ConfigDict(extra="forbid")
