"""commit: choose a point, read the answer off the belief, or abstain and say why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from agents.schemas import (
    Answer,
    AnswerStatus,
    CredibleArea,
    Evidence,
    EvidenceKind,
    Hypothesis,
    HypothesisStatus,
    Level,
    Origin,
    PointSource,
    Source,
)
from agents.strategies import CommitRule
from belief.areas import AREA_SHARES, credible_polygons, outline_km2
from belief.decision import decide, expected_utility
from belief.posterior import THRESHOLDS_KM, Belief
from geo.place import Place
from geo.point import Point
from geo.sphere import lat_lon_array, pairwise_distance_km, point_distance_km
from graphs.assessment.assess import Assessment, assess, with_proposals
from graphs.assessment.calibration import Radius, calibrated
from graphs.assessment.hypotheses import open_hypotheses
from graphs.assessment.satellite import tile_matches
from graphs.context import GeolocateContext
from graphs.nodes.explain import explain, explain_abstention, notes_of, what_would_help
from graphs.nodes.match import pictured_matches
from graphs.nodes.model_calls import model_status, status_without_reply
from graphs.prompt_data import MIN_REGION_RADIUS_KM, place_name
from graphs.state import GeolocateState, Position
from retrieval.candidate import AtlasKind

SAME_POINT_KM = 0.1

LEVEL_WITHIN_KM = dict(
    zip((Level.STREET, Level.CITY, Level.REGION, Level.COUNTRY, Level.CONTINENT), THRESHOLDS_KM, strict=True)
)
"""An answer is of the finest level within whose distance half of the probability lies, at least of a continent."""

_WHY_NO_WORDS = {
    AnswerStatus.REFUSED: "the model declined to say where the photo was taken",
    AnswerStatus.UNPARSABLE: "the model's reply holds no usable answer",
    AnswerStatus.FAILED: "the model could not be reached",
}


class Chosen(NamedTuple):
    """A point to answer, and whose coordinates it is."""

    point: Point
    source: PointSource


class Refusal(NamedTuple):
    """Why there is no answer, and how that is called."""

    reason: str
    status: AnswerStatus = AnswerStatus.ABSTAINED


def commit(context: GeolocateContext, state: GeolocateState, *, by_belief: bool = False) -> dict[str, Any]:
    """Choose a point by the strategy's rule, or by the belief alone, and put the answer together."""
    chosen = None if by_belief else _RULES[context.strategy.commit_rule](context, state)
    hypotheses = listed_hypotheses(context, state)
    assessed = assess(context, state, hypotheses)
    chosen = chosen or _best_point(context, state, assessed.belief)
    if isinstance(chosen, Chosen):
        chosen = _below_threshold(context, assessed.belief, chosen.point) or chosen
    if isinstance(chosen, Refusal):
        return {"answer": _abstention(context, state, assessed, chosen)}
    return {"answer": _answer(context, state, assessed, chosen)}


def last_belief(context: GeolocateContext, state: GeolocateState) -> Belief:
    """The belief that `commit` reads an answer off, made again from a run's state."""
    return assess(context, state, listed_hypotheses(context, state)).belief


def _below_threshold(context: GeolocateContext, belief: Belief, point: Point) -> Refusal | None:
    chance = belief.chance_within_km((point.lat, point.lon), context.aim.wanted_km)
    if chance >= context.min_confidence:
        return None
    low = f"the chance that the truth lies within {context.aim.wanted_km} km of the best point is only {chance:.1%}"
    return Refusal(f"{low}, below the threshold of {context.min_confidence:.1%}")


def _by_belief(_: GeolocateContext, __: GeolocateState) -> Chosen | Refusal | None:
    """The belief's best point, wherever it is."""
    return None


def _top_candidate(context: GeolocateContext, state: GeolocateState) -> Chosen | Refusal | None:
    """The most similar candidate."""
    if not state["candidates"]:
        return Refusal("nothing was retrieved")
    best = state["candidates"][int(np.argmax(context.candidate_weights(state["candidates"])))]
    return Chosen(best.point, _OF_ATLAS[best.kind])


def _top_region(_: GeolocateContext, state: GeolocateState) -> Chosen | Refusal | None:
    """The heaviest region."""
    if not state["regions"]:
        return Refusal("nothing was retrieved")
    return Chosen(state["regions"][0].centre, PointSource.REGION_CENTRE)


def _model_point(context: GeolocateContext, state: GeolocateState) -> Chosen | Refusal | None:
    """The model's own answer; of several samples, the one that most others lie near."""
    positions = _own_answers(state["positions"])
    if not positions:
        status = status_without_reply(state["replies"])
        if status is None:
            return Refusal("the model was not asked before a budget was spent")
        return Refusal(_WHY_NO_WORDS[status], status)
    away_km = pairwise_distance_km(lat_lon_array(p.point for p in positions))
    equal = np.full(len(positions), 1.0 / len(positions))
    gain = expected_utility(away_km, equal, context.parameters.utility[context.aim.value])
    best = positions[int(np.flatnonzero(gain >= gain.max() - 1e-12)[0])]
    return Chosen(best.point, _OF_ORIGIN[best.origin])


def _own_answers(positions: Sequence[Position]) -> list[Position]:
    """What each sample answered with: its first place that is known."""
    first: dict[int, Position] = {}
    for position in positions:
        first.setdefault(position.sample, position)
    return list(first.values())


_RULES: Mapping[CommitRule, Callable[[GeolocateContext, GeolocateState], Chosen | Refusal | None]] = {
    CommitRule.POSTERIOR: _by_belief,
    CommitRule.TOP_CANDIDATE: _top_candidate,
    CommitRule.TOP_REGION: _top_region,
    CommitRule.MODEL: _model_point,
}
"""How each rule chooses; None leaves it to the belief."""

_OF_ATLAS = {AtlasKind.PHOTO: PointSource.RETRIEVED_PHOTO, AtlasKind.GPS: PointSource.RETRIEVED_PLACE}
_OF_ORIGIN = {Origin.MODEL: PointSource.MODEL, Origin.PLACE_NAME: PointSource.NAMED_PLACE}


def listed_hypotheses(context: GeolocateContext, state: GeolocateState) -> list[Hypothesis]:
    """The hypotheses of the run; without a list of its own, what the model said, else the regions retrieved."""
    if state["hypotheses"]:
        return list(state["hypotheses"])
    if state["positions"]:
        return with_proposals([], state["positions"])
    centres = [region.centre for region in state["regions"]]
    names = zip(state["regions"], centres, context.places(centres), strict=True)
    return [
        Hypothesis(
            id=f"H{number}",
            name=place_name(place, centre),
            point=centre,
            radius_km=max(MIN_REGION_RADIUS_KM, round(region.radius_km, 1)),
            probability=0.0,
            origin=Origin.REGION,
        )
        for number, (region, centre, place) in enumerate(names, start=1)
    ]


def _best_point(context: GeolocateContext, state: GeolocateState, belief: Belief) -> Chosen:
    best = decide(belief, context.parameters.utility[context.aim.value])
    point = Point(lat=best.lat_deg, lon=best.lon_deg)
    for position in state["positions"]:
        if point_distance_km(position.point, point) <= SAME_POINT_KM:
            return Chosen(position.point, _OF_ORIGIN.get(position.origin, PointSource.MODEL))
    for candidate in state["candidates"]:
        if point_distance_km(candidate.point, point) <= SAME_POINT_KM:
            return Chosen(candidate.point, _OF_ATLAS[candidate.kind])
    for tile in tile_matches(state["records"], belief):
        if point_distance_km(tile.bounds.centre, point) <= SAME_POINT_KM:
            return Chosen(tile.bounds.centre, PointSource.SATELLITE_TILE)
    return Chosen(point, PointSource.BELIEF)


def _answer(context: GeolocateContext, state: GeolocateState, assessed: Assessment, chosen: Chosen) -> Answer:
    at = (chosen.point.lat, chosen.point.lon)
    belief = assessed.belief
    place = context.places([chosen.point])[0]
    chances = {km: round(belief.chance_within_km(at, km), 4) for km in THRESHOLDS_KM}
    raw = Radius(belief.radius_km(at, 0.5), belief.radius_km(at, 0.9))
    level = level_of(raw.radius_50_km)
    confidence = chances[LEVEL_WITHIN_KM[level]]
    around = Hypothesis(
        id=f"H{len(assessed.hypotheses) + 1}",
        name=name_at_level(place, chosen.point, level),
        point=chosen.point,
        radius_km=float(LEVEL_WITHIN_KM[level]),
        probability=confidence,
        origin=Origin.BELIEF,
    )
    hypotheses = _ordered(assessed.hypotheses, around)
    # Calibrations are fitted on answers about single photos.
    calibration = None if state.get("more_photo_ids") else context.corrections.calibration
    trusted = calibrated(calibration, hypotheses[0], assessed.evidence, raw, confidence)
    return Answer(
        **_common(context, state, assessed, chosen.point),
        status=AnswerStatus.ANSWERED,
        point=chosen.point,
        place=place,
        point_source=chosen.source,
        radius_50_km=_rounded_km(trusted.radius.radius_50_km),
        radius_90_km=_rounded_km(trusted.radius.radius_90_km),
        radius_is_calibrated=trusted.radius.calibrated,
        level=level_of(trusted.radius.radius_50_km),
        confidence=trusted.confidence,
        chance_within_km=chances,
        area_50_km2=round(belief.area_km2(0.5), 2),
        area_90_km2=round(belief.area_km2(0.9), 2),
        areas=credible_areas(belief),
        hypotheses=tuple(hypotheses),
        reasoning=explain(hypotheses, assessed.evidence, chances, notes_of(context, state), what_would_help(context)),
    )


def _abstention(context: GeolocateContext, state: GeolocateState, assessed: Assessment, refusal: Refusal) -> Answer:
    return Answer(
        **_common(context, state, assessed, None),
        status=refusal.status,
        point=None,
        place=None,
        radius_50_km=None,
        radius_90_km=None,
        radius_is_calibrated=False,
        level=None,
        confidence=0.0,
        hypotheses=tuple(_open_then_rejected(assessed.hypotheses)),
        reasoning=explain_abstention(refusal.reason, notes_of(context, state)),
    )


def _common(
    context: GeolocateContext, state: GeolocateState, assessed: Assessment, point: Point | None
) -> dict[str, Any]:
    status = model_status(state["replies"])
    return {
        "photo_sha256": state["photo_sha256"],
        "more_photo_sha256s": tuple(state.get("more_photo_sha256s", ())),
        "model_status": status.value if status else None,
        "evidence": (*assessed.evidence, *_metadata_evidence(state, point)),
        "candidates": tuple(state["candidates"]),
        "matches": pictured_matches(context, tile_matches(state["records"], assessed.belief)),
        "metadata_position": state["metadata_position"],
        "cost": state["cost"],
        "cost_by_model": state.get("cost_by_model", {}) if len(context.models) > 1 else {},
        "versions": context.versions,
    }


def _rounded_km(radius_km: float) -> float:
    """Radii to 100 m; below a kilometre to 10 m."""
    return round(radius_km, 1 if radius_km >= 1.0 else 2)


def credible_areas(belief: Belief, shares: Sequence[float] = AREA_SHARES) -> tuple[CredibleArea, ...]:
    """The smallest areas that hold the truth in shares of such cases, smallest first; some tenth of a second each."""
    return tuple(_credible_area(belief, share) for share in shares)


def _credible_area(belief: Belief, share: float) -> CredibleArea:
    polygons = credible_polygons(belief, share)
    area_km2, covered_km2 = round(belief.area_km2(share), 2), round(outline_km2(polygons), 2)
    return CredibleArea(share=share, area_km2=area_km2, outline_km2=covered_km2, polygons=polygons)


def name_at_level(place: Place | None, point: Point, level: Level) -> str:
    """A place's name, no finer than the answer is sure of.

    >>> at = Point(lat=50.0, lon=3.6)
    >>> town = Place(country="France", country_code="FR", region="Hauts-de-France", city="Wassigny", point=at)
    >>> name_at_level(town, at, Level.CITY), name_at_level(town, at, Level.CONTINENT)
    ('Wassigny, Hauts-de-France, France', 'around France')
    """
    if place is None or level in (Level.STREET, Level.CITY):
        return place_name(place, point)
    wide = level is Level.REGION and place.region
    return f"{place.region}, {place.country}" if wide else f"around {place.country}"


def _ordered(hypotheses: Sequence[Hypothesis], around: Hypothesis) -> list[Hypothesis]:
    """The hypothesis that the point lies in (else the one around it), the open ones, the rejected ones."""
    known = [
        h for h in open_hypotheses(hypotheses) if point_distance_km(h.point, around.point) <= max(1.0, h.radius_km)
    ]
    first = min(known, key=lambda h: (h.radius_km, h.id)) if known else around
    return [first, *(h for h in _open_then_rejected(hypotheses) if h.id != first.id)]


def _open_then_rejected(hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
    rejected = [h for h in hypotheses if h.status is HypothesisStatus.REJECTED]
    return [*open_hypotheses(hypotheses), *rejected]


def level_of(radius_50_km: float) -> Level:
    """The finest level whose distance holds half of the probability; beyond the last it is a continent."""
    return next((level for level, km in LEVEL_WITHIN_KM.items() if radius_50_km <= km), Level.CONTINENT)


def _metadata_evidence(state: GeolocateState, point: Point | None) -> list[Evidence]:
    """The position that the file claims, as evidence without weight."""
    claimed = state["metadata_position"]
    if claimed is None:
        return []
    away = f", {point_distance_km(claimed, point):.0f} km from the answer" if point else ""
    source = Source(tool="metadata", arguments={}, result_sha256=state.get("metadata_sha256") or state["photo_sha256"])
    claim = f"the file's metadata claims {claimed}{away}; not used to choose the point"
    return [Evidence(id="M1", kind=EvidenceKind.METADATA, claim=claim, source=source)]
