import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from belief.decision import decide
from belief.hypotheses import find_modes
from belief.parameters import Parameters
from belief.posterior import THRESHOLDS_KM, Belief, divergence_nats, evenly, weighted_quantile
from belief.prior import default_prior
from belief.records import Record
from belief.support import Disc, make_support
from belief.witnesses.areas import area_log_ratio
from belief.witnesses.reports import ReportedPlace, WeighedReport, place_shares
from geo.sphere import EARTH_RADIUS_KM
from tests.belief.beliefs import (
    ATLANTIC,
    FIJI,
    LISBON,
    NORTH_POLE,
    NULL_ISLAND,
    ODD_PLACES,
    PARIS,
    SOUTH_POLE,
    TOKYO,
    belief_in,
    flat_prior,
    parameters,
    ratio_of,
    record,
    records,
    report_of,
)

UTILITY = {1492.7: 1.0}
NO_FLOOR = Record(shares=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0), stated=(1.0,) + (0.0,) * 9)
"""A record by which a witness is never wrong by more than some hundred metres."""

CAREFUL = record(s0_3=0.1, s3=0.1, s25=0.2, s150=0.2, s800=0.2)
Place = tuple[float, float]


def belief_of(reports: Sequence[Sequence[ReportedPlace]], own: Record = CAREFUL) -> Belief:
    """One report of each of several models."""
    pins = sorted({place[:2] for places in reports for place in places})
    support = make_support(pins)
    ratios = {f"m{k}": report_of(support, places, own) for k, places in enumerate(reports)}
    return Belief(support, ratios, {}, parameters())


def check(belief: Belief) -> None:
    """A belief is a probability distribution, and everything can be read off it."""
    mass = belief.mass
    assert np.isfinite(mass).all()
    assert (mass >= 0.0).all()
    assert mass.sum() == pytest.approx(1.0)
    best = decide(belief, UTILITY)
    at = (best.lat_deg, best.lon_deg)
    chances = [belief.chance_within_km(at, km) for km in THRESHOLDS_KM]
    assert (np.diff(chances) >= -1e-12).all()
    assert chances[-1] <= 1.0
    assert 0.0 <= belief.radius_km(at, 0.5) <= belief.radius_km(at, 0.9) <= np.pi * EARTH_RADIUS_KM + 0.01
    assert 0.0 < belief.area_km2(0.5) <= belief.area_km2(0.9)
    assert np.isfinite(belief.log_density(at))
    for mode in find_modes(belief, [], 8):
        assert mode.radius_km > 0.0


def test_without_any_witness_the_belief_is_the_prior() -> None:
    support = make_support()
    belief = Belief(support, {}, {}, parameters())
    assert belief.mass == pytest.approx(support.prior_mass)
    check(belief)


@pytest.mark.parametrize("at", ODD_PLACES)
@pytest.mark.parametrize("own", [CAREFUL, NO_FLOOR])
def test_a_report_of_any_place_gives_a_distribution(at: Place, own: Record) -> None:
    belief = belief_of([[ReportedPlace(*at)]], own)
    check(belief)
    # Nobody takes photos in the middle of an ocean, but a witness that is never wrong is believed.
    assert own is CAREFUL or belief.chance_within_km(at, 3.0) > 0.9


@pytest.mark.parametrize("radius_km", [0.001, 20_000.0, 1e9])
@pytest.mark.parametrize("at", [PARIS, *ODD_PLACES])
def test_a_report_with_any_radius_gives_a_distribution(at: Place, radius_km: float) -> None:
    check(belief_of([[ReportedPlace(*at, radius_km=radius_km, confidence=0.9)]]))
    check(belief_of([[ReportedPlace(*at, radius_km=radius_km)]], NO_FLOOR))


@pytest.mark.parametrize("own", [CAREFUL, NO_FLOOR])
def test_two_certainties_that_contradict_each_other_give_a_distribution(own: Record) -> None:
    said = [[ReportedPlace(*at, radius_km=0.5, confidence=0.97)] for at in (PARIS, TOKYO)]
    belief = belief_of(said, own)
    check(belief)
    assert all(0.3 < belief.chance_within_km(at, 200.0) < 0.6 for at in (PARIS, TOKYO))


@pytest.mark.parametrize("confidences", [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1e-12, 0.5, 0.5)])
def test_confidences_of_any_sum_give_a_distribution(confidences: tuple[float, ...]) -> None:
    places = [ReportedPlace(*at, confidence=c) for at, c in zip((PARIS, TOKYO, LISBON), confidences, strict=True)]
    check(belief_of([places]))
    check(belief_of([places], NO_FLOOR))


def test_places_said_with_confidence_zero_change_nothing() -> None:
    belief = belief_of([[ReportedPlace(*PARIS, confidence=0.0)]])
    assert belief.mass == pytest.approx(belief.support.prior_mass)


def test_one_place_thirty_times_is_one_place() -> None:
    once = belief_of([[ReportedPlace(*PARIS, confidence=0.9)]])
    often = belief_of([[ReportedPlace(*PARIS, confidence=0.03)] * 30])
    assert often.mass == pytest.approx(once.mass, rel=1e-9, abs=1e-15)
    check(belief_of([[ReportedPlace(*PARIS)] * 30]))


def test_sixty_pins_give_a_distribution() -> None:
    places = [ReportedPlace(-60.0 + 2.0 * k, -170.0 + 5.5 * k) for k in range(60)]
    check(belief_of([places]))
    check(belief_of([places], NO_FLOOR))


def test_a_belief_that_evidence_contradicts_everywhere_is_a_distribution() -> None:
    support = make_support([PARIS])
    against = {f"e{k}": area_log_ratio(support, Disc(*PARIS, 30_000.0), -50.0) for k in range(30)}
    check(Belief(support, {"m": WeighedReport(np.zeros(len(support.prior_mass)))}, against, parameters()))


@given(st.permutations(range(5)), st.permutations(range(6)), st.permutations(range(8)))
@settings(max_examples=40)
def test_the_order_and_the_names_of_witnesses_change_not_even_the_rounding(
    reports: list[int], others: list[int], pins: list[int]
) -> None:
    places = [PARIS, TOKYO, LISBON, FIJI, ATLANTIC, NULL_ISLAND, NORTH_POLE, SOUTH_POLE]

    def belief(reports: Sequence[int], others: Sequence[int], pins: Sequence[int]) -> Belief:
        support = make_support(sorted({places[k] for k in pins}))
        said = {
            f"E{n}": report_of(support, [ReportedPlace(*places[k])], CAREFUL, k / 3.0) for n, k in enumerate(reports)
        }
        nats = [area_log_ratio(support, Disc(*places[k], 100.0 + k), 0.1 + k / 7.0) for k in range(6)]
        return Belief(support, said, {f"E{n}": nats[k] for n, k in enumerate(others, start=9)}, parameters())

    assert np.array_equal(belief(reports, others, pins).mass, belief(range(5), range(6), range(8)).mass)


def test_a_witness_that_says_nothing_tells_nothing() -> None:
    support = make_support([PARIS])
    reports = {"a": report_of(support, [ReportedPlace(*PARIS)], CAREFUL)}
    others = {"nothing": np.zeros(len(support.prior_mass)), "constant": np.full(len(support.prior_mass), 3.0)}
    belief = Belief(support, reports, others, parameters())
    for key in others:
        assert divergence_nats(belief.mass, belief.mass_without(key)) == pytest.approx(0.0, abs=1e-12)


def test_without_a_witness_the_belief_is_that_of_all_others() -> None:
    support = make_support([PARIS, LISBON])
    reports = {
        f"m{k}": report_of(support, [ReportedPlace(*at)], CAREFUL) for k, at in enumerate((PARIS, LISBON, PARIS))
    }
    others = {f"e{k}": area_log_ratio(support, Disc(*LISBON, 50.0 * (k + 1)), 1.0 + k) for k in range(3)}
    belief = Belief(support, reports, others, parameters())
    for key in (*reports, *others):
        rest = Belief(
            support,
            {k: v for k, v in reports.items() if k != key},
            {k: v for k, v in others.items() if k != key},
            parameters(),
        )
        assert belief.mass_without(key) == pytest.approx(rest.mass, rel=1e-9, abs=1e-15)
    with pytest.raises(KeyError):
        belief.mass_without("nobody")


@pytest.mark.parametrize(("shares", "distance_km"), [((0.7, 0.3), 30.0), ((0.5, 0.2), 30.0)])
def test_the_chance_around_each_of_two_cities_is_its_share(shares: tuple[float, float], distance_km: float) -> None:
    """Shares of a witness that is never far off, and what it leaves of 1 spread as the prior is."""
    belief = belief_in(dict(zip((PARIS, TOKYO), shares, strict=True)), record(s3=1.0))
    prior = Belief(belief.support, {}, {}, parameters())
    said = place_shares(
        [ReportedPlace(*at, confidence=share) for at, share in zip((PARIS, TOKYO), shares, strict=True)]
    )
    for at, share in zip((PARIS, TOKYO), said, strict=True):
        expected = share + (1.0 - said.sum()) * prior.chance_within_km(at, distance_km)
        assert belief.chance_within_km(at, distance_km) == pytest.approx(expected, abs=0.01)


def test_radius_and_area_of_a_kernel_on_a_flat_earth_are_those_of_the_closed_form() -> None:
    """On a plane a share 1 - (1 + d / s) exp(-d / s) of a kernel of scale s lies within d: half within 1.678 s."""
    belief = belief_in({PARIS: 1.0}, record(s25=1.0), flat_prior())
    for share, scales in ((0.5, 1.6783), (0.9, 3.8897)):
        assert belief.radius_km(PARIS, share) == pytest.approx(25.0 * scales, rel=0.1)
        assert belief.area_km2(share) == pytest.approx(np.pi * (25.0 * scales) ** 2, rel=0.15)


def test_the_density_of_a_kernel_on_a_flat_earth_is_that_of_the_closed_form() -> None:
    belief = belief_in({PARIS: 1.0}, record(s25=1.0), flat_prior())
    for north_km in (0.0, 1.0, 20.0, 60.0, 80.0):
        at = (PARIS[0] + north_km / 111.195, PARIS[1])
        closed = -north_km / 25.0 - np.log(2.0 * np.pi * 25.0**2)
        assert belief.log_density(at) == pytest.approx(closed, abs=0.35)


@pytest.mark.parametrize("at", [PARIS, LISBON, NULL_ISLAND, FIJI, SOUTH_POLE, (48.6, 2.0), (64.1, -21.9)])
def test_the_density_of_the_prior_is_the_prior_s(at: Place) -> None:
    belief = Belief(make_support([PARIS]), {}, {}, parameters())
    assert belief.log_density(at) == pytest.approx(float(np.log(default_prior().density([at])[0])), abs=1e-9)


def test_the_density_is_prior_times_ratio_far_from_any_pin_as_well() -> None:
    """Against the same report evaluated on a support that has a pin at the place itself."""
    places = [ReportedPlace(*PARIS, confidence=0.6), ReportedPlace(*LISBON, confidence=0.2)]
    errors = []
    for at in ((48.9, 2.4), (48.0, 3.0), (45.76, 4.84), (40.42, -3.7), (52.5, 13.4), (35.7, 139.7), (-33.9, 151.2)):
        own = make_support([PARIS, LISBON, at])
        ratio = ratio_of(own, places, CAREFUL)[2]
        exact = float(np.log(default_prior().density([at])[0] * ratio))
        errors.append(belief_of([places]).log_density(at) - exact)
    assert np.abs(errors).max() < 0.5
    assert abs(np.mean(errors)) < 0.15


def test_the_truth_lies_in_half_of_the_areas_that_hold_half() -> None:
    """Truths drawn from the belief itself: fresh ones of the prior, and positions of a support by their mass."""
    prior = Belief(make_support([PARIS]), {}, {}, parameters())
    fresh = default_prior().sample(4000)[::8]
    wide = belief_of([[ReportedPlace(*PARIS, confidence=0.6), ReportedPlace(*LISBON, confidence=0.2)]])
    drawn = wide.support.lat_lon_deg[evenly(wide.mass, 500)]
    for belief, truths in ((prior, fresh), (wide, drawn)):
        denser = np.array([belief.denser_share(truth) for truth in truths])
        for share in (0.25, 0.5, 0.75, 0.9):
            assert np.mean(denser < share) == pytest.approx(share, abs=0.06)


def test_areas_are_of_as_much_of_the_belief_as_was_fitted() -> None:
    support = make_support([PARIS])
    fitted = parameters().model_copy(update={"area_shares": {0.5: 0.6, 0.9: 0.96}})
    raw, belief = Belief(support, {}, {}, parameters()), Belief(support, {}, {}, fitted)
    for share, of_belief in ((0.25, 0.3), (0.5, 0.6), (0.7, 0.78), (0.9, 0.96), (0.95, 0.98)):
        assert fitted.area_share(share) == pytest.approx(of_belief)
        assert belief.area_km2(share) == pytest.approx(raw.area_km2(of_belief))
        assert belief.credible_rows(share).tolist() == raw.densest(of_belief).tolist()
    for at in default_prior().sample(4000)[::400]:
        assert belief.is_in_area(at, 0.5) == (raw.denser_share(at) < 0.6)


@pytest.mark.parametrize("wrong", [{0.5: 0.6, 0.9: 0.6}, {0.5: 0.0}, {0.5: 1.0}, {1.5: 0.5}])
def test_areas_are_nested(wrong: dict[float, float]) -> None:
    with pytest.raises(ValueError, match="area_shares must rise"):
        Parameters.model_validate(parameters().model_dump() | {"area_shares": wrong})


def test_a_denser_place_is_in_smaller_areas() -> None:
    belief = belief_in({PARIS: 1.0}, record(s25=1.0), flat_prior())
    at = [(PARIS[0] + north_km / 111.195, PARIS[1]) for north_km in (0.0, 10.0, 60.0, 200.0)]
    denser = [belief.denser_share(place) for place in at]
    assert denser == sorted(denser)
    assert denser[0] < 0.01
    # On a plane a share 1 - (1 + d / s) exp(-d / s) lies within d.
    assert denser[2] == pytest.approx(1.0 - (1.0 + 60.0 / 25.0) * np.exp(-60.0 / 25.0), abs=0.1)


def test_quantiles_and_even_rows() -> None:
    assert weighted_quantile(np.array([5.0]), np.array([1.0]), 0.9) == 5.0
    assert evenly(np.full(1000, 1e-3), 4).tolist() == [125, 375, 625, 875] or evenly(np.full(1000, 1e-3), 4)[0] == 124
    assert evenly(np.array([0.0, 1.0, 0.0]), 3).tolist() == [1, 1, 1]


def test_divergence_is_zero_only_between_equals_and_finite_where_one_is_nothing() -> None:
    some = np.array([0.2, 0.3, 0.5])
    assert divergence_nats(some, some) == 0.0
    for other in itertools.permutations(some.tolist()):
        assert divergence_nats(some, np.array(other)) >= 0.0
    assert np.isfinite(divergence_nats(some, np.array([0.0, 0.5, 0.5])))
    assert divergence_nats(np.array([0.0, 0.5, 0.5]), some) > 0.0


def test_stated_radii_are_taken_in_units_of_themselves() -> None:
    def radius(radius_km: float) -> float:
        support = make_support([PARIS], flat_prior())
        places = [ReportedPlace(*PARIS, radius_km, 1.0)]
        return Belief(support, {"m": report_of(support, places, records().models["any"])}, {}).radius_km(PARIS, 0.3)

    assert radius(10.0) / radius(1.0) == pytest.approx(10.0, rel=0.3)
