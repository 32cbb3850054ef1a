"""The belief of a run: hypotheses and what each piece of evidence did are read off it, and set nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agents.chat_models.failures import ModelFailure
from agents.chat_models.registry import LoadedModel
from agents.reply_schemas import ReviseHypotheses
from agents.schemas import AnswerStatus, EvidenceKind, Hypothesis, HypothesisStatus, Origin
from belief.decision import Aim
from graphs.assessment.assess import MOST_HYPOTHESES, Assessment, assess, with_proposals
from graphs.assessment.hypotheses import add, elsewhere, merge, open_hypotheses, reject, same_place
from graphs.context import GeolocateContext
from graphs.nodes.revise import apply_revision, is_settled
from graphs.state import Opinion, ToolRecord
from tests.fakes.machine import PLACES, Policy, ScriptedModel, candidates, context, propose, run
from tests.graphs.assessment.run_states import hypothesis, named, position, searched, signs, state

LISBON, MADRID, PRAGUE = PLACES[2:5]
IN_LISBON = hypothesis("H1", LISBON.point.lat, LISBON.point.lon)
IN_MADRID = hypothesis("H2", MADRID.point.lat, MADRID.point.lon)
IN_PRAGUE = hypothesis("H3", PRAGUE.point.lat, PRAGUE.point.lon)
THREE = [IN_LISBON, IN_MADRID, IN_PRAGUE]
READ = [signs("Lisbon", "www.obchod.cz"), named("Lisbon", LISBON)]


def seeing(policy: Policy = lambda *_: ("", [])) -> ScriptedModel:
    return ScriptedModel(policy=policy)


def assessed(
    hypotheses: Sequence[Hypothesis] = (),
    records: Sequence[ToolRecord] = (),
    at: GeolocateContext | None = None,
    **known: Any,
) -> Assessment:
    """What a run with these hypotheses and records believes; a search is among them."""
    found = list(candidates())
    everything = state(candidates=found, hypotheses=list(hypotheses), records=[searched(), *records], **known)
    return assess(at or context(model=seeing()), everything)


def chances(assessment: Assessment) -> dict[str, float]:
    return {h.id: h.probability for h in assessment.hypotheses}


def of_kind(assessment: Assessment, kind: EvidenceKind) -> Any:
    [item] = [item for item in assessment.evidence if item.kind is kind]
    return item


# --- hypotheses


def test_a_hypothesis_has_the_probability_that_the_belief_holds_in_its_circle() -> None:
    found = assessed(THREE)
    for place in THREE:
        held = found.belief.chance_within_km((place.point.lat, place.point.lon), place.radius_km)
        assert chances(found)[place.id] == pytest.approx(held, abs=1e-8)


def test_of_two_circles_the_finer_owns_what_both_contain() -> None:
    wide = hypothesis("H1", LISBON.point.lat, LISBON.point.lon, radius_km=100.0)
    fine = hypothesis("H2", LISBON.point.lat, LISBON.point.lon, radius_km=25.0)
    alone, both = assessed([wide]), assessed([wide, fine])
    assert chances(both)["H1"] + chances(both)["H2"] == pytest.approx(chances(alone)["H1"], abs=1e-8)
    assert chances(both)["H2"] == pytest.approx(chances(assessed([IN_LISBON]))["H1"], abs=1e-8)


def test_open_hypotheses_and_elsewhere_sum_to_one() -> None:
    found = assessed(THREE, READ).hypotheses
    assert sum(h.probability for h in open_hypotheses(found)) + elsewhere(found) == pytest.approx(1.0)


def test_modes_that_nobody_raised_are_hypotheses_of_the_belief() -> None:
    found = assessed()
    assert {h.origin for h in found.hypotheses} == {Origin.BELIEF}
    assert {"Madrid, Spain", "Prague, Czechia"} <= {h.name for h in found.hypotheses}
    assert all(h.probability > 0.0 for h in found.hypotheses)
    assert len(found.hypotheses) <= MOST_HYPOTHESES


def test_a_place_that_is_listed_is_not_raised_again() -> None:
    names = [h.name for h in assessed([IN_MADRID.model_copy(update={"radius_km": 300.0})]).hypotheses]
    assert "Madrid, Spain" not in names
    assert "Prague, Czechia" in names


def test_hypotheses_keep_their_ids_over_rounds() -> None:
    first = assessed()
    later = assessed(first.hypotheses, READ)
    for before, after in zip(first.hypotheses, later.hypotheses, strict=False):
        assert (before.id, before.name, before.point) == (after.id, after.name, after.point)
    assert len({h.id for h in later.hypotheses}) == len(later.hypotheses)


@pytest.mark.parametrize(("known", "read"), [(THREE, READ), ([], READ), ([], [])])
def test_assessing_again_changes_nothing(known: list[Hypothesis], read: list[ToolRecord]) -> None:
    first = assessed(known, read)
    again = assessed(first.hypotheses, read)
    assert again.hypotheses == first.hypotheses
    assert again.evidence == first.evidence


# --- what changes no belief


def test_the_order_of_records_changes_no_probability() -> None:
    one, other = assessed(THREE, READ), assessed(THREE, READ[::-1])
    assert chances(one) == chances(other)


def test_proposing_a_place_changes_no_belief() -> None:
    before = assessed(THREE)
    grown = with_proposals(before.hypotheses, [position(-33.9, 151.2, name="Sydney")])
    after = assessed(grown)
    assert np.array_equal(after.belief.mass, before.belief.mass)
    known = chances(before)
    assert {key: chances(after)[key] for key in known} == pytest.approx(known, abs=1e-8)
    assert chances(after)[grown[-1].id] < 0.01, "that a place is named makes it no likelier"


def test_rejecting_and_merging_change_no_belief_and_what_was_there_is_of_others_or_elsewhere() -> None:
    before = assessed(THREE)
    closed = merge(reject(before.hypotheses, "H2"), keep="H1", absorb="H3")
    after = assessed(closed)
    assert np.array_equal(after.belief.mass, before.belief.mass)
    assert (chances(after)["H2"], chances(after)["H3"]) == (0.0, 0.0)
    assert chances(after)["H1"] == pytest.approx(chances(before)["H1"], abs=1e-8)
    wider = {h.id for h in open_hypotheses(before.hypotheses)} - {"H1", "H2", "H3"}
    freed = chances(before)["H2"] + chances(before)["H3"]
    gained = sum(chances(after)[key] - chances(before)[key] for key in wider)
    lost = elsewhere(after.hypotheses) - elsewhere(before.hypotheses)
    raised = sum(h.probability for h in after.hypotheses if h.id not in chances(before))
    assert freed == pytest.approx(gained + lost + raised, abs=1e-6), "a wider one around it has it, else nobody"


def test_a_rejected_place_is_not_raised_again_by_the_belief() -> None:
    first = assessed()
    madrid = next(h for h in first.hypotheses if h.name == "Madrid, Spain")
    later = assessed(reject(first.hypotheses, madrid.id))
    for new in open_hypotheses(later.hypotheses):
        assert not same_place(madrid, new)


def test_an_opinion_without_a_call_changes_no_belief() -> None:
    said = Opinion(hypothesis_id="H1", claim="sure", strength_nats=3.0, tool_call_id=None)
    plain, swayed = assessed(THREE), assessed(THREE, opinions=[said])
    assert chances(swayed) == chances(plain)
    opinion = of_kind(swayed, EvidenceKind.OPINION)
    assert (opinion.log_likelihood_ratio, opinion.information_nats, opinion.source) == ({}, 0.0, None)


# --- what evidence did


def test_evidence_says_what_it_did_to_each_open_hypothesis_and_to_the_whole() -> None:
    found = assessed(THREE, READ)
    name = of_kind(found, EvidenceKind.PLACE_NAME)
    assert set(name.log_likelihood_ratio) == {h.id for h in found.hypotheses}
    assert name.log_likelihood_ratio["H1"] > 1.0
    assert name.log_likelihood_ratio["H2"] < 0.0
    assert name.information_nats > 0.1
    assert name.id in next(h for h in found.hypotheses if h.id == "H1").evidence_ids


def test_what_evidence_did_is_the_difference_it_makes_to_the_log_odds() -> None:
    found, without = assessed(THREE, READ), assessed(THREE, READ[:1])
    told = of_kind(found, EvidenceKind.PLACE_NAME).log_likelihood_ratio["H1"]
    odds = [chances(a)["H1"] / (1.0 - chances(a)["H1"]) for a in (found, without)]
    # The name pins its place more finely, so the two are evaluated at slightly other positions.
    assert told == pytest.approx(float(np.log(odds[0] / odds[1])), abs=0.3)


def test_a_judgement_and_a_person_move_the_place_they_are_about() -> None:
    plain = chances(assessed(THREE))
    call = searched().call_id
    for opinion in (
        Opinion(hypothesis_id="H1", claim="alike", strength_nats=3.0, tool_call_id=call),
        Opinion(hypothesis_id="H1", claim="yes", strength_nats=2.0, tool_call_id=None, of_a_person=True),
    ):
        assert chances(assessed(THREE, opinions=[opinion]))["H1"] > plain["H1"]
        against = opinion.model_copy(update={"strength_nats": -2.0})
        assert chances(assessed(THREE, opinions=[against]))["H1"] < plain["H1"]


def test_two_models_that_agree_say_more_than_one_and_less_than_twice_as_much() -> None:
    said = [position(LISBON.point.lat, LISBON.point.lon, model=name) for name in ("a", "b")]
    models = tuple(LoadedModel(name=name, chat=seeing()) for name in ("a", "b"))
    odds = []
    for positions in ([], said[:1], said):
        chance = chances(assessed(THREE, at=context(models=models), positions=positions))["H1"]
        odds.append(np.log(chance / (1.0 - chance)))
    assert odds[0] < odds[1] < odds[2] < 2.0 * odds[1] - odds[0]


def test_samples_of_one_model_say_as_much_as_one() -> None:
    one = [position(LISBON.point.lat, LISBON.point.lon)]
    five = [position(LISBON.point.lat, LISBON.point.lon, sample=number) for number in range(5)]
    assert chances(assessed(THREE, positions=five)) == pytest.approx(chances(assessed(THREE, positions=one)))


def test_of_a_jury_with_one_that_fails_the_others_count() -> None:
    def fails(*_: Any) -> Any:
        raise ModelFailure("the server is gone", is_retryable=False)

    says = seeing(lambda *_: ("", propose(("Lisbon", LISBON.point.lat, LISBON.point.lon))))
    models = tuple(LoadedModel(name=name, chat=chat) for name, chat in (("a", seeing(fails)), ("b", says)))
    answer = run(context(models=models, strategy="jury"))
    assert answer.status is AnswerStatus.ANSWERED
    assert [e.source.arguments["model"] for e in answer.evidence if e.source] == ["b"]
    assert answer.hypotheses[0].name == "Lisbon"


# --- settled


def test_it_is_settled_where_the_truth_is_surely_within_the_wanted_distance() -> None:
    sure = assessed(THREE, [signs("Lisbon"), named("Lisbon", LISBON)])
    point = (LISBON.point.lat, LISBON.point.lon)
    at = context(model=seeing())
    assert sure.belief.chance_within_km(point, 750.0) > 0.95 > sure.belief.chance_within_km(point, 1.0)
    assert is_settled(at, [], sure)
    assert not is_settled(replace(at, aim=Aim.STREET), [], sure)


def test_it_is_settled_where_a_round_changed_no_probability() -> None:
    before = assessed(THREE)
    at = context(model=seeing())
    assert not is_settled(at, THREE, before)
    assert is_settled(at, before.hypotheses, assessed(before.hypotheses))
    assert not is_settled(at, before.hypotheses[:-1], before), "a hypothesis is new"


# --- the list of hypotheses


def test_hypotheses_within_the_smaller_radius_are_one_place_and_the_finer_stays() -> None:
    coarse, fine = hypothesis("H1", 0.0, 0.0, 50.0), hypothesis("H2", 0.05, 0.0, 10.0)
    grown = add([coarse], fine)
    assert [(h.id, h.status) for h in grown] == [("H1", HypothesisStatus.MERGED), ("H2", HypothesisStatus.OPEN)]
    assert [h.id for h in add([fine], coarse)] == ["H2"]


def test_a_fine_hypothesis_inside_a_coarse_one_is_another() -> None:
    coarse, fine = hypothesis("H1", 0.0, 0.0, 500.0), hypothesis("H2", 2.0, 0.0, 10.0)
    assert [h.status for h in add([coarse], fine)] == [HypothesisStatus.OPEN] * 2


def test_two_hypotheses_across_the_antimeridian_are_one_place() -> None:
    assert same_place(hypothesis("H1", 0.0, 179.99), hypothesis("H2", 0.0, -179.99))


@pytest.mark.parametrize("key", ["H9", "H1"])
def test_only_an_open_hypothesis_can_be_closed(key: str) -> None:
    with pytest.raises(KeyError, match=key):
        reject(reject(THREE, "H1"), key)


def test_open_hypotheses_tie_by_id() -> None:
    tied = [h.model_copy(update={"probability": 0.2}) for h in reversed(THREE)]
    assert [h.id for h in open_hypotheses(tied)] == ["H1", "H2", "H3"]


def test_a_revision_that_closes_what_is_not_open_is_told() -> None:
    revised = apply_revision(ReviseHypotheses(reject=["H2", "H17"], merge=[("H1", "H2")]), [], THREE)
    assert {h.id: h.status for h in revised.hypotheses}["H2"] is HypothesisStatus.MERGED
    assert len(revised.notes) == 2
