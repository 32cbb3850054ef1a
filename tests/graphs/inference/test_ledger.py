"""The ledger's arithmetic: order, monotony, caps, and the part of the world that no hypothesis covers."""

from __future__ import annotations

import math

import pytest
from graphs.inference import ledger
from hypothesis import given
from hypothesis import strategies as st

from agents.schemas import Evidence, EvidenceKind, Hypothesis, HypothesisStatus, Source
from geo.point import Point

SOURCE = Source(tool="search_photos", arguments={}, result_sha256="0" * 64)
IDS = ("H1", "H2", "H3")
NATS = st.floats(-20, 20)


def hypothesis(key: str = "H1", lat: float = 0.0, lon: float = 0.0, radius_km: float = 10.0) -> Hypothesis:
    return Hypothesis(id=key, name=key, point=Point(lat=lat, lon=lon), radius_km=radius_km, probability=0.0)


def evidence(
    nats: dict[str, float], kind: EvidenceKind = EvidenceKind.RETRIEVAL, source: Source | None = SOURCE
) -> Evidence:
    return Evidence(id="E1", kind=kind, claim="c", source=source, log_likelihood_ratio=nats)


THREE = [hypothesis("H1"), hypothesis("H2", 20.0), hypothesis("H3", 40.0)]
EVIDENCE = st.lists(
    st.builds(
        evidence,
        st.dictionaries(st.sampled_from(IDS), NATS),
        st.sampled_from(EvidenceKind),
        st.sampled_from([SOURCE, None]),
    ),
    max_size=12,
)


@given(EVIDENCE, st.randoms(use_true_random=False))
def test_the_order_of_evidence_does_not_matter(items: list[Evidence], random: object) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands out a random.Random
    assert ledger.probabilities(THREE, items) == ledger.probabilities(THREE, shuffled)


@given(EVIDENCE)
def test_probabilities_and_elsewhere_sum_to_one(items: list[Evidence]) -> None:
    weighed = ledger.weighed(THREE, items)
    assert all(0.0 <= h.probability <= 1.0 for h in weighed)
    assert sum(h.probability for h in weighed) <= 1.0 + 1e-8
    assert ledger.elsewhere(weighed) == pytest.approx(1.0 - sum(h.probability for h in weighed), abs=1e-8)


@given(EVIDENCE, st.floats(0.0, 10.0), st.sampled_from(EvidenceKind))
def test_support_never_lowers_and_never_helps_the_others(
    items: list[Evidence], nats: float, kind: EvidenceKind
) -> None:
    before = ledger.probabilities(THREE, items)
    after = ledger.probabilities(THREE, [*items, evidence({"H1": nats}, kind)])
    assert after["H1"] >= before["H1"] - 1e-12
    assert after["H2"] <= before["H2"] + 1e-12


@given(st.lists(NATS, max_size=30), st.sampled_from(EvidenceKind))
def test_opinion_is_capped_however_often_and_whatever_it_is_called(nats: list[float], kind: EvidenceKind) -> None:
    opinions = [evidence({"H1": value}, kind, source=None) for value in nats]
    moved = ledger.log_odds("H1", opinions) - ledger.PRIOR_NATS
    assert abs(moved) <= ledger.CAP_NATS[EvidenceKind.OPINION]


@given(st.lists(NATS, max_size=30), st.sampled_from(EvidenceKind))
def test_each_kind_is_capped(nats: list[float], kind: EvidenceKind) -> None:
    moved = ledger.log_odds("H1", [evidence({"H1": value}, kind) for value in nats]) - ledger.PRIOR_NATS
    assert abs(moved) <= ledger.CAP_NATS[kind] + 1e-12


def test_every_kind_has_a_cap() -> None:
    assert set(ledger.CAP_NATS) == set(EvidenceKind)


def test_the_sum_is_worked_out_by_hand() -> None:
    nats = {"H1": math.log(99.0 * 3.0), "H2": math.log(99.0)}  # with the prior of 1 to 100: 2.97 and 0.99 to 1
    chance = ledger.probabilities(THREE[:2], [evidence(nats)])
    assert chance["H1"] == pytest.approx(2.97 / 4.96)
    assert chance["H2"] == pytest.approx(0.99 / 4.96)


def test_metadata_weighs_nothing() -> None:
    item = evidence({"H1": 9.0}, EvidenceKind.METADATA)
    assert ledger.log_odds("H1", [item]) == ledger.PRIOR_NATS


def test_hypotheses_within_the_smaller_radius_are_one_place_and_the_finer_stays() -> None:
    coarse, fine = hypothesis("H1", radius_km=50.0), hypothesis("H2", lat=0.05, radius_km=10.0)
    grown = ledger.add([coarse], fine)
    assert [(h.id, h.status) for h in grown] == [("H1", HypothesisStatus.MERGED), ("H2", HypothesisStatus.OPEN)]
    assert [h.id for h in ledger.add([fine], coarse)] == ["H2"]


def test_a_fine_hypothesis_inside_a_coarse_one_is_another() -> None:
    coarse, fine = hypothesis("H1", radius_km=500.0), hypothesis("H2", lat=2.0, radius_km=10.0)
    assert [h.status for h in ledger.add([coarse], fine)] == [HypothesisStatus.OPEN] * 2


def test_two_hypotheses_across_the_antimeridian_are_one_place() -> None:
    assert ledger.same_place(hypothesis("H1", lon=179.99), hypothesis("H2", lon=-179.99))


def test_rejected_and_merged_hypotheses_have_no_probability() -> None:
    known = ledger.weighed(THREE, [evidence({"H1": 5.0, "H2": 5.0, "H3": 5.0})])
    closed = ledger.merge(ledger.reject(known, "H1"), keep="H2", absorb="H3")
    again = ledger.weighed(closed, [evidence({"H1": 5.0, "H2": 5.0, "H3": 5.0})])
    assert [h.probability > 0.0 for h in again] == [False, True, False]
    assert [h.id for h in ledger.open_hypotheses(again)] == ["H2"]


@pytest.mark.parametrize("key", ["H9", "H1"])
def test_only_an_open_hypothesis_can_be_closed(key: str) -> None:
    with pytest.raises(KeyError, match=key):
        ledger.reject(ledger.reject(THREE, "H1"), key)


def test_open_hypotheses_tie_by_id() -> None:
    tied = [h.model_copy(update={"probability": 0.2}) for h in reversed(THREE)]
    assert [h.id for h in ledger.open_hypotheses(tied)] == ["H1", "H2", "H3"]
