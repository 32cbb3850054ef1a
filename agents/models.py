"""Who sits in the LMM's seat: the only registry of chat models."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from pydantic import BaseModel, ConfigDict, Field

from agents.offline import OfflineReasoner
from geo.errors import UserError


class ModelDescription(BaseModel):
    """A model that can be asked for by name."""

    model_config = ConfigDict(frozen=True)

    name: str
    summary: str
    leaves_the_machine: bool = Field(description="whether photos and questions are sent to somebody else")
    usd_per_million_input_tokens: float = Field(ge=0.0)
    usd_per_million_output_tokens: float = Field(ge=0.0)
    load: Callable[[], BaseChatModel] = Field(repr=False)

    def usd(self, answer: AIMessage) -> float:
        """What a call cost, from the tokens it reports; 0 where it reports none."""
        used = answer.usage_metadata
        if used is None:
            return 0.0
        dollars = used["input_tokens"] * self.usd_per_million_input_tokens
        dollars += used["output_tokens"] * self.usd_per_million_output_tokens
        return dollars / 1e6


_REGISTERED = (
    ModelDescription(
        name="offline",
        summary="rules over tool results; no LMM, does not look at the picture",
        leaves_the_machine=False,
        usd_per_million_input_tokens=0.0,
        usd_per_million_output_tokens=0.0,
        load=OfflineReasoner,
    ),
)
MODELS: MappingProxyType[str, ModelDescription] = MappingProxyType({model.name: model for model in _REGISTERED})


def find_model(name: str) -> ModelDescription:
    """The description of a model.

    Raises:
        UserError: no such model; the message lists the valid ones.
    """
    if name not in MODELS:
        raise UserError(f"unknown model {name!r}: choose one of {', '.join(sorted(MODELS))}")
    return MODELS[name]
