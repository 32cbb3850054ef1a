"""Schemas of the LMM's replies: the arguments of its tool calls. Models read the texts of these classes."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_PROPOSED = 8
MAX_TEXT_CHARACTERS = 600
MAX_NAME_CHARACTERS = 200


class ModelStatement(BaseModel):
    """Something a model said: validated, never trusted."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class PredictedPlace(ModelStatement):
    """A place: by name, by position, or both. A name without a position is looked up in the gazetteer."""

    name: str = Field("", max_length=MAX_NAME_CHARACTERS, description="from small to large: city, region, country")
    lat: float | None = Field(None, ge=-90.0, le=90.0, allow_inf_nan=False, description="degrees north")
    lon: float | None = Field(None, ge=-180.0, le=180.0, allow_inf_nan=False, description="degrees east")
    radius_km: float | None = Field(
        None, gt=0.0, le=20_100.0, description="half of the probability lies within this distance of the position"
    )
    confidence: float | None = Field(None, ge=0.0, le=1.0, description="probability that this is the place")
    why: str = Field("", max_length=MAX_TEXT_CHARACTERS, description="what in the photo or the data speaks for it")

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if (self.lat is None) is not (self.lon is None):
            raise ValueError("lat and lon come together")
        if self.lat is None and not self.name.strip():
            raise ValueError("give lat and lon, or at least the name of the place")
        return self


class GivePosition(PredictedPlace):
    """Say where the photo was taken: one place, as exactly as the evidence allows."""


class ProposedHypothesis(PredictedPlace):
    """One place where the photo may have been taken."""


class ProposeHypotheses(ModelStatement):
    """Propose distinct places where the photo may have been taken, most likely first."""

    hypotheses: list[ProposedHypothesis] = Field(max_length=MAX_PROPOSED)


class NamePlace(ModelStatement):
    """Name one area of the level that is asked for."""

    name: str = Field(min_length=1, max_length=MAX_NAME_CHARACTERS)
    why: str = Field("", max_length=MAX_TEXT_CHARACTERS, description="what in the photo or the data speaks for it")


class Judgement(ModelStatement):
    """What one observation says about one hypothesis."""

    hypothesis_id: str = Field(max_length=20)
    claim: str = Field(max_length=MAX_TEXT_CHARACTERS, description="what was observed and what follows from it")
    strength: float = Field(
        ge=-3.0, le=3.0, description="above 0 supports, below 0 contradicts; 1 is a mild sign, 3 a decisive one"
    )
    tool_call_id: str | None = Field(
        None, max_length=200, description="the tool call whose result shows it; without one it changes no probability"
    )


class ReviseHypotheses(ModelStatement):
    """Add, merge or reject hypotheses and judge the evidence. Leave a list empty to change nothing."""

    add: list[ProposedHypothesis] = Field(default_factory=list, max_length=MAX_PROPOSED)
    merge: list[tuple[str, str]] = Field(
        default_factory=list, max_length=MAX_PROPOSED, description="pairs of ids that are one place: (kept, absorbed)"
    )
    reject: list[str] = Field(default_factory=list, max_length=20, description="ids that cannot be right")
    judgements: list[Judgement] = Field(default_factory=list, max_length=20)
    settled: bool = Field(False, description="true when further tool calls would not change the outcome")
