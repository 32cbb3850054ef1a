import numpy as np
import pytest

from belief.decision import COUNTRY_KM, Aim, decide, expected_utility
from belief.kernels import chord_distance_km
from belief.parameters import default_parameters
from belief.posterior import Belief
from belief.support import make_support
from belief.witnesses.reports import ReportedPlace, WeighedReport
from geo.sphere import distance_km, unit_vectors
from tests.belief.beliefs import (
    ATLANTIC,
    FIJI,
    LISBON,
    NORTH_POLE,
    PARIS,
    TOKYO,
    belief_in,
    parameters,
    record,
    report_of,
)

GEOSCORE = {1492.7: 1.0}
CAREFUL = record(s0_3=0.1, s3=0.1, s25=0.2, s150=0.2, s800=0.2)


def of_the_prior() -> Belief:
    return Belief(make_support(), {}, {}, parameters())


def of_a_jury() -> Belief:
    pins = [(48.86, 2.34), (48.2, 2.9), (45.76, 4.84), (50.85, 4.35), (40.42, -3.70)]
    support = make_support(pins)
    reports = {f"m{k}": report_of(support, [ReportedPlace(*at)], CAREFUL) for k, at in enumerate(pins)}
    return Belief(support, reports, {}, parameters())


BELIEFS = {
    "prior": of_the_prior,
    "jury": of_a_jury,
    "one": lambda: belief_in({LISBON: 0.9}, CAREFUL),
    "torn": lambda: belief_in({PARIS: 0.5, TOKYO: 0.45}, CAREFUL),
    "scattered": lambda: belief_in({PARIS: 0.2, TOKYO: 0.2, LISBON: 0.2, FIJI: 0.2, ATLANTIC: 0.2}, CAREFUL),
    "pole": lambda: belief_in({NORTH_POLE: 0.9}, CAREFUL),
    "antimeridian": lambda: belief_in({(-16.8, 179.9): 0.45, (-16.8, -179.9): 0.45}, CAREFUL),
}
UTILITIES = {"geoscore": GEOSCORE, "street": {1.0: 1.0}, "city": {25.0: 1.0}, "country": {200.0: 0.5, 750.0: 0.5}}


@pytest.mark.parametrize("name", BELIEFS)
@pytest.mark.parametrize("utility", UTILITIES)
def test_no_position_of_a_grid_nor_of_the_support_is_better_by_more_than_1_percent(name: str, utility: str) -> None:
    belief, weights = BELIEFS[name](), UTILITIES[utility]
    best = decide(belief, weights)

    def gain(unit: np.ndarray) -> np.ndarray:
        parts = np.array_split(unit, max(1, len(unit) // 512))
        away_km = (chord_distance_km(part, belief.support.unit) for part in parts)
        return np.concatenate([expected_utility(km, belief.mass, weights) for km in away_km])

    grid = np.stack(np.meshgrid(np.arange(-88.0, 89.0, 4.0), np.arange(-180.0, 180.0, 4.0)), axis=-1).reshape(-1, 2)
    mine = gain(unit_vectors([(best.lat_deg, best.lon_deg)]))[0]
    assert mine >= 0.99 * gain(belief.support.unit).max()
    assert mine >= 0.99 * gain(unit_vectors(grid)).max()


def test_the_decision_is_a_position_of_the_support() -> None:
    belief = of_a_jury()
    best = decide(belief, GEOSCORE)
    assert (best.lat_deg, best.lon_deg) == tuple(belief.support.lat_lon_deg[best.row])


def test_a_certain_place_is_answered_to_some_metres() -> None:
    best = decide(belief_in({LISBON: 1.0}, record(s0_3=1.0)), GEOSCORE)
    assert distance_km((best.lat_deg, best.lon_deg), LISBON) < 0.3


def test_the_aim_decides_between_a_likely_spot_and_a_likely_area() -> None:
    """0.4 on a spot, 0.6 over a wide area elsewhere: near counts for a street, the area for a continent."""
    support = make_support([LISBON, TOKYO])
    spot, area = (support.distance_km(at)[:, 0] for at in (LISBON, TOKYO))
    mass = support.prior_mass
    shares = [(0.4, spot <= 1.0), (0.6, area <= 800.0)]
    ratio = np.full(len(mass), 1e-9) + sum(share * inside / mass[inside].sum() for share, inside in shares)
    belief = Belief(support, {"m": WeighedReport(ratio)}, {}, parameters())
    assert distance_km(decide(belief, {1.0: 1.0})[1:], LISBON) < 5.0
    assert distance_km(decide(belief, {2500.0: 1.0})[1:], TOKYO) < 800.0


def test_utility_is_linear_in_weights_and_in_probability() -> None:
    away_km, mass = np.array([[0.0, 500.0, 3000.0]]), np.array([0.2, 0.3, 0.5])
    both = expected_utility(away_km, mass, {25.0: 0.5, 750.0: 2.0})
    assert both == pytest.approx(
        0.5 * expected_utility(away_km, mass, {25.0: 1.0}) + 2.0 * expected_utility(away_km, mass, {750.0: 1.0})
    )
    assert expected_utility(away_km, mass, {1e12: 1.0}) == pytest.approx(mass.sum())


def test_every_aim_wants_a_distance_and_geoscore_that_of_a_country() -> None:
    assert [aim.wanted_km for aim in Aim] == [1, 25, 200, 750, 2500, COUNTRY_KM]
    assert "geoscore" in default_parameters().utility
