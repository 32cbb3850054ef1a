"""The state of a run as quoted data for the model, with units, without metadata or file names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from agents.schemas import Evidence, Hypothesis, Origin
from agents.strategies import Shown
from geo.place import Place
from geo.point import Point
from geo.sphere import Floats
from graphs.assessment.hypotheses import elsewhere, open_hypotheses
from graphs.assessment.signs import signs_by_photo, tried_to_read
from graphs.context import GeolocateContext
from graphs.state import GeolocateState, PhotoInput
from retrieval.candidate import Candidate, Region
from tools.untrusted_text import untrusted

MAX_REGIONS = 8
MAX_COUNTRIES = 15
MAX_SIGNS = 40
MAX_CANDIDATES = 10
NAMED_WITHIN_KM = 50.0
MIN_REGION_RADIUS_KM = 25.0
"""A lone candidate still stands for its surroundings."""

COUNTRY_RADIUS_KM = 150.0

SMALLEST_NATS = 0.05
"""What raises or lowers log-odds by less is not worth its words."""

NearestPlaces = Mapping[Point, Place | None]


def scene_data(
    context: GeolocateContext, state: GeolocateState, shown: frozenset[Shown] | None = None
) -> dict[str, Any]:
    """The parts of the scene that `shown` names (None: those of the strategy), and the photo's id, for tool calls."""
    wanted = context.strategy.shown if shown is None else shown
    weights = context.candidate_weights(state["candidates"])
    similar = _most_similar(state["candidates"], weights) if Shown.SIMILAR in wanted else []
    dissimilar = state["contrast"][:MAX_CANDIDATES] if Shown.DISSIMILAR in wanted else []
    regions = state["regions"][:MAX_REGIONS] if Shown.REGIONS in wanted else []
    countries = _candidate_countries(state, weights) if Shown.COUNTRIES in wanted else []
    places = _nearest_places(
        context,
        [
            *(candidate.point for candidate in [*similar, *dissimilar]),
            *(region.centre for region in regions),
            *(country.best.point for country in countries),
        ],
    )
    parts = {
        Shown.QUESTION: state["question"],
        Shown.SIGNS: _signs(state),
        Shown.SIMILAR: [_candidate(candidate, places) for candidate in similar],
        Shown.DISSIMILAR: [_candidate(candidate, places) for candidate in dissimilar],
        Shown.REGIONS: [
            _region(f"R{number}", _area_of(region, weights, places)) for number, region in enumerate(regions, start=1)
        ],
        Shown.COUNTRIES: [_country(country, places) for country in countries],
    }
    return photo_data(state) | {part.value: data for part, data in parts.items() if part in wanted and data != ""}


def photo_data(state: PhotoInput) -> dict[str, Any]:
    """The photo's id for tool calls; of several of one place, those of the others too."""
    more = state.get("more_photo_ids", [])
    return {"photo_id": state["photo_id"], **({"more_photo_ids": more} if more else {})}


def photo_title(state: PhotoInput) -> str:
    """What stands for the photo in a sentence of a prompt, after the word photo.

    >>> photo_title({"photo_id": "photo-a", "photo_sha256": "", "question": "", "metadata_position": None})
    'photo-a'
    """
    more = state.get("more_photo_ids", [])
    return f"{state['photo_id']} (and {', '.join(more)}, of the same place)" if more else state["photo_id"]


def _nearest_places(context: GeolocateContext, points: Iterable[Point]) -> NearestPlaces:
    """The nearest place of each point, looked up in one batch."""
    distinct = list(dict.fromkeys(points))
    return dict(zip(distinct, context.places(distinct), strict=True))


def _signs(state: GeolocateState) -> list[dict[str, Any]] | None:
    """Lines of text read in the photo; None if nothing has tried to read them."""
    if not tried_to_read(state["records"]):
        return None
    several = bool(state.get("more_photo_ids"))
    return [
        {
            "text": sign.text,
            "confidence": round(sign.confidence, 2),
            "script": sign.script,
            **({"photo_id": photo_id} if several else {}),
        }
        for photo_id, sign in signs_by_photo(state["records"])[:MAX_SIGNS]
    ]


def _most_similar(candidates: Sequence[Candidate], weights: Floats) -> list[Candidate]:
    order = sorted(range(len(weights)), key=lambda i: (-weights[i], i))[:MAX_CANDIDATES]
    return [candidates[i] for i in order]


def _candidate(candidate: Candidate, places: NearestPlaces) -> dict[str, Any]:
    return {
        "lat": round(candidate.point.lat, 4),
        "lon": round(candidate.point.lon, 4),
        "similarity": round(candidate.similarity, 3),
        "near": untrusted(place_name(places[candidate.point], candidate.point)),
    }


def belief_data(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """The hypotheses with their probabilities and the evidence behind them."""
    still_open = open_hypotheses(state["hypotheses"])
    countries = context.countries([h.point for h in still_open])
    return {
        **photo_data(state),
        "hypotheses": [hypothesis_data(h, country_code=code) for h, code in zip(still_open, countries, strict=True)],
        "elsewhere": round(elsewhere(state["hypotheses"]), 4),
        "evidence": [evidence_data(item) for item in state["evidence"]],
    }


def table_data(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """The same in short: without evidence that moved nothing, and places that nobody named and nothing speaks for.

    A model that sees the tools' results need not read them twice.
    """
    telling = [item for item in state["evidence"] if _tells(item)]
    worth_naming = [h for h in state["hypotheses"] if h.origin is not Origin.BELIEF or _spoken_for(h, telling)]
    shown = worth_naming if open_hypotheses(worth_naming) else state["hypotheses"]
    return belief_data(context, {**state, "evidence": telling, "hypotheses": shown})


def _spoken_for(hypothesis: Hypothesis, evidence: Sequence[Evidence]) -> bool:
    """Whether evidence raised a hypothesis on the whole."""
    return sum(item.log_likelihood_ratio.get(hypothesis.id, 0.0) for item in evidence) > SMALLEST_NATS


def _tells(item: Evidence) -> bool:
    moved = max(map(abs, item.log_likelihood_ratio.values()), default=0.0)
    return moved >= SMALLEST_NATS or item.information_nats >= SMALLEST_NATS


def hypothesis_data(hypothesis: Hypothesis, **known: str | None) -> dict[str, Any]:
    """A hypothesis with its probability and circle, and what else is known of it."""
    return {
        "id": hypothesis.id,
        "name": hypothesis.name,
        **known,
        "probability": round(hypothesis.probability, 6),
        **_circle(hypothesis.point, hypothesis.radius_km),
    }


def evidence_data(item: Evidence) -> dict[str, Any]:
    """A piece of evidence: how much it raised the log-odds of each hypothesis, and what it told in all, in nats."""
    nats = {key: round(value, 1) for key, value in item.log_likelihood_ratio.items() if abs(value) >= SMALLEST_NATS}
    told = round(item.information_nats, 2)
    return {"id": item.id, "kind": item.kind.value, "claim": item.claim, "nats": nats, "information_nats": told}


def _circle(point: Point, radius_km: float) -> dict[str, float]:
    return {"lat": round(point.lat, 4), "lon": round(point.lon, 4), "radius_km": round(radius_km, 1)}


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
    weights = context.candidate_weights(state["candidates"])
    places = _nearest_places(context, (region.centre for region in regions))
    return [_area_of(region, weights, places) for region in regions]


def _area_of(region: Region, weights: Floats, places: NearestPlaces) -> Area:
    place = places[region.centre]
    return Area(
        name=place_name(place, region.centre),
        country_code=place.country_code if place else None,
        share=round(float(weights[list(region.members)].sum()), 4),
        point=region.centre,
        radius_km=max(MIN_REGION_RADIUS_KM, round(region.radius_km, 1)),
    )


def _region(key: str, area: Area) -> dict[str, Any]:
    return {
        "id": key,
        "name": area.name,
        "country_code": area.country_code,
        "share": area.share,
        **_circle(area.point, area.radius_km),
    }


class CandidateCountry(NamedTuple):
    """A country with candidates: its share of their weight, and the heaviest of them."""

    code: str
    share: float
    best: Candidate


def _candidate_countries(state: GeolocateState, weights: Floats) -> list[CandidateCountry]:
    """The countries of the candidates, the greatest share first, at most fifteen."""
    members: dict[str, list[int]] = defaultdict(list)
    for index, code in enumerate(state["candidate_countries"]):
        if code:
            members[code].append(index)
    shares = {code: float(weights[indices].sum()) for code, indices in members.items()}
    return [
        CandidateCountry(code, shares[code], state["candidates"][max(members[code], key=lambda i: (weights[i], -i))])
        for code in sorted(members, key=lambda code: (-shares[code], code))[:MAX_COUNTRIES]
    ]


def _country(country: CandidateCountry, places: NearestPlaces) -> dict[str, Any]:
    point = country.best.point
    return {
        "country_code": country.code,
        "name": place_name(places[point], point),
        "share": round(country.share, 4),
        **_circle(point, COUNTRY_RADIUS_KM),
    }
