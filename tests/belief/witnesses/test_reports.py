import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belief.kernels import SCALES_KM
from belief.posterior import Belief
from belief.prior import default_prior
from belief.records import Agreement, Record
from belief.support import make_support
from belief.witnesses.reports import (
    NONE_OF_THESE,
    ReportedPlace,
    joint_log_ratio,
    kernel_scales_km,
    mixture_ratio,
    normalised,
    place_shares,
    similarity_weights,
    sum_in_any_order,
    with_floor,
)
from tests.belief.beliefs import (
    AGREEMENT,
    ATLANTIC,
    FIJI,
    LISBON,
    NORTH_POLE,
    NULL_ISLAND,
    PARIS,
    TOKYO,
    parameters,
    ratio_of,
    record,
    records,
    report_of,
)

CAREFUL = record(s0_3=0.1, s3=0.1, s25=0.2, s150=0.2, s800=0.2)
PLACES = [ReportedPlace(*at) for at in (PARIS, TOKYO, NULL_ISLAND, FIJI, NORTH_POLE, ATLANTIC)]


def with_confidence(*confidences: float) -> list[ReportedPlace]:
    return [place._replace(confidence=c) for place, c in zip(PLACES, confidences, strict=False)]


@pytest.mark.parametrize(
    "places",
    [
        PLACES[:1],
        PLACES,
        with_confidence(0.5, 0.2),
        with_confidence(1.0, 1.0, 1.0),
        with_confidence(0.0),
        [ReportedPlace(*PARIS, radius_km=0.001, confidence=0.9)],
        [ReportedPlace(*PARIS, radius_km=20_000.0)],
        [],
    ],
)
def test_a_report_s_ratio_is_one_on_average_over_the_prior(places: list[ReportedPlace]) -> None:
    support = make_support([place[:2] for place in places])
    ratio = ratio_of(support, places, CAREFUL)
    assert support.prior_mass @ ratio == pytest.approx(1.0)
    assert (ratio > 0.0).all()


@pytest.mark.parametrize(("scale", "within_km"), [("s0_3", 3.0), ("s3", 30.0), ("s25", 250.0)])
@pytest.mark.parametrize("at", [PARIS, FIJI, NORTH_POLE, NULL_ISLAND])
def test_a_kernel_s_share_lies_around_the_place(scale: str, within_km: float, at: tuple[float, float]) -> None:
    support = make_support([at])
    belief = Belief(support, {"m": report_of(support, [ReportedPlace(*at)], record(**{scale: 0.8}))}, {}, parameters())
    prior = Belief(support, {}, {}, parameters()).chance_within_km(at, within_km)
    assert belief.chance_within_km(at, within_km) == pytest.approx(0.8 + 0.2 * prior, abs=0.03)


def test_the_place_named_later_counts_less_where_nothing_is_stated() -> None:
    assert place_shares(PLACES[:3]) == pytest.approx(np.array([6.0, 3.0, 2.0]) / 11.0)
    assert place_shares([]).tolist() == []


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6))
def test_stated_shares_keep_their_proportions_and_leave_a_part_of_the_rest_to_none_of_these(
    confidences: list[float],
) -> None:
    shares, total = place_shares(with_confidence(*confidences)), sum(confidences)
    assert ((shares >= 0.0) & (shares <= 1.0)).all()
    if total <= 0.0:
        assert shares.tolist() == [0.0] * len(confidences)
        return
    assert shares.sum() == pytest.approx(1.0 - NONE_OF_THESE * max(0.0, 1.0 - total))
    assert shares * total == pytest.approx(np.array(confidences) * shares.sum())


def test_a_model_that_is_worth_more_weighs_more() -> None:
    """Paris says one, Tokyo the other, both alike sure: of equal worth they are even, else the better one leads."""
    support = make_support([PARIS, TOKYO])

    def lead(worth_nats: float) -> float:
        reports = {
            "a": report_of(support, [ReportedPlace(*PARIS)], CAREFUL, worth_nats),
            "b": report_of(support, [ReportedPlace(*TOKYO)], CAREFUL),
        }
        belief = Belief(support, reports, {}, parameters())
        return belief.chance_within_km(PARIS, 25.0) - belief.chance_within_km(TOKYO, 25.0)

    assert lead(0.0) == pytest.approx(0.0, abs=0.03)
    assert lead(-2.0) < lead(0.0) < lead(2.0) < lead(4.0)


def test_a_place_without_confidence_among_some_with_it_counts_by_its_rank() -> None:
    shares = place_shares([PLACES[0]._replace(confidence=0.5), PLACES[1]])
    assert shares.tolist() == [0.5, 0.5]


def test_scales_are_absolute_without_a_stated_radius_and_in_units_of_it_with_one() -> None:
    assert tuple(kernel_scales_km(ReportedPlace(*PARIS))) == SCALES_KM
    assert list(kernel_scales_km(ReportedPlace(*PARIS, 10.0)))[:6] == pytest.approx(
        [1.0, 3.0, 10.0, 30.0, 100.0, 300.0]
    )
    assert min(kernel_scales_km(ReportedPlace(*PARIS, 0.0))) == 0.05


def test_a_stated_radius_uses_the_own_shares_where_there_are_any() -> None:
    support = make_support([PARIS])
    place = [ReportedPlace(*PARIS, 1.0, 1.0)]
    sure = Record(shares=(0.0,) * 5 + (1.0,), stated=(1.0,) + (0.0,) * 9)
    own, pooled = ratio_of(support, place, sure), ratio_of(support, place, sure.model_copy(update={"stated": None}))
    assert own[0] > pooled[0]
    assert pooled.min() == pytest.approx(records().stated_of(sure.model_copy(update={"stated": None}))[-1], rel=0.1)


def test_what_no_position_lies_near_says_nothing() -> None:
    """A place in mid-ocean, without a pin there: its finest kernel meets nothing, and its share stays with all."""
    support = make_support([PARIS])
    ratio = mixture_ratio(support, np.array([ATLANTIC]), np.array([1.0]), [0.001], (1.0, 0.0))
    assert ratio == pytest.approx(1.0)


def test_one_report_alone_is_taken_as_it_is_and_none_says_nothing() -> None:
    support = make_support([PARIS])
    report = report_of(support, PLACES[:1], CAREFUL, worth_nats=-3.0)
    assert joint_log_ratio([report], support.prior_mass, AGREEMENT) == pytest.approx(np.log(report.ratio))
    assert joint_log_ratio([], support.prior_mass, AGREEMENT) == pytest.approx(np.zeros(len(report.ratio)))


def test_models_that_agree_make_surer_and_five_less_than_five_independent_ones() -> None:
    support = make_support([PARIS])
    report = report_of(support, PLACES[:1], CAREFUL)

    def chance(count: int, agreement: Agreement) -> float:
        nats = joint_log_ratio([report] * count, support.prior_mass, agreement)
        return Belief(support, {}, {"joint": nats}, parameters()).chance_within_km(PARIS, 25.0)

    alone, two, five = (chance(count, AGREEMENT) for count in (1, 2, 5))
    independent = Agreement(independent=0.99, alike=0.0, one=0.0, none=0.01, correlation=0.0)
    assert alone < two < five < chance(5, independent)


def test_the_joint_ratio_is_one_on_average_and_bounded_by_the_share_of_none() -> None:
    support = make_support([PARIS, TOKYO, LISBON])
    reports = [report_of(support, [ReportedPlace(*at)], record(s0_3=1.0)) for at in (PARIS, TOKYO, LISBON)]
    nats = joint_log_ratio(reports, support.prior_mass, AGREEMENT)
    assert np.isfinite(nats).all()
    assert support.prior_mass @ np.exp(nats) == pytest.approx(1.0)
    assert nats.min() == pytest.approx(np.log(AGREEMENT.none), abs=0.1)


@given(st.permutations([1e-17, 0.1, 0.2, 0.3, 1.0, 7.7, -3.3, 1e9]))
def test_sums_are_the_same_to_the_bit_in_any_order(values: list[float]) -> None:
    terms = [np.array([value, -value]) for value in values]
    expected = [np.array([value, -value]) for value in sorted(values)]
    assert np.array_equal(sum_in_any_order(terms, 2), sum_in_any_order(expected, 2))
    assert sum_in_any_order([], 2).tolist() == [0.0, 0.0]


def test_similarity_weights_are_a_softmax_that_no_size_breaks() -> None:
    assert similarity_weights(np.array([1e6, 1e6 - 1.0]), 0.1).sum() == pytest.approx(1.0)
    assert similarity_weights(np.array([0.5, 0.5]), 0.1).tolist() == [0.5, 0.5]
    sharp, soft = (similarity_weights(np.array([0.9, 0.8]), t)[0] for t in (0.01, 1.0))
    assert sharp > soft > 0.5


def test_normalised_and_floored_ratios_are_one_on_average() -> None:
    mass = default_prior().density([PARIS, TOKYO, ATLANTIC])
    mass = mass / mass.sum()
    for nats in ([0.0, 700.0, -900.0], [5.0, 5.0, 5.0]):
        assert mass @ normalised(np.array(nats), mass) == pytest.approx(1.0)
        floored = with_floor(np.array(nats), mass, 0.1)
        assert mass @ np.exp(floored) == pytest.approx(1.0)
        assert floored.min() >= np.log(0.1) - 1e-9
