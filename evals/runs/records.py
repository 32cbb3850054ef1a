"""Records: one line of JSON a photo and strategy, and what a run was. Everything that scores reads only these.

A run folder holds `run.json` (a `RunInfo`) and `records.jsonl` (an `EvalRecord` a line). Serialisation is byte-stable:
the same record always gives the same line, and only the seconds of its costs depend on the clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import ConfigDict, Field, ValidationError

from agents.schemas import AnswerStatus, Cost, EvidenceKind, Level
from core.errors import UserError, first_problem
from core.files import write_atomic
from core.frozen import Frozen, Immutable
from core.jsonl_log import whole_lines
from evals.runs.transcripts import TranscriptCall
from geo.place import Place
from retrieval.candidate import AtlasKind

RECORDS_FILE = "records.jsonl"
INFO_FILE = "run.json"
CANDIDATES_OF_EACH_ATLAS = 20

LatLon = tuple[
    Annotated[float, Field(ge=-90.0, le=90.0, allow_inf_nan=False)],
    Annotated[float, Field(ge=-180.0, le=180.0, allow_inf_nan=False)],
]
"""Degrees, latitude first."""


class Protocol(StrEnum):
    """Under which rules a run was made."""

    PUBLISHED = "published"
    """As the benchmark is usually run: every photo of it, every reference item there is."""
    CLEAN = "clean"
    """Reference items of the same photographer, or nearly the same picture, are hidden from each query."""


class RecordStatus(StrEnum):
    """How a photo ended: an answer's status, or `error` where the system raised an error."""

    ANSWERED = AnswerStatus.ANSWERED.value
    ABSTAINED = AnswerStatus.ABSTAINED.value
    REFUSED = AnswerStatus.REFUSED.value
    UNPARSABLE = AnswerStatus.UNPARSABLE.value
    FAILED = AnswerStatus.FAILED.value
    ERROR = "error"


class Flag(StrEnum):
    """What is odd about a photo; it stays in the denominator, and tables count it."""

    PLACEHOLDER = "placeholder"
    """A stand-in such as "this photo is no longer available": one picture, or hardly any detail."""
    NEAR_DUPLICATE = "twin"
    """Nearly the same picture as another photo of the benchmark."""


class PlaceNames(Frozen):
    """The administrative names at a position, by the gazetteer in the package."""

    country_code: str
    region: str | None
    city: str | None

    @classmethod
    def of(cls, place: Place | None) -> Self | None:
        """The names of a place; None far from any."""
        return None if place is None else cls(country_code=place.country_code, region=place.region, city=place.city)


class EvidenceNote(Frozen):
    """A piece of evidence in short."""

    kind: EvidenceKind
    claim: str
    tool: str | None = Field(description="None: the model's opinion")
    nats: float = Field(description="log-likelihood ratio for the committed hypothesis; 0 if it has none")
    information_nats: float | None = Field(None, description="what it told of the whole; None: the answer does not say")


class HypothesisNote(Frozen):
    """A hypothesis in short."""

    name: str
    point: LatLon
    radius_km: float
    probability: float


class TileNote(Frozen):
    """A satellite tile that the photo was compared with; its name, source and date are untrusted."""

    title: str = Field(description="its id, with source and date")
    point: LatLon = Field(description="its middle")
    similarity: float
    probability: float = Field(description="of the belief, that the photo was taken in it")
    jpeg_base64: str = Field("", repr=False, description="its picture; empty where it was not at hand")


class CandidateNote(Frozen):
    """A retrieved place in short; position to 6 decimals, similarity to 6."""

    atlas: str
    kind: AtlasKind
    rank: int
    similarity: float
    point: LatLon
    item_id: str


class PredictionNote(Frozen):
    """A place that a model's initial prediction named."""

    model: str = Field("", description="its spec; empty in records of earlier versions: the model of the run")
    point: LatLon
    radius_km: float | None = Field(None, description="stated by the model; None if it stated none")
    confidence: float | None = Field(description="the model's own; None if it gave none")


class JudgementNote(Frozen):
    """What the model made of a tool's result for one hypothesis."""

    point: LatLon = Field(description="the hypothesis' point")
    tool: str
    fits: bool = Field(description="whether it judged that the result supports the hypothesis")


class Scored(Immutable):
    """The part of a record that scoring needs; reading it skips the rest of the line, 8 times as fast.

    `distance_km` is None unless there is a point: such a photo is a miss at every threshold and stays counted.
    """

    benchmark: str
    protocol: Protocol
    strategy: str
    model: str
    encoder: str
    photo: str = Field(description="the photo's id in the benchmark; of several of one place, COLUMN=VALUE")
    photo_sha256: str | None = Field(description="of the file; None if it could not be read")
    author: str | None
    truth: LatLon
    truth_place: PlaceNames | None
    status: RecordStatus
    point: LatLon | None
    distance_km: float | None = Field(description="great circle from truth to point")
    radius_50_km: float | None
    radius_90_km: float | None
    calibrated: bool = Field(False, description="whether radii and confidence are corrected by a calibration")
    confidence: float | None = Field(
        description="chance that the truth lies within the distance of the level; without `chance_within_km` (earlier"
        " versions) that it lies in the committed hypothesis. None where there is no answer at all (status error)"
    )
    chance_within_km: dict[int, float] = Field({}, description="stated chance by distance in km; empty: none stated")
    area_50_km2: float | None = Field(None, description="of the smallest area that holds half; None: none stated")
    area_90_km2: float | None = None
    is_in_area_50: bool | None = Field(None, description="whether the truth lies in it; None: none stated")
    is_in_area_90: bool | None = None
    log_density: float | None = Field(None, description="of the belief at the truth, in nats per km2; None: not known")
    information_nats: dict[str, float] | None = Field(
        None, description="by kind of evidence, added up over its pieces; None: the answer does not say"
    )
    level: Level | None
    place: PlaceNames | None
    hypotheses: tuple[HypothesisNote, ...] = Field(description="the committed one first")
    excluded: int = Field(description="reference items hidden from this query (clean protocol)")
    flags: tuple[Flag, ...]
    strata: dict[str, str | float]
    error: str | None = Field(description="what broke, on one line: the system, or the way to the model")
    cost: Cost = Field(description="of the answer, whether or not replies came from the cache")
    cost_by_model: dict[str, Cost] = Field({}, description="of a jury: what each model used")
    asked: str = Field("", description="sha256 of all that its strategy asks; empty: an earlier version")
    model_status: str | None = Field(None, description="the best of the model's replies; None: it was not asked")
    is_model_unreachable: bool = Field(False, description="whether no model could be reached at all")

    @property
    def model_failed(self) -> bool:
        """Whether the model brought no reply after all retries; such a photo is asked again when the run goes on."""
        return self.status is RecordStatus.FAILED or self.model_status == RecordStatus.FAILED.value

    @property
    def photographer(self) -> str:
        """The author; where none is known, the photo's own id."""
        return self.author or self.photo

    @property
    def key(self) -> tuple[str, str]:
        """Photo and strategy: unique in a run."""
        return self.photo, self.strategy


class EvalRecord(Scored):
    """What one strategy made of one photo: the scored part, then what people want to see."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    photos: tuple[str, ...] = Field((), description="ids of photos of one place that were one query; empty: one photo")
    evidence: tuple[EvidenceNote, ...]
    first_reading: tuple[PredictionNote, ...] = Field(
        (), description="places that models named before they saw any result"
    )
    judgements: tuple[JudgementNote, ...] = Field((), description="of results of tools, by the model")
    candidates: tuple[CandidateNote, ...] = Field(description="the 20 best of each atlas, most similar first")
    matches: tuple[TileNote, ...] = Field((), description="satellite tiles that hold most of the belief")
    reasoning: str
    raw_replies: tuple[str, ...] = Field(description="what the model wrote, one a call, tool calls as JSON")
    calls: tuple[TranscriptCall, ...] = Field((), exclude=True, description="kept apart, in the run's transcripts")

    def line(self) -> bytes:
        """The record as one line of JSON."""
        return self.model_dump_json().encode() + b"\n"

    def untimed(self) -> Self:
        """The same record with its times set to 0, to compare runs."""
        costs = {model: cost.model_copy(update={"seconds": 0.0}) for model, cost in self.cost_by_model.items()}
        own = self.cost.model_copy(update={"seconds": 0.0})
        return self.model_copy(update={"cost": own, "cost_by_model": costs})


class Partial(Frozen):
    """Which part of a benchmark was run; it stands above every table."""

    expected: int = Field(description="photos of the whole benchmark")
    on_disk: int = Field(description="photos found")
    run: int = Field(description="photos run: fewer still with --limit or --only")
    why: str

    def __str__(self) -> str:
        return f"PARTIAL: {self.run} of {self.expected} photos ({self.why})"


class Replaced(Frozen):
    """Records that were put aside because their strategy was asked again."""

    strategy: str
    file: str = Field(description="in the run's folder")
    records: int
    asked: dict[str, str] = Field(description="sha256 of each part of what the strategy asked then")


class RunInfo(Frozen):
    """What a run was: enough to run it again, and to know which runs may be compared."""

    format: int = 1
    benchmark: str
    protocol: Protocol
    strategies: tuple[str, ...]
    model: str
    encoder: str = Field(description="name@revision")
    atlases: tuple[str, ...]
    expected: int = Field(description="photos of the whole benchmark")
    photos: int = Field(description="photos, or places, of this run: the denominator of every strategy")
    together: str | None = Field(None, description="column by whose values photos were one query; None: each alone")
    photos_sha256: str = Field(description="of the ids in order: runs with the same can be paired")
    partial: Partial | None = Field(description="None: the whole benchmark")
    thresholds_km: tuple[float, ...]
    limit: int | None
    seed: int
    arguments: dict[str, str | int | float | bool | None] = Field(description="as given on the command line")
    settings_sha256: str = Field(description="of all settings that can change an answer, and of the files they name")
    settings: dict[str, Any] = Field({}, description="those settings, to say which one has changed")
    posterior: str = Field("", description="digest of the posterior's parameters; empty: the packaged ones")
    commit: str | None = Field(description="of the checkout, '+' added where files differ from it; None: no checkout")
    versions: dict[str, str] = Field(description="of Python, GeoSleuth and the libraries that matter")
    citation: str
    licence: str
    started_at: str = Field(description="ISO 8601, UTC")
    finished_at: str | None = None
    spent_usd: float = Field(0.0, description="money really spent, in all sessions of the run, without cached replies")
    excluded_reference: str = Field("", description="how reference items were excluded; empty: not at all")
    asked: dict[str, dict[str, str]] = Field(
        {}, description="by strategy, sha256 of each part of what it asks: templates, schemas, tools, options, fields"
    )
    asked_texts: dict[str, str] = Field({}, description="the parts' texts by sha256")
    replaced: tuple[Replaced, ...] = ()

    def heading(self) -> str:
        """One line for the top of every table."""
        encoder = f"encoder {self.encoder}" if self.encoder else "no encoder"
        counted = f"{self.photos} photos"
        if self.together:
            counted = f"{self.photos} places (photos with the same {self.together} as one query)"
        run = f"{self.benchmark}, {self.protocol.value} protocol, {counted}, {encoder}"
        return f"{run}. {self.partial}" if self.partial else f"{run}, the whole benchmark"


class RecordError(UserError):
    """A run folder that cannot be read."""


R = TypeVar("R", bound=Scored)


def read_records(run: Path) -> list[EvalRecord]:
    """All records of a run folder, in the file's order; a torn last line of a run that died is left out.

    Raises:
        RecordError: no such file, or a line that is not a record.
    """
    return list(_parsed_lines(run, EvalRecord))


def read_scores(run: Path) -> list[Scored]:
    """The same, but only what scoring needs."""
    return list(_parsed_lines(run, Scored))


def parse_record(line: bytes, where: str, kind: type[R]) -> R:
    """A record from its line; `where` begins the message.

    Raises:
        RecordError: not a record.
    """
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        raise RecordError(f"{where} is not a record of a run ({first_problem(error)}): remove or mend it") from error


def _parsed_lines(run: Path, kind: type[R]) -> Iterator[R]:
    file = run / RECORDS_FILE
    try:
        for number, line in enumerate(whole_lines(file), 1):
            yield parse_record(line, f"{file}, line {number},", kind)
    except OSError as error:
        raise RecordError(f"cannot read {file} ({error.strerror}): is {run} the folder of a run?") from error


def write_records(file: Path, records: Iterable[EvalRecord]) -> None:
    """Write records, at once or not at all."""
    write_atomic(file, (record.line() for record in records))


def read_info(run: Path) -> RunInfo:
    """What a run was.

    Raises:
        RecordError: no run there, or one that this version cannot read.
    """
    file = run / INFO_FILE
    try:
        return RunInfo.model_validate_json(file.read_bytes())
    except OSError as error:
        raise RecordError(f"cannot read {file} ({error.strerror}): is {run} the folder of a run?") from error
    except ValidationError as error:
        raise RecordError(f"{file} is not a run's ({first_problem(error)}): run it again") from error


def write_info(run: Path, info: RunInfo) -> None:
    """Write `run.json`, at once or not at all."""
    write_atomic(run / INFO_FILE, info.model_dump_json(indent=2) + "\n")
