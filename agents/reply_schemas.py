"""Schemas of the LMM's replies: the arguments of its tool calls. Models read the texts of these classes.

Observations and reasoning come before coordinates: a model writes in this order, and what it has written is what it
goes by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)

from tools.results import Box

MAX_PROPOSED = 8
MAX_ALTERNATIVES = 4
MAX_ENLARGED = 4
"""Parts of the photo that a model may ask to see enlarged at once."""
MAX_TEXT_CHARACTERS = 600
MAX_OBSERVATIONS_CHARACTERS = 1_500
MAX_NAME_CHARACTERS = 200


class ModelStatement(BaseModel):
    """Something a model said: validated, never trusted."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _asked_for(*fields: str) -> Callable[[dict[str, Any]], None]:
    """Fields that a schema names as required, so that models fill them, though a reply without them is read too."""

    def require(schema: dict[str, Any]) -> None:
        known = [*fields, *schema.get("required", [])]
        schema["required"] = [name for name in schema["properties"] if name in known]

    return require


class Observed(ModelStatement):
    """What a model sees, and what it makes of it, before it names a place."""

    model_config = ConfigDict(json_schema_extra=_asked_for("observations", "reasoning"))

    observations: str = Field(
        "",
        max_length=MAX_OBSERVATIONS_CHARACTERS,
        description="first: what can be seen or read that bears on the place, without conclusions",
    )
    reasoning: str = Field(
        "",
        max_length=MAX_OBSERVATIONS_CHARACTERS,
        description="then: which places fit, which would be confused with them, and what tells them apart",
    )

    @field_validator("observations", "reasoning", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        """A list of remarks is a text too."""
        text = "; ".join(map(str, value)) if isinstance(value, list) else value
        return text[:MAX_OBSERVATIONS_CHARACTERS] if isinstance(text, str) else text


_OF_A_PLACE = ("name", "lat", "lon", "radius_km", "confidence")


class PredictedPlace(ModelStatement):
    """A place: by name, by position, or both. A name without a position is looked up in the gazetteer."""

    model_config = ConfigDict(json_schema_extra=_asked_for(*_OF_A_PLACE))

    name: str = Field("", max_length=MAX_NAME_CHARACTERS, description="from small to large: city, region, country")
    lat: float | None = Field(None, ge=-90.0, le=90.0, allow_inf_nan=False, description="degrees north")
    lon: float | None = Field(None, ge=-180.0, le=180.0, allow_inf_nan=False, description="degrees east")
    radius_km: float | None = Field(
        None, gt=0.0, le=20_100.0, description="half of the probability lies within this distance of the position"
    )
    confidence: float | None = Field(
        None, ge=0.0, le=1.0, description="probability that it is this place; over all places given at most 1"
    )
    why: str = Field("", max_length=MAX_TEXT_CHARACTERS, description="in a few words: what speaks for this place")

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if (self.lat is None) is not (self.lon is None):
            raise ValueError("lat and lon come together")
        if self.lat is None and not self.name.strip():
            raise ValueError("give lat and lon, or at least the name of the place")
        return self


class AlternativePlace(PredictedPlace):
    """Where the photo may have been taken instead."""


class GivePosition(PredictedPlace, Observed):
    """Say where the photo was taken: one place, as exactly as the evidence allows, and what it may be instead."""

    model_config = ConfigDict(json_schema_extra=_asked_for("observations", "reasoning", *_OF_A_PLACE))

    alternatives: list[AlternativePlace] = Field(
        default_factory=list,
        max_length=MAX_ALTERNATIVES,
        description="other places, likeliest first, with shares",
    )


class PhotoBox(Box):
    """A part of one of several photos."""

    photo_id: str = Field("", description="of the photo that it is a part of; empty: of the first")


def _box(value: Any) -> PhotoBox | None:
    """A box from an object, or from left, top, right and bottom in a list."""
    edges = dict(zip(Box.model_fields, value, strict=False)) if isinstance(value, list) else value
    try:
        return PhotoBox.model_validate(edges)
    except ValidationError:
        return None


class ProposedHypothesis(PredictedPlace):
    """One place where the photo may have been taken."""


class ProposeHypotheses(Observed):
    """Propose distinct places where the photo may have been taken, most likely first."""

    hypotheses: list[ProposedHypothesis] = Field(max_length=MAX_PROPOSED)
    look_closer: list[Box] = Field(
        default_factory=list,
        max_length=MAX_ENLARGED,
        description="parts of the photo that would tell these places apart if you saw them enlarged, as fractions of"
        " its width and height from the top left",
    )

    @field_validator("look_closer", mode="before")
    @classmethod
    def _usable_boxes(cls, value: Any) -> Any:
        """Boxes that are none are left out: the places count, whatever the model would have liked to see."""
        found = [box for item in value if (box := _box(item))] if isinstance(value, list) else []
        return found[:MAX_ENLARGED]


ProposeTogether = create_model(
    ProposeHypotheses.__name__,
    __base__=ProposeHypotheses,
    __doc__="Propose distinct places where the photos, all of one place, may have been taken, most likely first.",
    look_closer=(
        list[PhotoBox],
        Field(
            default_factory=list,
            max_length=MAX_ENLARGED,
            description="parts of the photos that would tell these places apart if you saw them enlarged, each with"
            " its photo's id, as fractions of that photo's width and height from the top left",
        ),
    ),
)
"""The same where several photos of one place are shown: a part to enlarge names its photo."""


class NamePlace(ModelStatement):
    """Name one area of the level that is asked for."""

    why: str = Field("", max_length=MAX_TEXT_CHARACTERS, description="what in the photo or the data speaks for it")
    name: str = Field(min_length=1, max_length=MAX_NAME_CHARACTERS)


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
    """Judge what the tools returned, and add, merge or reject hypotheses. Leave out what does not change."""

    judgements: list[Judgement] = Field(default_factory=list, max_length=20)
    add: list[ProposedHypothesis] = Field(default_factory=list, max_length=MAX_PROPOSED)
    merge: list[tuple[str, str]] = Field(
        default_factory=list, max_length=MAX_PROPOSED, description="pairs of ids that are one place: (kept, absorbed)"
    )
    reject: list[str] = Field(default_factory=list, max_length=20, description="ids that cannot be right")
    settled: bool = Field(False, description="true if no further tool call would change the outcome: it ends the work")


class StatedFact(ModelStatement):
    """One thing that the person states about where or when the photo was taken. Fill in what it is about."""

    words: str = Field(min_length=2, max_length=300, description="the person's own words that say it, copied")
    is_denied: bool = Field(False, description="true if they say that it is not so: “not Portugal”")
    countries: list[str] = Field(
        default_factory=list, max_length=40, description="ISO 3166-1 alpha-2 codes: it is in one of these countries"
    )
    languages: list[str] = Field(
        default_factory=list,
        max_length=12,
        description="ISO 639-1 codes of the writing; of a script, all of its",
    )
    place: str = Field("", max_length=100, description="name of a town or region that it is in or near, and no more")
    taken_at: str | None = Field(
        None,
        max_length=40,
        description="ISO 8601, such as 2024-03-15T12:00: any year and the 15th where they are not said; an offset only"
        " if they say it",
    )

    @field_validator("countries", "languages")
    @classmethod
    def _codes(cls, codes: list[str], info: ValidationInfo) -> list[str]:
        upper = info.field_name == "countries"
        return [code.strip().upper() if upper else code.strip().lower() for code in codes]

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.countries or self.languages or self.place or self.taken_at):
            raise ValueError("say which country, language, place or time it is about")
        return self


class NoteFacts(ModelStatement):
    """Note what the person states about the photo, or takes back. Only what they state as so: not what they ask, and
    not what you conclude. It becomes evidence with the person as its source.
    """

    facts: list[StatedFact] = Field(default_factory=list, max_length=8)
    retract: list[str] = Field(
        default_factory=list, max_length=8, description="ids of evidence of the person that they take back, such as E7"
    )
