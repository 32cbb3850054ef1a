"""From tool results to evidence: log-likelihood ratios for each hypothesis, computed by code.

Everything is recomputed from all records whenever hypotheses change, so the
outcome does not depend on when a hypothesis was raised or a tool was called.
The numbers stand beside their reasons here, in graphs/country_weights.py and in
graphs/posterior.json.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from agents.gazetteer_cues import CountryCue, country_cues
from agents.schemas import Evidence, EvidenceKind, Hypothesis, Source
from geo.names import name_key
from geo.place import Place
from geo.sphere import lat_lon_array, point_distance_km
from graphs.country_weights import (
    MIN_SIGN_CONFIDENCE,
    CountryWeights,
    cue_weights,
    language_weights,
)
from graphs.ledger import PRIOR_NATS
from graphs.posterior import (
    ELSEWHERE,
    Floats,
    Indices,
    PosteriorParameters,
    candidate_weights,
    density,
    finest_containing,
    positions,
)
from graphs.state import Opinion, ToolRecord
from retrieval.candidate import Candidate
from tools.results import FoundPlaces, PlaceAt, Sign, SignsRead

SEA_NATS = -6.0
"""Photos are taken on land; a boat or a pier is the exception."""

SEA_MAX_RADIUS_KM = 100.0
"""A wider hypothesis reaches land even if its centre lies at sea."""

NAME_NATS = 3.0
NAME_NATS_PER_LETTER = 0.45
EXTRA_WORD_NATS = 1.5
NAME_NATS_MAX = 9.0
"""A name read on a sign: the longer it is and the more words it has, the less it occurs by chance. Set on the
training half of IM2GPS3k's development photos, where the six strings that scored highest all named the city."""

ALIAS_NATS = 2.0
"""A former or second name of a place, where another place is called so today, is rarely what a sign means."""

POPULATION_EXPONENT = 0.8
LARGE_CITY_POPULATION = 8_000_000
SMALL_PLACE_POPULATION = 1_000
"""Photos are taken in a place in proportion to population^0.8; the ledger's prior is meant for a city of 8 million."""

DENSITY_NATS_MAX = 2.5
"""How far retrieval around a place that no candidate lies in may raise or lower it."""


class Scene(NamedTuple):
    """What evidence is weighed against: the hypotheses among the retrieved candidates."""

    hypotheses: Sequence[Hypothesis]
    candidates: Sequence[Candidate]
    candidate_weight: Floats
    owner: Indices
    country_shares: Sequence[dict[str | None, float]]
    parameters: PosteriorParameters


def scene(
    hypotheses: Sequence[Hypothesis],
    hypothesis_countries: Sequence[str | None],
    candidates: Sequence[Candidate],
    candidate_countries: Sequence[str | None],
    parameters: PosteriorParameters,
) -> Scene:
    """Assign candidates to open hypotheses (the finest that contains each) and countries to both."""
    weight = candidate_weights(candidates, parameters)
    owner = owners(hypotheses, positions(candidates))
    inside = [np.flatnonzero(owner == i).tolist() for i in range(len(hypotheses))]
    shares = [
        _country_shares(weight[rows], [candidate_countries[row] for row in rows], own)
        for rows, own in zip(inside, hypothesis_countries, strict=True)
    ]
    return Scene(hypotheses, candidates, weight, owner, shares, parameters)


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
    found: list[Evidence] = []
    for record in records:
        if record.result is not None and record.tool in _WEIGH:
            found.extend(_WEIGH[record.tool](at, record))
    found.extend(_judged(opinions, records, {h.id for h in at.hypotheses}))
    return [item.model_copy(update={"id": f"E{number}"}) for number, item in enumerate(found, start=1)]


def _evidence(kind: EvidenceKind, claim: str, record: ToolRecord | None, nats: dict[str, float]) -> Evidence:
    rounded = {key: round(value, 6) for key, value in nats.items()}
    return Evidence(id="E0", kind=kind, claim=claim, source=_source(record), log_likelihood_ratio=rounded)


def _source(record: ToolRecord | None) -> Source | None:
    if record is None or record.result_sha256 is None:
        return None
    return Source(tool=record.tool, arguments=record.arguments, result_sha256=record.result_sha256)


def _from_retrieval(at: Scene, record: ToolRecord) -> Iterator[Evidence]:
    """The whole photo's search; a search near a point or of a crop adds candidates to look at, no weight."""
    if not at.candidates or record.arguments.get("near") or record.arguments.get("box"):
        return
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
    """Retrieved weight near each hypothesis relative to what the prior puts there, bounded: shape (h,)."""
    centres = lat_lon_array(h.point for h in at.hypotheses)
    scale = at.parameters.density_scale_km
    found = density(centres, positions(at.candidates), at.candidate_weight, scale)
    usual = density(centres, at.parameters.prior_lat_lon_deg, at.parameters.prior_weights, scale)
    nats = np.log((found + 0.01) / (usual + 0.01))
    return np.asarray(np.exp(np.clip(nats, -DENSITY_NATS_MAX, DENSITY_NATS_MAX)))


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
            if hypothesis.radius_km > SEA_MAX_RADIUS_KM:
                said = max(0.0, said)
            nats[hypothesis.id] = max(said, nats.get(hypothesis.id, -math.inf))
    if nats:
        claim = f"{found.query!r} is the name of {len(places)} known place(s), the largest {places[0].name}"
        yield _evidence(EvidenceKind.PLACE_NAME, claim, record, nats)


def towns_and_regions(places: Sequence[Place]) -> list[Place]:
    """Places that a name on a sign may mean: no countries, and no region that has a town of the same name in it.

    "Shanghai" is the city, not the middle of the municipality.
    """
    towns = {(place.country_code, name_key(place.city)) for place in places if place.city}
    return [p for p in places if p.city or (p.region and (p.country_code, name_key(p.region)) not in towns)]


def place_name_nats(text: str, places: Sequence[Place]) -> list[float]:
    """What a name on a sign says for each place that has it, before other places are taken into account.

    Where some places are called just that, those that only bear it as another name stand back.
    """
    primary = [name_key(place.city or place.region or "") == name_key(text) for place in places]
    return [
        name_nats(text) + population_nats(place.population) - (ALIAS_NATS if any(primary) and not own else 0.0)
        for place, own in zip(places, primary, strict=True)
    ]


def name_nats(text: str) -> float:
    """How much less often a string stands on a sign by chance than in the place it names."""
    words = text.split()
    letters = sum(c.isalpha() for c in text)
    # A Chinese, Japanese or Korean character carries about as much as two letters and a half.
    wide = sum(c >= "\u3040" for c in text)
    length_nats = NAME_NATS_PER_LETTER * (letters + 1.5 * wide)
    return min(NAME_NATS_MAX, NAME_NATS + length_nats + EXTRA_WORD_NATS * (len(words) - 1))


def population_nats(population: int | None) -> float:
    """Log of how often photos are taken in a place of this size, against a city of 8 million."""
    people = max(population or SMALL_PLACE_POPULATION, SMALL_PLACE_POPULATION)
    return POPULATION_EXPONENT * math.log(min(people, LARGE_CITY_POPULATION) / LARGE_CITY_POPULATION)


def _from_geocode(at: Scene, record: ToolRecord) -> Iterator[Evidence]:
    found = PlaceAt.model_validate(record.result)
    meant = [
        h for h in at.hypotheses if point_distance_km(h.point, found.point) <= 1.0 and h.radius_km <= SEA_MAX_RADIUS_KM
    ]
    if found.surface == "sea":
        yield _evidence(EvidenceKind.GEOCODE, f"{found.point} lies at sea", record, {h.id: SEA_NATS for h in meant})
    else:
        yield _evidence(EvidenceKind.GEOCODE, f"{found.point} lies on land{_near(found.place)}", record, {})


def _near(place: Place | None) -> str:
    return f", near {place.name}" if place else ""


def _judged(opinions: Sequence[Opinion], records: Sequence[ToolRecord], known: set[str]) -> Iterator[Evidence]:
    by_call = {record.call_id: record for record in records if record.result is not None}
    for opinion in opinions:
        if opinion.hypothesis_id in known:
            record = by_call.get(opinion.tool_call_id or "")
            kind = EvidenceKind.JUDGEMENT if record else EvidenceKind.OPINION
            yield _evidence(kind, opinion.claim, record, {opinion.hypothesis_id: opinion.strength_nats})


_WEIGH: dict[str, Callable[[Scene, ToolRecord], Iterator[Evidence]]] = {
    "search_photos": _from_retrieval,
    "read_signs": _from_signs,
    "find_place": _from_place_name,
    "reverse_geocode": _from_geocode,
}
