"""How a model is used, and what it can do by itself."""

from __future__ import annotations

from pathlib import Path

from langchain_core.caches import BaseCache
from pydantic import BaseModel, ConfigDict, Field


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
