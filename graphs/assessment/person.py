"""What a person stated about the photo, as records: evidence of the person, and what a sun check may use."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from agents.reply_schemas import StatedFact
from belief.support import Disc, Support
from belief.witnesses.facts import countries_nats, fact_log_ratio, languages_nats, places_nats
from belief.witnesses.place_names import CITY_RADIUS_KM, REGION_RADIUS_KM
from geo.place import Place
from geo.sphere import Floats
from graphs.context import GeolocateContext
from graphs.state import CaptureClues, ToolRecord

PERSON_TOOL = "person"
"""Of records of what a person stated: the person is the source."""


def fact_record(call_id: str, fact: StatedFact, places: Sequence[Place]) -> ToolRecord:
    """The record of a fact, with the places of the name in it."""
    said = fact.model_dump(mode="json", exclude_defaults=True)
    text = fact.model_dump_json(exclude_defaults=True)
    return ToolRecord(
        call_id=call_id,
        tool=PERSON_TOOL,
        arguments={"record": call_id, **said},
        result={"fact": said, "places": [place.model_dump(mode="json") for place in places]},
        result_sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def retracted(record: ToolRecord) -> ToolRecord:
    """The record of a fact that the person took back: it is evidence no more."""
    return record.model_copy(update={"result": None, "error": "taken back by the person"})


def stated_facts(records: Sequence[ToolRecord]) -> list[tuple[ToolRecord, StatedFact]]:
    """The facts that stand, in order; of the same said twice, the later."""
    stand = [(r, StatedFact.model_validate(r.result["fact"])) for r in records if r.tool == PERSON_TOOL and r.result]
    return list({_subject(fact): (record, fact) for record, fact in stand}.values())


def _subject(fact: StatedFact) -> tuple[Any, ...]:
    return (*map(frozenset, (fact.countries, fact.languages)), fact.place.casefold(), fact.taken_at is None)


def fact_claim(fact: StatedFact) -> str:
    """The person's words, and how a time was understood."""
    understood = f" (taken as {fact.taken_at})" if fact.taken_at else ""
    return f"the person says “{fact.words}”{understood}"


def says_where(fact: StatedFact) -> bool:
    """Whether a fact speaks of where it is; a time alone is for the sun check."""
    return bool(fact.countries or fact.languages or fact.place)


def fact_circles(record: ToolRecord) -> list[Disc]:
    """Circles of the places that a fact names."""
    places = [Place.model_validate(place) for place in (record.result or {}).get("places", [])]
    return [Disc(p.point.lat, p.point.lon, CITY_RADIUS_KM if p.city else REGION_RADIUS_KM) for p in places]


def stated_log_ratio(context: GeolocateContext, fact: StatedFact, circles: Sequence[Disc], support: Support) -> Floats:
    """What a fact says of every position, by how often such facts are right."""
    if fact.place:
        nats = places_nats(support, circles, is_denied=fact.is_denied)
    else:
        codes = context.country_codes(support.lat_lon_deg)
        nats = (
            countries_nats(codes, fact.countries, is_denied=fact.is_denied)
            if fact.countries
            else languages_nats(codes, fact.languages, is_denied=fact.is_denied)
        )
    return fact_log_ratio(support, nats)


def clues_with(known: CaptureClues | None, records: Sequence[ToolRecord]) -> CaptureClues | None:
    """What is known of the time, with what the person stated."""
    times = [fact.taken_at for _, fact in stated_facts(records) if fact.taken_at and not fact.is_denied]
    return (known or CaptureClues()).model_copy(update={"taken_at": times[-1]}) if times else known


def is_time(text: str) -> bool:
    """Whether a text is ISO 8601."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
