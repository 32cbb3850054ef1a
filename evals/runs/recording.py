"""Making the record of a photo from an answer, or from the error that was raised."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from agents.schemas import Answer, Cost, Evidence, EvidenceKind, TileMatch
from belief.posterior import Belief
from evals.benchmarks.loading import Sample
from evals.runs.records import (
    CANDIDATES_OF_EACH_ATLAS,
    CandidateNote,
    EvalRecord,
    EvidenceNote,
    Flag,
    HypothesisNote,
    JudgementNote,
    LatLon,
    PlaceNames,
    PredictionNote,
    Protocol,
    RecordStatus,
    TileNote,
)
from evals.runs.transcripts import TranscriptCall
from geo.point import Point
from geo.sphere import point_distance_km
from retrieval.candidate import Candidate

MAX_ERROR_CHARACTERS = 500


@dataclass(frozen=True, kw_only=True)
class EvalQuery:
    """A photo, or the photos of a place, to be located by one strategy, and all that only the scorer knows of it."""

    sample: Sample
    strategy: str
    truth_place: PlaceNames | None
    flags: tuple[Flag, ...]

    @property
    def key(self) -> tuple[str, str]:
        """Unique in a run."""
        return self.sample.photo, self.strategy


@dataclass(frozen=True, kw_only=True)
class SystemDescription:
    """What is the same in every record of a run."""

    benchmark: str
    protocol: Protocol
    model: str
    encoder: str
    asked: Mapping[str, str] = field(default_factory=dict)
    """By strategy, the sha256 of all that it asks."""


def answer_record(
    system: SystemDescription,
    query: EvalQuery,
    answer: Answer,
    belief: Belief | None,
    excluded: int,
    replies: tuple[str, ...],
    *,
    unreachable: str | None = None,
    calls: tuple[TranscriptCall, ...] = (),
) -> EvalRecord:
    """The record of a photo that the system has finished, whether or not it found a place.

    Args:
        system: the same for the whole run.
        query: what was asked, and what only the scorer knows.
        answer: of the system.
        belief: that the answer was read off; None: the system has none.
        excluded: reference items hidden from it.
        replies: of the models.
        unreachable: why no model could be reached; None: one was.
        calls: of the models.
    """
    point, truth = answer.point, query.sample.truth
    stated = belief if answer.area_50_km2 is not None else None
    return EvalRecord(
        **_common(system, query),
        photo_sha256=answer.photo_sha256,
        status=RecordStatus(answer.status.value),
        point=_lat_lon(point) if point else None,
        distance_km=point_distance_km(truth, point) if point else None,
        radius_50_km=answer.radius_50_km,
        radius_90_km=answer.radius_90_km,
        calibrated=answer.radius_is_calibrated,
        confidence=answer.confidence,
        chance_within_km=answer.chance_within_km,
        area_50_km2=answer.area_50_km2,
        area_90_km2=answer.area_90_km2,
        is_in_area_50=stated.is_in_area(_lat_lon(truth), 0.5) if stated else None,
        is_in_area_90=stated.is_in_area(_lat_lon(truth), 0.9) if stated else None,
        log_density=belief.log_density(_lat_lon(truth)) if belief else None,
        information_nats=_information(answer),
        level=answer.level,
        place=PlaceNames.of(answer.place),
        excluded=excluded,
        error=unreachable,
        is_model_unreachable=unreachable is not None,
        model_status=answer.model_status,
        cost=answer.cost,
        cost_by_model=answer.cost_by_model,
        hypotheses=tuple(
            HypothesisNote(name=h.name, point=_lat_lon(h.point), radius_km=h.radius_km, probability=h.probability)
            for h in answer.hypotheses
        ),
        evidence=tuple(_evidence(one, answer) for one in answer.evidence),
        first_reading=_first_reading(answer),
        judgements=_judgements(answer),
        candidates=_candidates(answer.candidates),
        matches=tuple(map(_tile, answer.matches)),
        reasoning=answer.reasoning,
        raw_replies=replies,
        calls=calls,
    )


def error_record(system: SystemDescription, query: EvalQuery, sha256: str | None, error: BaseException) -> EvalRecord:
    """The record of a photo on which the system raised an error: a miss that stays counted."""
    message = f"{type(error).__name__}: {' '.join(str(error).split())}"[:MAX_ERROR_CHARACTERS]
    return EvalRecord(
        **_common(system, query),
        photo_sha256=sha256,
        status=RecordStatus.ERROR,
        point=None,
        distance_km=None,
        radius_50_km=None,
        radius_90_km=None,
        confidence=None,
        level=None,
        place=None,
        excluded=0,
        error=message,
        cost=Cost(),
        hypotheses=(),
        evidence=(),
        candidates=(),
        reasoning="",
        raw_replies=(),
    )


def _common(system: SystemDescription, query: EvalQuery) -> dict[str, object]:
    return {
        "benchmark": system.benchmark,
        "protocol": system.protocol,
        "strategy": query.strategy,
        "model": system.model,
        "encoder": system.encoder,
        "asked": system.asked.get(query.strategy, ""),
        "photo": query.sample.photo,
        "photos": tuple(one.photo for one in query.sample.together),
        "author": query.sample.author,
        "truth": _lat_lon(query.sample.truth),
        "truth_place": query.truth_place,
        "flags": query.flags,
        "strata": dict(query.sample.strata),
    }


def _lat_lon(point: Point) -> LatLon:
    return point.lat, point.lon


def _says_information(answer: Answer) -> bool:
    """An answer that states no chances was not read off a belief: its evidence has no information, rather than none."""
    return bool(answer.chance_within_km) or any(one.information_nats for one in answer.evidence)


def _information(answer: Answer) -> dict[str, float] | None:
    if not _says_information(answer):
        return None
    nats: dict[str, float] = defaultdict(float)
    for one in answer.evidence:
        nats[one.kind.value] += one.information_nats
    return dict(nats)


def _evidence(one: Evidence, answer: Answer) -> EvidenceNote:
    committed = answer.hypotheses[0].id if answer.hypotheses else ""
    return EvidenceNote(
        kind=one.kind,
        claim=one.claim,
        tool=one.source.tool if one.source else None,
        nats=one.log_likelihood_ratio.get(committed, 0.0),
        information_nats=one.information_nats if _says_information(answer) else None,
    )


def _first_reading(answer: Answer) -> tuple[PredictionNote, ...]:
    """What every model that was asked reported, in the order of the evidence."""
    sources = [one.source for one in answer.evidence if one.kind is EvidenceKind.SIGHT and one.source]
    return tuple(
        PredictionNote(
            model=source.arguments["model"],
            point=(place["lat_deg"], place["lon_deg"]),
            radius_km=place["radius_km"],
            confidence=place["confidence"],
        )
        for source in sources
        for place in source.arguments["places"]
    )


def _judgements(answer: Answer) -> tuple[JudgementNote, ...]:
    points = {h.id: _lat_lon(h.point) for h in answer.hypotheses}
    return tuple(
        JudgementNote(point=points[one.judged], tool=one.source.tool, fits=nats > 0.0)
        for one in answer.evidence
        if one.kind is EvidenceKind.JUDGEMENT and one.source and one.judged in points
        # What raises one hypothesis lowers all others: only the one that was judged counts.
        if (nats := one.log_likelihood_ratio.get(one.judged))
    )


def _tile(match: TileMatch) -> TileNote:
    return TileNote(
        title=match.title,
        point=_lat_lon(match.bounds.centre),
        similarity=match.similarity,
        probability=match.probability,
        jpeg_base64=match.jpeg_base64,
    )


def _candidates(candidates: tuple[Candidate, ...]) -> tuple[CandidateNote, ...]:
    kept: list[CandidateNote] = []
    of_atlas: Counter[str] = Counter()
    for one in candidates:
        of_atlas[one.atlas] += 1
        if of_atlas[one.atlas] <= CANDIDATES_OF_EACH_ATLAS:
            kept.append(
                CandidateNote(
                    atlas=one.atlas,
                    kind=one.kind,
                    rank=one.rank,
                    similarity=round(one.similarity, 6),
                    point=(round(one.point.lat, 6), round(one.point.lon, 6)),
                    item_id=one.item_id,
                )
            )
    return tuple(kept)
