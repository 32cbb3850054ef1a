"""A judgement counts only if it cites the result of its own place, or of the photo as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from agents.schemas import EvidenceKind, Hypothesis
from geo.point import Point
from geo.sphere import destinations_deg
from graphs.assessment.assess import Assessment, assess
from graphs.assessment.citations import citation_notes, concerns
from graphs.geolocate import build_geolocate
from graphs.state import Opinion, ToolRecord
from tests.fakes.machine import PLACES, context, given, scripted
from tests.graphs.assessment.run_states import hypothesis, named, position, record, searched, signs, state
from tools.results import Box, CloseUp, CloseUps, FoundPlaces, PlaceAt, SatelliteView

LISBON, MADRID = PLACES[2], PLACES[3]
EIGHT = [hypothesis(f"H{n}", place.point.lat, place.point.lon) for n, place in enumerate(PLACES, start=1)]
OF_LISBON, OF_MADRID = EIGHT[2], EIGHT[3]


def view_of(point: Point, call_id: str = "view") -> ToolRecord:
    seen = SatelliteView(
        point=point, zoom=5, km_per_pixel=3.8, width_km=1950.0, source="relief", attribution="somebody"
    )
    return record("satellite_view", seen, call_id, lat=round(point.lat, 2), lon=round(point.lon, 2), zoom=5)


def looked_closer(call_id: str = "closer") -> ToolRecord:
    close_up = CloseUp(box=Box(left=0.1, top=0.1, right=0.2, bottom=0.2), width_px=400, height_px=300)
    return record("look_closer", CloseUps(close_ups=(close_up,)), call_id)


def fits(*hypotheses: Hypothesis, call: str = "view", strength: float = 3.0) -> list[Opinion]:
    return [Opinion(hypothesis_id=h.id, claim="it fits", strength_nats=strength, tool_call_id=call) for h in hypotheses]


def assessed(records: Sequence[ToolRecord], opinions: Sequence[Opinion] = (), **known: Any) -> Assessment:
    said = [position(h.point.lat, h.point.lon, confidence=0.1) for h in EIGHT]
    return assess(context(), state(records=list(records), opinions=list(opinions), positions=said, **known), EIGHT)


def chances(found: Assessment) -> dict[str, float]:
    return {h.id: h.probability for h in found.hypotheses}


def opinions_of(found: Assessment) -> list[str]:
    return [e.claim for e in found.evidence if e.kind is EvidenceKind.OPINION]


# --- the rule


@pytest.mark.parametrize(
    "result",
    [
        view_of(LISBON.point),
        record("reverse_geocode", PlaceAt(point=LISBON.point, place=LISBON, surface="land"), lat=38.7, lon=-9.1),
        searched(near={"centre": {"lat": 38.72, "lon": -9.13}, "radius_km": 20.0}),
        named("Lisbon", LISBON),
    ],
    ids=lambda found: found.tool,
)
def test_the_result_of_a_place_is_about_hypotheses_there(result: ToolRecord) -> None:
    assert concerns(result, OF_LISBON)
    assert [h.id for h in EIGHT if concerns(result, h)] == [OF_LISBON.id]


@pytest.mark.parametrize("result", [looked_closer(), signs("Hotel"), searched()], ids=lambda found: found.tool)
def test_what_is_about_the_photo_is_about_every_hypothesis(result: ToolRecord) -> None:
    assert all(concerns(result, h) for h in EIGHT)


def test_a_tool_of_the_user_is_judged_by_the_positions_it_was_asked_or_found() -> None:
    asked = record("street_views", FoundPlaces(query="", places=(MADRID,)), lat=38.72, lon=-9.13, radius_km=1.0)
    found = record("map_features", FoundPlaces(query="", places=(MADRID,)), features=["canal"])
    without = record("web_search", FoundPlaces(query="", places=()), query="yellow trams")
    assert [concerns(asked, h) for h in (OF_LISBON, OF_MADRID)] == [True, False]
    assert [concerns(found, h) for h in (OF_LISBON, OF_MADRID)] == [False, True]
    assert [concerns(without, h) for h in (OF_LISBON, OF_MADRID)] == [True, True]


def test_a_name_that_was_not_found_is_about_no_place() -> None:
    assert not any(concerns(named("Atlantis"), h) for h in EIGHT)


def test_the_circle_of_a_hypothesis_decides_and_that_of_a_search() -> None:
    lat, lon = destinations_deg(LISBON.point, np.array(90.0), np.array(60.0)).tolist()
    near_by = hypothesis("H9", lat, lon, radius_km=10.0)
    assert not concerns(view_of(LISBON.point), near_by)
    assert concerns(view_of(LISBON.point), near_by.model_copy(update={"radius_km": 61.0}))
    searched_wide = searched(near={"centre": {"lat": 38.72, "lon": -9.13}, "radius_km": 100.0})
    assert concerns(searched_wide, near_by)


# --- what it does to the belief


def test_one_view_of_the_first_place_raises_no_other_of_eight() -> None:
    """All eight together rose from 24 to 74 % where one view of the first was cited for each."""
    records = [view_of(OF_LISBON.point)]
    own, all_eight = assessed(records, fits(OF_LISBON)), assessed(records, fits(*EIGHT))
    assert chances(all_eight) == chances(own)
    assert chances(own)[OF_LISBON.id] > chances(assessed(records))[OF_LISBON.id]
    assert len(opinions_of(all_eight)) == 7
    assert all("satellite_view is about another place" in claim for claim in opinions_of(all_eight))


@pytest.mark.parametrize("seed", range(5))
def test_citing_another_places_picture_changes_no_probability(seed: int) -> None:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(EIGHT))
    views = [view_of(h.point, f"view-{h.id}") for h in EIGHT]
    right = [o for h in EIGHT[:3] for o in fits(h, call=f"view-{h.id}", strength=float(rng.uniform(-3, 3)))]
    wrong = [
        opinion
        for h, other in zip(EIGHT, [EIGHT[i] for i in order], strict=True)
        if h.point != other.point
        for opinion in fits(h, call=f"view-{other.id}", strength=float(rng.uniform(-3, 3)))
    ]
    mixed = [[*right, *wrong][i] for i in rng.permutation(len(right) + len(wrong))]
    assert chances(assessed(views, mixed)) == pytest.approx(chances(assessed(views, right)), abs=1e-12)


def test_the_order_of_hypotheses_and_judgements_changes_nothing() -> None:
    records, opinions = [view_of(OF_LISBON.point), looked_closer()], [*fits(*EIGHT), *fits(*EIGHT[:3], call="closer")]
    said = [position(h.point.lat, h.point.lon, confidence=0.1) for h in EIGHT]
    known = state(records=records, opinions=opinions, positions=said)
    backwards = {**known, "opinions": opinions[::-1]}
    first, second = assess(context(), known, EIGHT), assess(context(), backwards, EIGHT[::-1])  # type: ignore[arg-type]
    assert chances(first) == pytest.approx(chances(second), abs=1e-9)


def test_a_close_up_may_be_judged_about_many_places_and_about_each_once() -> None:
    once = assessed([looked_closer()], fits(*EIGHT[:3], call="closer"))
    again = assessed([looked_closer()], [*fits(*EIGHT[:3], call="closer")] * 3)
    plain = assessed([looked_closer()])
    assert all(chances(once)[h.id] > chances(plain)[h.id] for h in EIGHT[:3])
    assert chances(again) == chances(once)


def test_a_rejected_citation_does_not_discount_a_valid_one() -> None:
    records = [view_of(OF_LISBON.point), view_of(OF_MADRID.point, "other")]
    valid = fits(OF_LISBON)
    assert chances(assessed(records, [*valid, *fits(OF_LISBON, call="other")])) == chances(assessed(records, valid))


def test_a_note_says_which_judgement_has_no_weight() -> None:
    records = [view_of(OF_LISBON.point)]
    [note] = citation_notes(fits(OF_LISBON, OF_MADRID), EIGHT, records)
    assert note == (
        "a judgement of H4 has no weight: the result of satellite_view that it cites is about another place"
    )
    assert citation_notes(fits(OF_LISBON, call="made-up"), EIGHT, records) == []


def test_a_run_notes_it_and_moves_nothing() -> None:
    look = [("reverse_geocode", {"lat": 40.42, "lon": -3.7})]
    strength = {"claim": "it fits", "strength": 3.0, "tool_call_id": "call-2-0"}
    answers = []
    for judgements in ([], [{"hypothesis_id": "H2", **strength}]):
        at = context(model=scripted(look, {"judgements": judgements}))
        answers.append(build_geolocate(at).invoke(given())["answer"])  # type: ignore[call-overload]
    plain, swayed = answers
    assert "reverse_geocode that it cites is about another place" in swayed.reasoning
    assert [h.probability for h in swayed.hypotheses] == [h.probability for h in plain.hypotheses]
