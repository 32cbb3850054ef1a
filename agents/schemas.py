"""Evidence, hypotheses and answers: one schema for chat, API and evals."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from core.frozen import Frozen as Frozen
from geo.place import Place
from geo.point import Point
from retrieval.candidate import Candidate, MatchedTile


class Source(Frozen):
    """The tool call behind a piece of evidence, so that it can be checked."""

    tool: str
    arguments: dict[str, Any]
    result_sha256: str = Field(description="of the tool's result as canonical JSON")


class EvidenceKind(StrEnum):
    """Kind of a claim."""

    RETRIEVAL = "retrieval"
    SIGN = "sign"
    LANGUAGE = "language"
    PLACE_NAME = "place_name"
    GEOCODE = "geocode"
    LOOKALIKE = "lookalike"
    """Found by searching with a crop, or near a point, beyond the search with the whole photo."""
    SATELLITE = "satellite"
    SUN = "sun"
    METADATA = "metadata"
    SIGHT = "sight"
    """What a model says of the picture: its initial prediction, or its own answer."""
    JUDGEMENT = "judgement"
    """The model's judgement of a tool result."""
    PERSON = "person"
    """A person's answer to a question of the system, or a fact that a person states."""
    OPINION = "opinion"


class Evidence(Frozen):
    """One claim, and what it did to each hypothesis and to the whole belief.

    A claim without a source is the model's opinion, and has no weight.
    """

    id: str
    kind: EvidenceKind
    claim: str
    source: Source | None
    log_likelihood_ratio: dict[str, float] = Field(
        default_factory=dict,
        description="by hypothesis id: how much it raised the log-odds, in nats, all other evidence given",
    )
    information_nats: float = Field(
        0.0, ge=0.0, description="what it told: divergence of the belief with it from the belief without it"
    )
    judged: str | None = Field(None, description="id of the hypothesis that a judgement is about")


class HypothesisStatus(StrEnum):
    """Only open hypotheses have a probability."""

    OPEN = "open"
    REJECTED = "rejected"
    MERGED = "merged"


class Origin(StrEnum):
    """Origin of a hypothesis."""

    MODEL = "model"
    REGION = "region"
    """A cluster of retrieved candidates."""
    CANDIDATE = "candidate"
    """A retrieved candidate by itself."""
    PLACE_NAME = "place_name"
    """A gazetteer's position for a name that the model gave without coordinates."""
    PERSON = "person"
    BELIEF = "belief"
    """A mode of the belief that nobody had raised."""


class Hypothesis(Frozen):
    """A place the photo may have been taken at."""

    id: str
    name: str
    point: Point
    radius_km: float = Field(ge=0.0)
    probability: float = Field(ge=0.0, le=1.0)
    evidence_ids: tuple[str, ...] = ()
    status: HypothesisStatus = HypothesisStatus.OPEN
    origin: Origin = Origin.MODEL


class PointSource(StrEnum):
    """Where the coordinates of the answer's point come from."""

    RETRIEVED_PHOTO = "retrieved_photo"
    """A geotagged photo of an atlas."""
    RETRIEVED_PLACE = "retrieved_place"
    """A coordinate of a GPS atlas."""
    REGION_CENTRE = "region_centre"
    """The medoid of a cluster of candidates."""
    NAMED_PLACE = "named_place"
    """A gazetteer's position for a place that a sign or the model names."""
    MODEL = "model"
    """The model's own coordinates."""
    SATELLITE_TILE = "satellite_tile"
    """The middle of a satellite tile that matches the photo."""
    PERSON = "person"
    BELIEF = "belief"
    """The best point of the belief, between or beside what was reported."""


class Level(StrEnum):
    """Granularity of an answer, finest first."""

    STREET = "street"
    CITY = "city"
    REGION = "region"
    COUNTRY = "country"
    CONTINENT = "continent"


LEVEL_KM = {Level.STREET: 1.0, Level.CITY: 25.0, Level.REGION: 200.0, Level.COUNTRY: 750.0, Level.CONTINENT: 2500.0}
"""The distance of each level: an answer's confidence is the chance that the truth lies within it."""


class AnswerStatus(StrEnum):
    """Outcome of a run. Abstaining is a way to answer; with the last three the model gave nothing to use."""

    ANSWERED = "answered"
    ABSTAINED = "abstained"
    REFUSED = "refused"
    """The model declined to say where the photo was taken."""
    UNPARSABLE = "unparsable"
    """The model's reply holds no usable answer, nor did its one repair."""
    FAILED = "failed"
    """The model could not be reached, or broke off, after all retries."""


LonLat = tuple[float, float]
"""Degrees east, degrees north: the order of GeoJSON."""


class CredibleArea(Frozen):
    """The smallest area of the Earth that holds the truth in a share of such cases."""

    share: float = Field(gt=0.0, lt=1.0, description="of such cases, in which it holds the truth")
    area_km2: float = Field(ge=0.0)
    outline_km2: float | None = Field(
        None, description="what the polygons cover: far more than `area_km2` where it lies in many scattered places"
    )
    polygons: tuple[tuple[tuple[LonLat, ...], ...], ...] = Field(
        description="coordinates of a GeoJSON MultiPolygon: polygons of rings (the outer one first) of (lon, lat)"
    )


class TileMatch(MatchedTile):
    """A satellite tile that the photo was compared with, as an answer names it."""

    probability: float = Field(ge=0.0, le=1.0, description="of the belief, that the photo was taken in it")
    jpeg_base64: str = Field("", repr=False, description="its picture; empty where that cannot be had")


class Cost(Frozen):
    """Resources that a run has used; seconds of work, not of waiting for a person."""

    model_calls: int = 0
    tool_calls: int = 0
    tokens: int = Field(0, description="read and written")
    input_tokens: int = Field(0, description="read, the cached ones included")
    output_tokens: int = Field(0, description="written, reasoning included")
    cached_tokens: int = Field(0, description="read from the provider's cache, which costs less")
    usd: float = 0.0
    seconds: float = 0.0


def add_cost(spent: Cost, more: Cost) -> Cost:
    """Sum of two costs, field by field."""
    return Cost(**{name: getattr(spent, name) + getattr(more, name) for name in Cost.model_fields})


def add_cost_by_model(spent: dict[str, Cost], more: dict[str, Cost]) -> dict[str, Cost]:
    """Sums of costs, model by model."""
    return {name: add_cost(spent.get(name, Cost()), more.get(name, Cost())) for name in {**spent, **more}}


class Versions(Frozen):
    """Versions of all that produced an answer, enough to reproduce it."""

    geosleuth: str
    encoder: str = Field(description="name@revision; empty: no atlas was searched")
    atlases: tuple[str, ...]
    model: str
    strategy: str
    satellite_atlas: str = Field("", description="whose tiles photos are compared with; empty: none")
    satellite_encoder: str = Field("", description="name@revision of the encoder that compares them; empty: none")


TELLING_NATS = 0.2
"""Evidence that told less is not spoken of."""


class Answer(Frozen):
    """Where a photo was taken, with confidence and reasons; or an abstention."""

    photo_sha256: str
    more_photo_sha256s: tuple[str, ...] = Field(
        (), description="of further photos of the same place, asked about together"
    )
    status: AnswerStatus
    point: Point | None = Field(description="None: abstained")
    place: Place | None = Field(description="the populated place nearest to the point")
    point_source: PointSource | None = Field(None, description="where its coordinates come from; None: no point")
    model_status: str | None = Field(
        None,
        description="ok, refused, unparsable or failed: the best that the model's replies were; None: it was not asked."
        " An answer with any status but ok rests on retrieval and signs alone, and its reasoning says so",
    )
    radius_50_km: float | None
    radius_90_km: float | None
    radius_is_calibrated: bool
    level: Level | None
    confidence: float = Field(
        ge=0.0, le=1.0, description="chance that the truth lies within the distance of the answer's level"
    )
    chance_within_km: dict[int, float] = Field(
        default_factory=dict, description="chance that the truth lies within 1, 25, 200, 750 and 2500 km of the point"
    )
    area_50_km2: float | None = Field(
        None, description="of the smallest area that holds the truth in half of such cases"
    )
    area_90_km2: float | None = Field(None, description="the same in nine tenths")
    areas: tuple[CredibleArea, ...] = Field(
        (), description="smallest areas that hold the truth in 25, 50, 75 and 90 % of such cases, smallest first"
    )
    reasoning: str
    hypotheses: tuple[Hypothesis, ...] = Field(
        description="the committed one first, then the alternatives, most probable first"
    )
    evidence: tuple[Evidence, ...]
    candidates: tuple[Candidate, ...] = ()
    matches: tuple[TileMatch, ...] = Field(
        (),
        description="satellite tiles that it was compared with: those that hold most of the belief, at most 5",
    )
    metadata_position: Point | None = Field(None, description="what the file claims, only if the user allowed metadata")
    cost: Cost
    cost_by_model: dict[str, Cost] = Field(default_factory=dict, description="of a jury: what each model used")
    versions: Versions

    @property
    def photo_sha256s(self) -> tuple[str, ...]:
        """Of all photos that it is about."""
        return (self.photo_sha256, *self.more_photo_sha256s)
