"""Immutable models: what values and settings are made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Immutable(BaseModel):
    """An immutable model; fields that it does not know are left out."""

    model_config = ConfigDict(frozen=True)


class Frozen(Immutable):
    """An immutable model that rejects unknown fields."""

    model_config = ConfigDict(extra="forbid")
