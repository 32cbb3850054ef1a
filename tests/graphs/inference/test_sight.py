"""What a model's first reading is worth: its record decides, not its words."""

from __future__ import annotations

import math

import numpy as np
import pytest
from graphs.inference.ledger import CAP_NATS, PRIOR_NATS, probabilities
from graphs.inference.posterior import default_parameters
from graphs.inference.sight import ANY_MODEL, SightParameters, SightRecord, default_sight, sight_reading
from graphs.inference.weighing import scene, weigh

from agents.schemas import EvidenceKind, Hypothesis, PointSource
from geo.point import Point
from graphs.state import Position
from tests.fakes.machine import ScriptedModel, context, propose, run

USUAL = (0.01, 0.01, 0.03, 0.15, 0.8)
TRUSTED = SightParameters(
    usual_share=USUAL,
    models={
        "good": SightRecord(fitted_on="made up", share=(0.5, 0.1, 0.1, 0.1, 0.2)),
        "good-but-tiny": SightRecord(fitted_on="made up", share=(0.2, 0.2, 0.2, 0.2, 0.2)),
        ANY_MODEL: SightRecord(fitted_on="made up", share=USUAL),
    },
)
PRIOR = math.exp(PRIOR_NATS)


def position(lat: float = 38.7, lon: float = -9.1, confidence: float | None = None) -> Position:
    return Position(name="here", point=Point(lat=lat, lon=lon), radius_km=25.0, confidence=confidence)


def hypothesis(key: str, lat: float, lon: float, radius_km: float = 25.0) -> Hypothesis:
    return Hypothesis(id=key, name=key, point=Point(lat=lat, lon=lon), radius_km=radius_km, probability=0.0)


LISBON, EVORA, SYDNEY = hypothesis("L", 38.7, -9.1), hypothesis("E", 38.57, -7.9), hypothesis("S", -33.9, 151.2)


def test_the_longest_known_part_of_a_models_name_counts() -> None:
    assert TRUSTED.of("recorded:good-but-tiny.jsonl").share[0] == 0.2
    assert TRUSTED.of("openai:good").share[0] == 0.5
    assert TRUSTED.of("vllm:unheard-of").share == USUAL


def test_the_packaged_records_trust_no_unknown_model_as_far_as_a_known_one() -> None:
    packaged = default_sight()
    known = [record for name, record in packaged.models.items() if name != ANY_MODEL]
    assert known
    assert all(packaged.models[ANY_MODEL].share[0] < record.share[0] for record in known)
    assert packaged == default_parameters().sight


@pytest.mark.parametrize(
    ("right", "nats"), [(None, math.inf), (0.5, 0.0), (0.3, 0.0), (0.8, math.log(4.0)), (0.999, math.log(999.0))]
)
def test_a_judgement_is_worth_how_often_the_model_balanced_accuracy(right: float | None, nats: float) -> None:
    record = SightRecord(fitted_on="made up", share=USUAL, judgement_accuracy=right)
    assert record.judgement_nats == pytest.approx(nats)


def test_a_hypothesis_around_the_position_holds_what_the_record_says() -> None:
    reading = sight_reading([position()], "good", TRUSTED)
    assert reading is not None
    held = reading.held([LISBON, EVORA, SYDNEY], PRIOR)
    assert held[0] == pytest.approx(0.5)
    assert held[0] > held[1] > PRIOR > held[2]


def test_of_two_around_the_position_the_finer_counts_first() -> None:
    reading = sight_reading([position()], "good", TRUSTED)
    assert reading is not None
    wide, fine = reading.held([hypothesis("W", 38.7, -9.1, 750.0), LISBON], PRIOR)
    assert fine == pytest.approx(0.5)
    assert wide == pytest.approx(0.2)


def test_with_nothing_else_the_ledger_says_what_the_record_says() -> None:
    positions = [position()]
    reading = sight_reading(positions, "good", TRUSTED)
    at = scene([LISBON, SYDNEY], ["PT", "AU"], [], [], default_parameters(), reading, positions)
    [item] = weigh(at, [], [])
    assert item.kind is EvidenceKind.SIGHT
    assert probabilities(at.hypotheses, [item])["L"] == pytest.approx(0.5, abs=0.02)
    assert item.log_likelihood_ratio["L"] <= CAP_NATS[EvidenceKind.SIGHT]


def test_confidences_share_the_weight_and_change_nothing_else() -> None:
    modest, loud = (sight_reading([position(confidence=c)], "good", TRUSTED) for c in (0.01, 1.0))
    assert modest is not None
    assert loud is not None
    assert modest.held([LISBON], PRIOR) == loud.held([LISBON], PRIOR)
    several = sight_reading([position(), position(-33.9, 151.2)], "good", TRUSTED)
    assert several is not None
    assert several.weight == pytest.approx([2 / 3, 1 / 3])


def test_a_model_that_is_no_better_than_usual_moves_nothing() -> None:
    reading = sight_reading([position()], "unheard-of", TRUSTED)
    assert reading is not None
    assert reading.ratio(np.array([[38.7, -9.1], [-33.9, 151.2], [50.0, 14.0]])) == pytest.approx([1.0, 1.0, 1.0])


def test_radii_of_a_reading_grow_with_the_share() -> None:
    reading = sight_reading([position()], "good", TRUSTED)
    assert reading is not None
    assert reading.radius_km(0.5) == pytest.approx(25.0)
    assert reading.radius_km(0.5) < reading.radius_km(0.8) == pytest.approx(2500.0)


def test_shares_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        SightRecord(fitted_on="", share=(0.5, 0.5, 0.5, 0.5, 0.5))


def proposing(lat: float, lon: float) -> ScriptedModel:
    def policy(_: object, offered: set[str]) -> tuple[str, list[tuple[str, dict[str, object]]]]:
        return ("", propose(("Reykjavik", lat, lon))) if "ProposeHypotheses" in offered else ("done", [])

    return ScriptedModel(policy=policy)


def test_the_machine_weighs_both_and_says_whose_coordinates_it_answers() -> None:
    parameters = context().parameters.model_copy(update={"sight": TRUSTED})
    model = proposing(64.15, -21.94)
    trusting = context(model=model, parameters=parameters.model_copy(update={"sight": _everybody_good()}))
    doubting = context(model=model, parameters=parameters)
    assert run(trusting).point_source is PointSource.MODEL
    assert run(doubting).point_source is PointSource.RETRIEVED_PHOTO
    assert any(e.kind is EvidenceKind.SIGHT and e.source for e in run(trusting).evidence)


def _everybody_good() -> SightParameters:
    good = SightRecord(fitted_on="made up", share=(0.96, 0.01, 0.01, 0.01, 0.01))
    return SightParameters(usual_share=USUAL, models={ANY_MODEL: good})
