"""From a run's state to witnesses: what models reported, what tools returned, what was judged, as evidence.

Everything is made again from all records whenever something is new, so the outcome does not depend on the order in
which tools were called or hypotheses raised.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from agents.chat_models.spec import short_name
from agents.reply_schemas import StatedFact
from agents.schemas import EvidenceKind, Hypothesis, Source
from belief.records import Record
from belief.support import Disc, Support
from belief.witnesses.areas import area_log_ratio, bounded_nats, country_log_ratio
from belief.witnesses.countries import CountryWeights, cue_weights, language_weights
from belief.witnesses.place_names import name_report
from belief.witnesses.reports import Report, ReportedPlace, place_shares, report_ratio, with_floor
from belief.witnesses.retrieval import pinned, retrieval_log_ratio
from geo.place import Place
from geo.places.names import holds_name, name_key
from geo.sun import sun_nats
from graphs.assessment.citations import citation, countries_cited_about, succeeded
from graphs.assessment.person import (
    PERSON_TOOL,
    fact_circles,
    fact_claim,
    says_where,
    stated_facts,
    stated_log_ratio,
)
from graphs.assessment.satellite import from_matches
from graphs.assessment.signs import readings_of, signs_of
from graphs.assessment.statement import Floats, Statement, evidence_of, source_of
from graphs.context import GeolocateContext
from graphs.state import GeolocateState, Opinion, Position, ToolRecord
from tools.results import FoundPlaces, PhotoMatches, PlaceAt, SunChecked
from tools.services.country_cues import CountryCue, country_cues
from tools.services.language_id import likely_languages


def statements(
    context: GeolocateContext,
    state: GeolocateState,
    hypotheses: Sequence[Hypothesis],
    records: Sequence[ToolRecord],
    opinions: Sequence[Opinion],
) -> list[Statement]:
    """All evidence of a run, numbered E1, E2, ... in the order of the records."""
    found: list[Statement] = list(_from_models(context, state))
    for record in _telling(records):
        found.extend(_FROM_TOOL[record.tool](context, state, record))
    found.extend(from_matches(context, records))
    found.extend(_from_signs(context, records))
    found.extend(_from_opinions(context, hypotheses, records, opinions))
    return [s._replace(evidence=s.evidence.model_copy(update={"id": f"E{n}"})) for n, s in enumerate(found, start=1)]


def _from_models(context: GeolocateContext, state: GeolocateState) -> Iterator[Statement]:
    """One report of each model, whatever the number of its samples: worth what its record says."""
    positions = [p for p in state["positions"] if _was_seen(context, p.model)]
    for model in dict.fromkeys(position.model for position in positions):
        said = latest_look([position for position in positions if position.model == model])
        record = context.parameters.records.of(model, context.strategy.name)
        report = model_report(said, record)
        source = Source(
            tool="model",
            arguments={"model": model, "places": [place._asdict() for place in report.places]},
            result_sha256=said[0].reply_sha256,
        )
        ratio = partial(_report_log_ratio, context, report)
        pins = [place[:2] for place in report.places]
        evidence = evidence_of(EvidenceKind.SIGHT, _reading_claim(said), source)
        yield Statement(evidence, ratio, pins, model, record.worth_nats)


def _was_seen(context: GeolocateContext, model: str) -> bool:
    """Whether a model's first positions are its own reading: it saw the picture, and nothing else before.

    The own answer of a strategy that asks for one counts in any case: it is what is answered.
    """
    if not context.strategy.commits_by_belief:
        return True
    asked = next((known for known in context.models if known.name == model), context.model)
    # A recorded answer was given by a model that saw the photo, though the recording is shown nothing now.
    return context.strategy.reads_blind and (asked.capabilities.images or asked.kind.is_recorded)


def latest_look(said: Sequence[Position]) -> list[Position]:
    """What one model said when it had looked most closely: it has seen all that it had seen before, and more."""
    latest = max(position.look for position in said)
    return [position for position in said if position.look == latest]


def model_report(said: Sequence[Position], record: Record) -> Report:
    """The places of one model as a report; its samples share the weight.

    A radius counts if the model stated it, or where a gazetteer's place stands for a name.
    """
    samples = [[p for p in said if p.sample == sample] for sample in dict.fromkeys(p.sample for p in said)]
    places = [
        [ReportedPlace(p.point.lat, p.point.lon, p.stated_radius_km, p.confidence) for p in sample]
        for sample in samples
    ]
    shares = np.concatenate([place_shares(of_sample) / len(samples) for of_sample in places])
    return Report([place for of_sample in places for place in of_sample], record, shares.tolist())


def _report_log_ratio(context: GeolocateContext, report: Report, support: Support) -> Floats:
    return np.asarray(np.log(report_ratio(support, report, context.parameters.records)))


def _reading_claim(said: Sequence[Position]) -> str:
    first = said[0]
    others = f" and {len(said) - 1} other place(s)" if len(said) > 1 else ""
    because = f": {first.why}" if first.why else ""
    return f"{short_name(first.model) or 'the model'} says {first.name}{others}{because}"


def _telling(records: Sequence[ToolRecord]) -> Iterator[ToolRecord]:
    """Records that say something about where the photo was taken, but for the signs.

    A name that somebody said is no evidence: looking it up weighs only if it was read in the photo, and once.
    """
    lines = [sign.text for sign in signs_of(records)]
    looked_up: set[str] = set()
    stand = {record.call_id for record, _ in stated_facts(records)}
    for record in records:
        if record.result is None or record.tool not in _FROM_TOOL:
            continue
        if record.tool == PERSON_TOOL and record.call_id not in stand:
            continue
        if record.tool == "find_place":
            name = str(record.arguments.get("name", ""))
            if name_key(name) in looked_up or not any(holds_name(line, name) for line in lines):
                continue
            looked_up.add(name_key(name))
        yield record


def _from_search(context: GeolocateContext, state: GeolocateState, record: ToolRecord) -> Iterator[Statement]:
    """The run's own search, with every photo of the place; any other looks at the same pixels again and adds no
    weight: with a crop, near a point, with one of several photos, or with the same photo once more.
    """
    if _is_narrowed(record) or record.call_id != _own_search(state, record).call_id:
        found = PhotoMatches.model_validate(record.result)
        if found.candidates:
            what = "near that point" if found.near else f"that resemble the {'crop' if found.box else 'photo'}"
            claim = f"{len(found.candidates)} places {what}: shown for comparison, without weight of their own"
            yield Statement(evidence_of(EvidenceKind.LOOKALIKE, claim, source_of(record)))
        return
    candidates = state["candidates"]
    if candidates:
        claim = f"{len(candidates)} places of the atlases resemble the photo"

        def log_ratio(support: Support) -> Floats:
            return retrieval_log_ratio(support, candidates, context.parameters, context.versions.encoder)

        yield Statement(evidence_of(EvidenceKind.RETRIEVAL, claim, source_of(record)), log_ratio, pinned(candidates))


def _is_narrowed(record: ToolRecord) -> bool:
    return bool(record.arguments.get("near") or record.arguments.get("box"))


def _own_search(state: GeolocateState, record: ToolRecord) -> ToolRecord:
    """The search that the candidates are of: the first of the run with whole photos."""
    searches = (r for r in state["records"] if r.tool == record.tool and r.result is not None and not _is_narrowed(r))
    return next(searches, record)


def _from_signs(context: GeolocateContext, records: Sequence[ToolRecord]) -> Iterator[Statement]:
    """What all signs together say about countries: their language, then their other cues. A crop is read to look
    closer at the same signs, and photos of one place show the same ones, so nothing counts twice.
    """
    readings = readings_of(records)
    if not readings:
        return
    record, fullest = max(readings, key=lambda pair: sum(len(sign.text) for sign in pair[1].signs))
    signs = signs_of(records)
    if len({read.arguments.get("photo_id") for read, _ in readings}) > 1:
        languages = language_weights(signs, likely_languages(" ".join(sign.text for sign in signs)))
    else:
        languages = language_weights(fullest.signs, fullest.languages)
    cues = country_cues(sign.text for sign in signs)
    person_read_them = any(fact.languages for _, fact in stated_facts(records))
    if languages.nats and not person_read_them:
        yield _of_countries(context, EvidenceKind.LANGUAGE, _language_claim(languages), record, languages)
    if cues:
        yield _of_countries(context, EvidenceKind.SIGN, _cue_claim(cues), record, cue_weights(cues))


def _of_countries(
    context: GeolocateContext, kind: EvidenceKind, claim: str, record: ToolRecord, weights: CountryWeights
) -> Statement:
    def log_ratio(support: Support) -> Floats:
        codes = context.country_codes(support.lat_lon_deg)
        return country_log_ratio(support, codes, weights, context.parameters.useless[kind.value])

    return Statement(evidence_of(kind, claim, source_of(record)), log_ratio)


def _language_claim(weights: CountryWeights) -> str:
    likeliest = sorted(weights.nats, key=lambda code: (-weights.nats[code], code))[:4]
    return f"the language of the signs points to {', '.join(likeliest)}"


def _cue_claim(cues: Sequence[CountryCue]) -> str:
    named = (f"{cue.kind.value} {cue.text!r} ({', '.join(cue.countries[:3])})" for cue in cues[:4])
    return f"on signs: {'; '.join(named)}"


def _from_place_name(context: GeolocateContext, _: GeolocateState, record: ToolRecord) -> Iterator[Statement]:
    found = FoundPlaces.model_validate(record.result)
    places = name_report(found.query, found.places)
    if places:
        claim = f"{found.query!r} is the name of {len(places)} known place(s), the largest {found.places[0].name}"
        shares = [place.confidence or 0.0 for place in places]
        ratio = partial(_report_log_ratio, context, Report(places, context.parameters.place_name, shares))
        evidence = evidence_of(EvidenceKind.PLACE_NAME, claim, source_of(record))
        yield Statement(evidence, ratio, [place[:2] for place in places])


def _from_geocode(_: GeolocateContext, __: GeolocateState, record: ToolRecord) -> Iterator[Statement]:
    """What lies at a position says nothing about the photo: the prior knows land from sea already."""
    found = PlaceAt.model_validate(record.result)
    where = "on land" if found.surface == "land" else "at sea"
    claim = f"{found.point} lies {where}{_near(found.place)}"
    yield Statement(evidence_of(EvidenceKind.GEOCODE, claim, source_of(record)))


def _near(place: Place | None) -> str:
    return f", near {place.name}" if place else ""


def _from_sun(context: GeolocateContext, _: GeolocateState, record: ToolRecord) -> Iterator[Statement]:
    """How well the sun's height and bearing fit each position."""
    check = SunChecked.model_validate(record.result)

    def log_ratio(support: Support) -> Floats:
        nats = sun_nats(check.observation, support.lat_lon_deg)
        return with_floor(nats, support.prior_mass, context.parameters.useless[EvidenceKind.SUN.value])

    claim = f"the sun: {check.observation.summary}"
    yield Statement(evidence_of(EvidenceKind.SUN, claim, source_of(record)), log_ratio)


def _from_person(context: GeolocateContext, _: GeolocateState, record: ToolRecord) -> Iterator[Statement]:
    """A fact that the person stated."""
    fact = StatedFact.model_validate((record.result or {})["fact"])
    evidence = evidence_of(EvidenceKind.PERSON, fact_claim(fact), source_of(record))
    if not says_where(fact):
        yield Statement(evidence)
        return
    circles = fact_circles(record)
    ratio = partial(stated_log_ratio, context, fact, circles)
    yield Statement(evidence, ratio, [] if fact.is_denied else [circle[:2] for circle in circles])


def _from_opinions(
    context: GeolocateContext,
    hypotheses: Sequence[Hypothesis],
    records: Sequence[ToolRecord],
    opinions: Sequence[Opinion],
) -> Iterator[Statement]:
    """Judgements of results about areas, by the model's measured reliability; of several alike each counts less.

    A judgement that cites no result, or the result of another place, is an opinion, and has no weight.
    """
    by_call, known = succeeded(records), {h.id: h for h in hypotheses}
    latest = {_subject(opinion): opinion for opinion in opinions if opinion.hypothesis_id in known}
    codes = countries_cited_about(context, hypotheses, records)
    cited = {
        subject: citation(said, known[said.hypothesis_id], by_call, codes.get(said.hypothesis_id))
        for subject, said in latest.items()
    }
    judged = Counter(latest[subject].hypothesis_id for subject, found in cited.items() if found.is_valid)
    for subject, opinion in latest.items():
        about, (record, is_about_the_place) = known[opinion.hypothesis_id], cited[subject]
        if opinion.of_a_person:
            nats = bounded_nats(opinion.strength_nats, context.parameters.person_accuracy)
            source = Source(tool="person", arguments={}, result_sha256=_digest(opinion.claim))
            yield _about_area(EvidenceKind.PERSON, opinion.claim, source, about, nats)
        elif record is None or not is_about_the_place:
            why = f" (no weight: the result of {record.tool} is about another place)" if record else ""
            yield Statement(evidence_of(EvidenceKind.OPINION, f"{opinion.claim}{why}", None))
        else:
            most = bounded_nats(opinion.strength_nats, context.judgement_accuracy)
            alike = 1.0 + (judged[opinion.hypothesis_id] - 1) * context.judgement_correlation
            yield _about_area(EvidenceKind.JUDGEMENT, opinion.claim, source_of(record), about, most / alike)


def _subject(opinion: Opinion) -> tuple[str, ...]:
    """What an opinion is about: a later one about the same replaces it."""
    if opinion.of_a_person or opinion.tool_call_id is None:
        return opinion.hypothesis_id, opinion.claim
    return opinion.hypothesis_id, opinion.tool_call_id, "judged"


def _about_area(kind: EvidenceKind, claim: str, source: Source, about: Hypothesis, nats: float) -> Statement:
    circle = _circle(about)
    if nats == 0.0:
        return Statement(evidence_of(kind, claim, source))

    def log_ratio(support: Support) -> Floats:
        return area_log_ratio(support, circle, nats)

    evidence = evidence_of(kind, claim, source).model_copy(update={"judged": about.id})
    return Statement(evidence, log_ratio, [circle[:2]])


def _circle(hypothesis: Hypothesis) -> Disc:
    return Disc(hypothesis.point.lat, hypothesis.point.lon, hypothesis.radius_km)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


_FROM_TOOL: dict[str, Callable[[GeolocateContext, GeolocateState, ToolRecord], Iterator[Statement]]] = {
    "search_photos": _from_search,
    "find_place": _from_place_name,
    "reverse_geocode": _from_geocode,
    "sun_check": _from_sun,
    PERSON_TOOL: _from_person,
}
