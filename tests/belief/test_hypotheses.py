import numpy as np
import pytest

from belief.hypotheses import (
    LEAST_MODE_RADIUS_KM,
    MIN_MODE_MASS,
    NOBODY,
    find_modes,
    held_by,
    log_bayes_factors,
    owners,
)
from belief.posterior import Belief
from belief.support import Disc, make_support
from geo.sphere import distance_km
from tests.belief.beliefs import FIJI, LISBON, NORTH_POLE, PARIS, TOKYO, belief_in, parameters, record

SHARP = record(s3=1.0)


@pytest.mark.parametrize(("first", "second"), [(PARIS, TOKYO), (FIJI, NORTH_POLE), (LISBON, PARIS)])
def test_two_cities_are_the_first_two_modes_with_their_shares(
    first: tuple[float, float], second: tuple[float, float]
) -> None:
    belief = belief_in({first: 0.6, second: 0.35}, SHARP)
    modes = find_modes(belief, [], 8)
    for mode, at, share in zip(modes, (first, second), (0.6, 0.35), strict=False):
        assert distance_km(mode[:2], at) < 15.0
        held = held_by(belief.mass, owners(belief.support, [mode]), 1)[0]
        assert held == pytest.approx(0.8 * share, rel=0.25)


def test_as_mass_moves_the_modes_stay_where_they_are() -> None:
    """Near to a kilometre; only which comes first changes."""
    for share in (0.2, 0.4, 0.6, 0.8):
        modes = find_modes(belief_in({PARIS: share, TOKYO: 1.0 - share}, SHARP), [], 2)
        here = sorted(modes, key=lambda mode: mode.lon_deg)
        assert [distance_km(mode[:2], at) < 5.0 for mode, at in zip(here, (PARIS, TOKYO), strict=True)] == [True, True]
        assert all(2.0 < mode.radius_km < 20.0 for mode in modes)
        assert (modes[0] == here[0]) == (share > 0.5)


def test_what_a_known_circle_covers_is_no_mode_again() -> None:
    belief = belief_in({PARIS: 0.6, TOKYO: 0.35}, SHARP)
    modes = find_modes(belief, [Disc(*PARIS, 300.0)], 8)
    assert all(distance_km(mode[:2], PARIS) > 300.0 for mode in modes)
    assert distance_km(modes[0][:2], TOKYO) < 15.0
    assert find_modes(belief, [*modes, Disc(*PARIS, 300.0), Disc(*TOKYO, 300.0)], 8) == []


def test_modes_found_once_are_not_found_again() -> None:
    belief = belief_in({PARIS: 0.6, TOKYO: 0.35}, record(s3=0.5, s25=0.2, s150=0.3))
    modes = find_modes(belief, [], 20)
    assert len(modes) < 20
    assert find_modes(belief, modes, 20) == []


@pytest.mark.parametrize("most", [0, 1, 3])
def test_no_more_modes_than_asked_for_each_of_some_weight(most: int) -> None:
    belief = Belief(make_support(), {}, {}, parameters())
    modes = find_modes(belief, [], most)
    assert len(modes) <= most
    around = [belief.chance_within_km(mode[:2], 500.0) for mode in modes]
    assert all(chance >= MIN_MODE_MASS for chance in around)


def test_the_finest_circle_owns_a_position_and_the_first_of_equals() -> None:
    support = make_support([PARIS, TOKYO])
    circles = [Disc(*PARIS, 300.0), Disc(*PARIS, 5.0), Disc(*PARIS, 5.0), Disc(*TOKYO, 0.0)]
    owner = owners(support, circles)
    away_km = support.distance_km([PARIS, TOKYO])
    assert set(owner[away_km[:, 0] <= 4.9]) == {1}
    assert set(owner[(away_km[:, 0] > 5.1) & (away_km[:, 0] < 299.0)]) == {0}
    assert set(owner[away_km[:, 1] <= 0.99 * LEAST_MODE_RADIUS_KM]) == {3}
    assert owner[away_km.min(axis=1) > 301.0].max() == NOBODY


def test_what_circles_hold_and_what_nobody_holds_is_all() -> None:
    belief = belief_in({PARIS: 0.6, TOKYO: 0.35}, SHARP)
    owner = owners(belief.support, [Disc(*PARIS, 100.0), Disc(*TOKYO, 100.0), Disc(0.0, -140.0, 1.0)])
    held = held_by(belief.mass, owner, 3)
    assert held.sum() + belief.mass[owner == NOBODY].sum() == pytest.approx(1.0)
    assert held[2] == 0.0
    nobody = owners(belief.support, [])
    assert held_by(belief.mass, nobody, 0).tolist() == []
    assert set(nobody) == {NOBODY}


def test_another_hypothesis_elsewhere_changes_no_probability() -> None:
    belief = belief_in({PARIS: 0.6, TOKYO: 0.35}, SHARP)
    before = held_by(belief.mass, owners(belief.support, [Disc(*PARIS, 100.0)]), 1)
    after = held_by(belief.mass, owners(belief.support, [Disc(*PARIS, 100.0), Disc(*LISBON, 100.0)]), 2)
    assert before[0] == after[0]


def test_a_bayes_factor_is_the_likelihood_ratio_of_inside_against_outside() -> None:
    """A witness that says 5 times likelier inside: log 5, whatever the probability before."""
    owner = np.array([0, 0, NOBODY])
    for inside in (0.01, 0.4, 0.99):
        before = np.array([inside / 2.0, inside / 2.0, 1.0 - inside])
        after = before * [5.0, 5.0, 1.0]
        factors = log_bayes_factors(after / after.sum(), before, owner, 1)
        assert factors == pytest.approx([np.log(5.0)])


def test_bayes_factors_are_finite_where_a_circle_holds_all_or_nothing() -> None:
    factors = log_bayes_factors(np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([0, 1]), 2)
    assert np.isfinite(factors).all()
    assert factors[0] > 20.0
    assert factors[1] < -20.0
