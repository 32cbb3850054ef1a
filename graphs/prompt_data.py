"""What the model is told: the state as quoted data, with units, without metadata or file names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from agents.schemas import Evidence, Hypothesis
from agents.strategies import Shown
from geo.place import Place
from geo.point import Point
from graphs.context import GeolocateContext
from graphs.inference.ledger import elsewhere, open_hypotheses
from graphs.inference.posterior import Floats, candidate_weights
from graphs.inference.weighing import signs_of
from graphs.state import GeolocateState
from retrieval.candidate import Candidate
from tools.untrusted_text import untrusted

MAX_REGIONS = 8
MAX_COUNTRIES = 30
MAX_SIGNS = 40
MAX_CANDIDATES = 10
NAMED_WITHIN_KM = 50.0
MIN_REGION_RADIUS_KM = 25.0
"""A lone candidate still stands for its surroundings."""


def scene_data(
    context: GeolocateContext, state: GeolocateState, shown: frozenset[Shown] | None = None
) -> dict[str, Any]:
    """What the strategy shows of the scene, or what `shown` says: always the photo's id, which tools want."""
    wanted = context.strategy.shown if shown is None else shown
    parts = {part.value: _PARTS[part](context, state) for part in Shown if part in wanted}
    return {"photo_id": state["photo_id"], **parts}


def _question(_: GeolocateContext, state: GeolocateState) -> str:
    return state["question"]


def _signs(_: GeolocateContext, state: GeolocateState) -> list[dict[str, Any]] | None:
    return sign_data(state)


def sign_data(state: GeolocateState) -> list[dict[str, Any]] | None:
    """Lines of text read in the photo; None if nothing has tried to read them."""
    if not any(record.tool == "read_signs" for record in state["records"]):
        return None
    signs = signs_of(state["records"])[:MAX_SIGNS]
    return [{"text": s.text, "confidence": round(s.confidence, 2), "script": s.script} for s in signs]


def _similar(context: GeolocateContext, state: GeolocateState) -> list[dict[str, Any]]:
    weight = candidate_weights(state["candidates"], context.parameters)
    order = sorted(range(len(weight)), key=lambda i: (-weight[i], i))[:MAX_CANDIDATES]
    return _candidates(context, [state["candidates"][i] for i in order])


def _dissimilar(context: GeolocateContext, state: GeolocateState) -> list[dict[str, Any]]:
    return _candidates(context, state["contrast"][:MAX_CANDIDATES])


def _candidates(context: GeolocateContext, candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    places = context.places([candidate.point for candidate in candidates])
    return [
        {
            "lat": round(candidate.point.lat, 4),
            "lon": round(candidate.point.lon, 4),
            "similarity": round(candidate.similarity, 3),
            "near": untrusted(place_name(place, candidate.point)),
        }
        for candidate, place in zip(candidates, places, strict=True)
    ]


def ledger_data(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """The hypotheses with their probabilities and the evidence behind them."""
    still_open = open_hypotheses(state["hypotheses"])
    countries = context.countries([h.point for h in still_open])
    return {
        "photo_id": state["photo_id"],
        "hypotheses": [_hypothesis(h, code) for h, code in zip(still_open, countries, strict=True)],
        "elsewhere": round(elsewhere(state["hypotheses"]), 4),
        "evidence": [_evidence(item) for item in state["evidence"]],
    }


def _hypothesis(hypothesis: Hypothesis, country_code: str | None) -> dict[str, Any]:
    return {
        "id": hypothesis.id,
        "name": hypothesis.name,
        "country_code": country_code,
        "probability": round(hypothesis.probability, 4),
        **_area(hypothesis.point, hypothesis.radius_km),
    }


def _evidence(item: Evidence) -> dict[str, Any]:
    nats = {key: round(value, 2) for key, value in item.log_likelihood_ratio.items()}
    return {"id": item.id, "kind": item.kind.value, "claim": item.claim, "nats": nats}


def _area(point: Point, radius_km: float) -> dict[str, float]:
    return {"lat": point.lat, "lon": point.lon, "radius_km": radius_km}


def place_name(place: Place | None, point: Point) -> str:
    """A place's name; far from it, how far; or the position where no place is known."""
    if place is None:
        return str(point)
    away_km = place.distance_km or 0.0
    return place.name if away_km <= NAMED_WITHIN_KM else f"{away_km:.0f} km from {place.name}"


class Area(NamedTuple):
    """A region of the candidates with its name and its share of their weight."""

    name: str
    country_code: str | None
    share: float
    point: Point
    radius_km: float


def region_areas(context: GeolocateContext, state: GeolocateState) -> list[Area]:
    """The heaviest regions, at most eight."""
    regions = state["regions"][:MAX_REGIONS]
    weight = candidate_weights(state["candidates"], context.parameters)
    places = context.places([region.centre for region in regions])
    return [
        Area(
            place_name(place, region.centre),
            place.country_code if place else None,
            round(float(weight[list(region.members)].sum()), 4),
            region.centre,
            max(MIN_REGION_RADIUS_KM, round(region.radius_km, 1)),
        )
        for region, place in zip(regions, places, strict=True)
    ]


def _regions(context: GeolocateContext, state: GeolocateState) -> list[dict[str, Any]]:
    return [
        {
            "id": f"R{number}",
            "name": area.name,
            "country_code": area.country_code,
            "share": area.share,
            **_area(area.point, area.radius_km),
        }
        for number, area in enumerate(region_areas(context, state), start=1)
    ]


def _countries(context: GeolocateContext, state: GeolocateState) -> list[dict[str, Any]]:
    weight = candidate_weights(state["candidates"], context.parameters)
    rows: dict[str, list[int]] = defaultdict(list)
    for index, code in enumerate(state["candidate_countries"]):
        if code:
            rows[code].append(index)
    by_share = sorted(rows.items(), key=lambda item: (-weight[item[1]].sum(), item[0]))
    return [_country(context, state, weight, code, members) for code, members in by_share[:MAX_COUNTRIES]]


def _country(
    context: GeolocateContext, state: GeolocateState, weight: Floats, code: str, members: Sequence[int]
) -> dict[str, Any]:
    best = state["candidates"][max(members, key=lambda i: (weight[i], -i))]
    return {
        "country_code": code,
        "name": place_name(context.places([best.point])[0], best.point),
        "share": round(float(weight[list(members)].sum()), 4),
        **_area(best.point, 150.0),
    }


_PARTS: Mapping[Shown, Callable[[GeolocateContext, GeolocateState], Any]] = {
    Shown.QUESTION: _question,
    Shown.SIGNS: _signs,
    Shown.SIMILAR: _similar,
    Shown.DISSIMILAR: _dissimilar,
    Shown.REGIONS: _regions,
    Shown.COUNTRIES: _countries,
}
