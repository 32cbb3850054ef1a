"""The state of one geolocation: narrow input, full state, narrow output.

Everything in it is a value that a checkpoint can hold: no pixels, no models,
no open files. A photo is named by its id; the tools look the pixels up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from langchain_core.messages import AnyMessage
from langgraph.graph.message import add_messages
from pydantic import Field

from agents.schemas import Answer, Cost, Evidence, Frozen, Hypothesis, Origin, add_cost, add_cost_by_model
from geo.point import Point
from retrieval.candidate import Candidate, Region
from retrieval.photos.photo import Photo


class PersonQuestion(Frozen):
    """A question to a person, and what each answer says for the two hypotheses, in nats: people's record bounds it."""

    text: str
    first: str = Field(description="id of the hypothesis that “yes” supports")
    second: str
    names: tuple[str, str]
    on_yes: dict[str, float]
    on_no: dict[str, float]


class ToolRecord(Frozen):
    """One tool call and what it returned: what evidence is made from, and checked against."""

    call_id: str = Field(description="unique in a run; the model's id for its own calls")
    tool: str
    arguments: dict[str, Any]
    result: dict[str, Any] | None = Field(description="the typed result as JSON values; None if the tool failed")
    result_sha256: str | None = Field(description="of the whole result's canonical JSON")
    error: str | None = Field(None, description="the message to the model when the tool failed")


class Opinion(Frozen):
    """A judgement about a hypothesis, by the model or by a person."""

    hypothesis_id: str
    claim: str
    strength_nats: float = Field(ge=-3.0, le=3.0, description="as the model gave it; its record bounds it")
    tool_call_id: str | None = Field(description="the call whose result it interprets; None: none")
    of_a_person: bool = Field(False, description="a person said it when the machine asked")


class Position(Frozen):
    """A place that the model predicted, with its own coordinates or a gazetteer's."""

    name: str
    point: Point
    radius_km: float = Field(gt=0.0, description="holds half of the probability; from the model, or by kind")
    stated_radius_km: float | None = Field(
        None, gt=0.0, description="the model's own radius, or that of the kind of place a name stands for"
    )
    confidence: float | None = Field(None, ge=0.0, le=1.0, description="from the model; None: it gave none")
    why: str = ""
    origin: Origin = Field(Origin.MODEL, description="place_name: the gazetteer's coordinates for a name")
    reply_sha256: str = Field("", description="of the reply's text and tool calls, to check evidence against")
    model: str = Field("", description="name of the model that said it")
    sample: int = Field(0, ge=0, description="which of its independent answers to the same question, from 0")
    rank: int = Field(0, ge=0, description="in its answer: 0 is what it answered with, alternatives follow")
    look: int = Field(0, ge=0, description="0: its first look at the photo; 1: after it saw parts of it enlarged")


class ModelReply(Frozen):
    """What came of asking one model for a structured reply."""

    model: str
    status: str = Field(description="ok, refused, unparsable or failed (`agents.structured_output.position`)")
    problem: str = Field("", description="why there is no value; empty with status ok")


class CaptureClues(Frozen):
    """What is known about when the photo was taken and where the sun stood; all of it may be unknown."""

    taken_at: str | None = Field(None, description="ISO 8601; with an offset or Z an instant, else clock time")
    sun_height_deg: float | None = Field(None, ge=-90.0, le=90.0, description="above the horizon")
    sun_bearing_deg: float | None = Field(None, ge=0.0, lt=360.0, description="clockwise from true north")
    part_of_day: Literal["morning", "noon", "afternoon", "evening", "night"] | None = None


def add_records(known: Sequence[ToolRecord], new: Sequence[ToolRecord]) -> list[ToolRecord]:
    """Append records, one for each call id: a step that is run again after a crash adds nothing twice."""
    return list({record.call_id: record for record in [*known, *new]}.values())


def join(known: Sequence[Any], new: Sequence[Any]) -> list[Any]:
    """One list after the other."""
    return [*known, *new]


class PhotoInput(TypedDict):
    """What a run is given: a photo, or several of one place, of which the first gives the run its name."""

    photo_id: str
    """Names the photo in the photo store; the state never holds pixels."""
    photo_sha256: str
    """Of the file's bytes, in hex."""
    more_photo_ids: NotRequired[list[str]]
    """Further photos of the same place."""
    more_photo_sha256s: NotRequired[list[str]]
    """Of their files, in their order."""
    question: str
    """What the user wants to know, in their words; may be empty."""
    metadata_position: Point | None
    """What the first file that claims one says, only if the user allowed metadata; no model sees it, and it never
    moves the point."""
    metadata_sha256: NotRequired[str]
    """Of that file."""
    clues: NotRequired[CaptureClues | None]
    """When it was taken, from the user, or from the file if they allowed metadata; for the sun check only."""


def photo_ids(state: PhotoInput) -> list[str]:
    """Ids of all photos of a run, the first one first."""
    return [state["photo_id"], *state.get("more_photo_ids", [])]


def query_input(
    photos: Sequence[Photo], question: str, clues: CaptureClues | None, *, allow_metadata: bool
) -> PhotoInput:
    """The input of a run about photos of one place: of their metadata, the first position and the first time."""
    allowed = [(photo, photo.metadata) for photo in photos if photo.metadata and allow_metadata]
    claims = [(photo.sha256, metadata.position) for photo, metadata in allowed if metadata.position]
    times = [metadata.taken_at for _, metadata in allowed if metadata.taken_at]
    return PhotoInput(
        photo_id=photos[0].id,
        photo_sha256=photos[0].sha256,
        more_photo_ids=[photo.id for photo in photos[1:]],
        more_photo_sha256s=[photo.sha256 for photo in photos[1:]],
        question=question,
        metadata_position=claims[0][1] if claims else None,
        metadata_sha256=claims[0][0] if claims else "",
        clues=_with_time(clues, times[0] if times else None),
    )


def photo_hashes(given: PhotoInput) -> frozenset[str]:
    """Of the files of a run's photos, whatever their order."""
    return frozenset((given["photo_sha256"], *given.get("more_photo_sha256s", ())))


def _with_time(clues: CaptureClues | None, taken_at: str | None) -> CaptureClues | None:
    """The user's clues; where they give no time, the file's, which is None unless the user allowed metadata."""
    if taken_at is None or (clues and clues.taken_at):
        return clues
    return (clues or CaptureClues()).model_copy(update={"taken_at": taken_at})


class GeolocateState(PhotoInput):
    """Everything a run knows. Fields without a reducer are replaced by what a node returns."""

    candidates: list[Candidate]
    """Retrieved from every open atlas, most similar first within each."""
    candidate_countries: list[str | None]
    """ISO 3166-1 alpha-2 code at each candidate; None far from any populated place."""
    contrast: list[Candidate]
    """The least similar items of every open atlas; empty unless the strategy shows them."""
    regions: list[Region]
    """Clusters of the candidates, heaviest first."""
    records: Annotated[list[ToolRecord], add_records]
    """Every tool call, in order, one for each call id."""
    opinions: Annotated[list[Opinion], join]
    """Judgements of the model and of a person, in order."""
    positions: Annotated[list[Position], join]
    """What the model predicted: its initial hypotheses, or its final answers, in order."""
    replies: Annotated[list[str], join]
    """Status of each question that wanted a structured reply (`agents.structured_output.position`), in order."""
    model_replies: Annotated[list[ModelReply], join]
    """The same with the model that was asked and why there was no value, in order."""
    hypotheses: list[Hypothesis]
    """All hypotheses, also rejected and merged ones. Open ones and elsewhere have a sum of 1."""
    evidence: list[Evidence]
    """Computed from all records and opinions for the hypotheses as they stand."""
    messages: Annotated[list[AnyMessage], add_messages]
    """The conversation with the model, without the system prompt and the photo, which are put in at each call."""
    round: int
    """How many times the model has investigated; counts from 0."""
    settled: bool
    """Nothing changed in the last round, or the truth is surely near enough, or the model said so."""
    question_posed: PersonQuestion | None
    """What a person is to be asked before committing; None: nothing."""
    notes: Annotated[list[str], join]
    """What the answer has to mention: a budget that was spent, a step that failed."""
    cost: Annotated[Cost, add_cost]
    """Spent so far: calls, tokens, US dollars, seconds."""
    cost_by_model: Annotated[dict[str, Cost], add_cost_by_model]
    """What of it each model took; its seconds overlap with those of models asked side by side."""


class AnswerOutput(TypedDict):
    """What a run gives back."""

    answer: Answer
    """The committed answer, or an abstention."""


class FullState(GeolocateState, AnswerOutput):
    """All channels of the graph."""
