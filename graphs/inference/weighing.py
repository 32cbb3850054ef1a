"""From tool results to evidence: log-likelihood ratios for each hypothesis, computed by code.

Everything is recomputed from all records whenever hypotheses change, so the
outcome does not depend on when a hypothesis was raised or a tool was called.
The numbers stand beside their reasons here, in graphs/inference/country_weights.py and in
graphs/inference/posterior.json.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from agents.schemas import Evidence, EvidenceKind, Hypothesis, Source
from geo.place import Place
from geo.places.names import holds_name, name_key
from geo.sphere import lat_lon_array, point_distance_km
from geo.sun import sun_nats
from graphs.inference.country_weights import (
    MIN_SIGN_CONFIDENCE,
    CountryWeights,
    cue_weights,
    language_weights,
    place_name_nats,
    towns_and_regions,
)
from graphs.inference.ledger import PRIOR_NATS
from graphs.inference.lookalikes import from_lookalikes
from graphs.inference.posterior import (
    ELSEWHERE,
    Floats,
    Indices,
    PosteriorParameters,
    candidate_weights,
    density,
    finest_containing,
    positions,
)
from graphs.inference.sight import MIN_LEFT, SightReading
from graphs.state import Opinion, Position, ToolRecord
from retrieval.candidate import Candidate
from tools.results import FoundPlaces, PlaceAt, Sign, SignsRead, SunChecked
from tools.reverse_geocode import MAX_DISTANCE_KM
from tools.services.country_cues import CountryCue, country_cues

SEA_NATS = -6.0
"""Photos are taken on land; a boat or a pier is the exception."""

WIDE_KM = 100.0
"""A hypothesis wider than this is not contradicted by where the places of a name lie."""

DENSITY_NATS_MAX = 2.5
"""How far retrieval around a place that no candidate lies in may raise it."""


class Scene(NamedTuple):
    """What evidence is weighed against: the hypotheses among the retrieved candidates."""

    hypotheses: Sequence[Hypothesis]
    candidates: Sequence[Candidate]
    candidate_weight: Floats
    owner: Indices
    country_shares: Sequence[dict[str | None, float]]
    parameters: PosteriorParameters
    reading: SightReading | None = None
    positions: Sequence[Position] = ()
    judgement_nats: float = math.inf


def scene(
    hypotheses: Sequence[Hypothesis],
    hypothesis_countries: Sequence[str | None],
    candidates: Sequence[Candidate],
    candidate_countries: Sequence[str | None],
    parameters: PosteriorParameters,
    reading: SightReading | None = None,
    read_positions: Sequence[Position] = (),
) -> Scene:
    """Assign candidates to open hypotheses (the finest that contains each) and countries to both.

    `reading` is the model's first one, if it was its own, and `read_positions` what it was made from.
    """
    weight = candidate_weights(candidates, parameters)
    owner = owners(hypotheses, positions(candidates))
    inside = [np.flatnonzero(owner == i).tolist() for i in range(len(hypotheses))]
    shares = [
        _country_shares(weight[rows], [candidate_countries[row] for row in rows], own)
        for rows, own in zip(inside, hypothesis_countries, strict=True)
    ]
    return Scene(hypotheses, candidates, weight, owner, shares, parameters, reading, read_positions)


def owners(hypotheses: Sequence[Hypothesis], lat_lon_deg: Floats) -> Indices:
    """For each position (n, 2), the index of the finest hypothesis that contains it, or ELSEWHERE: shape (n,)."""
    centres = lat_lon_array(h.point for h in hypotheses)
    return finest_containing(lat_lon_deg, centres, np.array([h.radius_km for h in hypotheses], dtype=np.float64))


def _country_shares(weight: Floats, countries: Sequence[str | None], own: str | None) -> dict[str | None, float]:
    total = float(weight.sum())
    if total <= 0.0:
        return {own: 1.0}
    shares: dict[str | None, float] = defaultdict(float)
    for share, country in zip(weight / total, countries, strict=True):
        shares[country] += float(share)
    return dict(shares)


def weigh(at: Scene, records: Sequence[ToolRecord], opinions: Sequence[Opinion]) -> list[Evidence]:
    """All evidence for the hypotheses of a scene, numbered E1, E2, ... in the order of the records."""
    found: list[Evidence] = list(_from_sight(at))
    for record in _telling(records):
        found.extend(_WEIGH[record.tool](at, record))
    found.extend(_judged(at, opinions, records))
    return [item.model_copy(update={"id": f"E{number}"}) for number, item in enumerate(found, start=1)]


def _telling(records: Sequence[ToolRecord]) -> Iterator[ToolRecord]:
    """Records that say something about where the photo was taken.

    A name that somebody said is no evidence: looking it up weighs only if it was read in the photo, and once.
    """
    lines = [sign.text for sign in signs_of(records)]
    looked_up: set[str] = set()
    for record in records:
        if record.result is None or record.tool not in _WEIGH:
            continue
        if record.tool == "find_place":
            name = str(record.arguments.get("name", ""))
            if name_key(name) in looked_up or not any(holds_name(line, name) for line in lines):
                continue
            looked_up.add(name_key(name))
        yield record


def _evidence(kind: EvidenceKind, claim: str, record: ToolRecord | None, nats: dict[str, float]) -> Evidence:
    rounded = {key: round(value, 6) for key, value in nats.items()}
    return Evidence(id="E0", kind=kind, claim=claim, source=_source(record), log_likelihood_ratio=rounded)


def _source(record: ToolRecord | None) -> Source | None:
    if record is None or record.result_sha256 is None:
        return None
    return Source(tool=record.tool, arguments=record.arguments, result_sha256=record.result_sha256)


def _from_sight(at: Scene) -> Iterator[Evidence]:
    """The model's first reading of the picture: worth what its record says, whatever it says of itself."""
    if at.reading is None or not at.hypotheses:
        return
    held = at.reading.held(at.hypotheses, math.exp(PRIOR_NATS))
    left = max(MIN_LEFT, 1.0 - float(held.sum()))
    nats = {h.id: math.log(max(float(m), 1e-9) / left) - PRIOR_NATS for h, m in zip(at.hypotheses, held, strict=True)}
    first = at.positions[0]
    others = f" and {len(at.positions) - 1} other place(s)" if len(at.positions) > 1 else ""
    because = f": {first.why}" if first.why else ""
    said = [{"lat": p.point.lat, "lon": p.point.lon, "confidence": p.confidence} for p in at.positions]
    source = Source(
        tool="model", arguments={"asked": "first reading", "places": said}, result_sha256=first.reply_sha256
    )
    item = _evidence(EvidenceKind.SIGHT, f"at first sight the model says {first.name}{others}{because}", None, nats)
    yield item.model_copy(update={"source": source})


def _from_search(at: Scene, record: ToolRecord) -> Iterator[Evidence]:
    """The whole photo's search, or what a crop or a search near a point found beyond it."""
    if record.arguments.get("near") or record.arguments.get("box"):
        claim, nats = from_lookalikes(at.hypotheses, at.owner, at.candidates, at.parameters, record)
        if nats:
            yield _evidence(EvidenceKind.LOOKALIKE, claim, record, nats)
    elif at.candidates:
        yield from _from_retrieval(at, record)


def _from_retrieval(at: Scene, record: ToolRecord) -> Iterator[Evidence]:
    mass = [float(at.candidate_weight[at.owner == i].sum()) for i in range(len(at.hypotheses))]
    outside = (1.0 - at.parameters.prior_share) * float(at.candidate_weight[at.owner == ELSEWHERE].sum())
    outside += at.parameters.prior_share
    ratio = _density_ratio(at)
    nats = {
        h.id: math.log(((1.0 - at.parameters.prior_share) * m + math.exp(PRIOR_NATS) * r) / outside) - PRIOR_NATS
        for h, m, r in zip(at.hypotheses, mass, ratio, strict=True)
    }
    claim = f"{sum(mass):.0%} of the weight of {len(at.candidates)} retrieved places lies in these hypotheses"
    yield _evidence(EvidenceKind.RETRIEVAL, claim, record, nats)


def _density_ratio(at: Scene) -> Floats:
    """Retrieved weight near each hypothesis relative to what the prior puts there, bounded: shape (h,).

    Below, by the chance that retrieval knows nothing: finding nothing near a place cannot say more against it.
    """
    centres = lat_lon_array(h.point for h in at.hypotheses)
    scale = at.parameters.density_scale_km
    found = density(centres, positions(at.candidates), at.candidate_weight, scale)
    usual = density(centres, at.parameters.prior_lat_lon_deg, at.parameters.prior_weights, scale)
    nats = np.log((found + 0.01) / (usual + 0.01))
    return np.maximum(np.exp(np.minimum(nats, DENSITY_NATS_MAX)), at.parameters.prior_share)


def signs_of(records: Sequence[ToolRecord]) -> list[Sign]:
    """Every sign read with confidence, in order, each text once."""
    signs = {sign.text: sign for result in _readings(records) for sign in result.signs}
    return [sign for sign in signs.values() if sign.confidence >= MIN_SIGN_CONFIDENCE]


def _readings(records: Sequence[ToolRecord]) -> list[SignsRead]:
    return [SignsRead.model_validate(r.result) for r in records if r.tool == "read_signs" and r.result is not None]


def country_weights(records: Sequence[ToolRecord]) -> list[CountryWeights]:
    """What the signs say about countries, to be summed: their language, then their other cues."""
    readings = _readings(records)
    if not readings:
        return []
    fullest = max(readings, key=lambda result: sum(len(sign.text) for sign in result.signs))
    cues = country_cues(sign.text for sign in signs_of(records))
    return [language_weights(fullest.signs, fullest.languages), cue_weights(cues)]


def _from_signs(at: Scene, record: ToolRecord) -> Iterator[Evidence]:
    """A crop is read to look closer at the same signs, so the ledger's caps keep them from counting twice."""
    languages, from_cues = country_weights([record])
    cues = country_cues(sign.text for sign in signs_of([record]))
    if languages.nats:
        yield _evidence(EvidenceKind.LANGUAGE, _language_claim(languages), record, _mixed(at, languages))
    if cues:
        yield _evidence(EvidenceKind.SIGN, _cue_claim(cues), record, _mixed(at, from_cues))


def _mixed(at: Scene, weights: CountryWeights) -> dict[str, float]:
    return {h.id: weights.mixed(shares) for h, shares in zip(at.hypotheses, at.country_shares, strict=True)}


def _language_claim(weights: CountryWeights) -> str:
    likeliest = sorted(weights.nats, key=lambda code: (-weights.nats[code], code))[:4]
    return f"the language of the signs points to {', '.join(likeliest)}"


def _cue_claim(cues: Sequence[CountryCue]) -> str:
    named = (f"{cue.kind.value} {cue.text!r} ({', '.join(cue.countries[:3])})" for cue in cues[:4])
    return f"on signs: {'; '.join(named)}"


def _from_place_name(at: Scene, record: ToolRecord) -> Iterator[Evidence]:
    found = FoundPlaces.model_validate(record.result)
    places = towns_and_regions(found.places)
    owner = owners(at.hypotheses, lat_lon_array(place.point for place in places))
    nats: dict[str, float] = {}
    said_of = place_name_nats(found.query, places)
    for said, index in zip(said_of, owner, strict=True):
        if index != ELSEWHERE:
            hypothesis = at.hypotheses[int(index)]
            if hypothesis.radius_km > WIDE_KM:
                said = max(0.0, said)
            nats[hypothesis.id] = max(said, nats.get(hypothesis.id, -math.inf))
    if nats:
        claim = f"{found.query!r} is the name of {len(places)} known place(s), the largest {places[0].name}"
        yield _evidence(EvidenceKind.PLACE_NAME, claim, record, nats)


def _from_geocode(at: Scene, record: ToolRecord) -> Iterator[Evidence]:
    found = PlaceAt.model_validate(record.result)
    if found.surface == "land":
        yield _evidence(EvidenceKind.GEOCODE, f"{found.point} lies on land{_near(found.place)}", record, {})
        return
    ashore_km = _distance_ashore_km(found)
    meant = [h for h in at.hypotheses if point_distance_km(h.point, found.point) <= 1.0]
    nats = {h.id: SEA_NATS for h in meant if h.radius_km < ashore_km}
    yield _evidence(EvidenceKind.GEOCODE, f"{found.point} lies at sea{_near(found.place)}", record, nats)


def _distance_ashore_km(found: PlaceAt) -> float:
    """How far the nearest town is: a hypothesis that reaches it has land within, wherever its centre lies."""
    nearest = found.place
    # A territory without a town is told with a distance of 0: it says whose waters these are, not that land is near.
    return MAX_DISTANCE_KM if nearest is None or nearest.city is None else nearest.distance_km or 0.0


def _near(place: Place | None) -> str:
    return f", near {place.name}" if place else ""


def _from_sun(at: Scene, record: ToolRecord) -> Iterator[Evidence]:
    """How well the sun's height and bearing fit each hypothesis, against a photo from anywhere."""
    check = SunChecked.model_validate(record.result)
    nats = sun_nats(check.observation, lat_lon_array(h.point for h in at.hypotheses))
    weighed = {h.id: float(value) for h, value in zip(at.hypotheses, nats, strict=True)}
    if weighed:
        yield _evidence(EvidenceKind.SUN, f"the sun: {check.observation.summary}", record, weighed)


def _judged(at: Scene, opinions: Sequence[Opinion], records: Sequence[ToolRecord]) -> Iterator[Evidence]:
    by_call = {record.call_id: record for record in records if record.result is not None}
    known = {h.id for h in at.hypotheses}
    for opinion in opinions:
        if opinion.hypothesis_id in known:
            record = by_call.get(opinion.tool_call_id or "")
            kind = EvidenceKind.JUDGEMENT if record else EvidenceKind.OPINION
            most = math.inf if opinion.of_a_person else at.judgement_nats
            nats = max(-most, min(most, opinion.strength_nats))
            item = _evidence(kind, opinion.claim, record, {opinion.hypothesis_id: nats})
            yield _of_a_person(item) if opinion.of_a_person else item


def _of_a_person(item: Evidence) -> Evidence:
    digest = hashlib.sha256(item.claim.encode()).hexdigest()
    source = Source(tool="person", arguments={}, result_sha256=digest)
    return item.model_copy(update={"kind": EvidenceKind.PERSON, "source": source})


_WEIGH: dict[str, Callable[[Scene, ToolRecord], Iterator[Evidence]]] = {
    "search_photos": _from_search,
    "read_signs": _from_signs,
    "find_place": _from_place_name,
    "reverse_geocode": _from_geocode,
    "sun_check": _from_sun,
}
