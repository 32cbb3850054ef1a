import math

import numpy as np
import pytest

from belief.posterior import Belief
from belief.support import Disc, make_support
from belief.witnesses.areas import area_log_ratio, bounded_nats, country_log_ratio
from belief.witnesses.countries import CountryWeights
from tests.belief.beliefs import LISBON, PARIS, TOKYO, parameters


@pytest.mark.parametrize("said", [-1000.0, -1.0, 0.0, 1.0, 1000.0])
@pytest.mark.parametrize("accuracy", [0.1, 0.5, 0.65, 0.9, 0.999])
def test_a_judgement_weighs_what_is_said_within_what_its_maker_is_worth(said: float, accuracy: float) -> None:
    nats = bounded_nats(said, accuracy)
    assert abs(nats) <= max(0.0, math.log(accuracy / (1.0 - accuracy))) + 1e-12
    assert abs(nats) <= abs(said)
    assert nats * said >= 0.0


@pytest.mark.parametrize("nats", [-50.0, -2.0, 0.0, 2.0, 50.0])
@pytest.mark.parametrize("radius_km", [0.0, 1.0, 300.0, 30_000.0])
def test_an_area_says_its_nats_inside_and_fades_outside(nats: float, radius_km: float) -> None:
    support = make_support([PARIS, TOKYO])
    ratio = area_log_ratio(support, Disc(*PARIS, radius_km), nats)
    away_km = support.distance_km(PARIS)[:, 0]
    assert np.isfinite(ratio).all()
    assert ratio[away_km <= max(1e-3, radius_km)] == pytest.approx(nats, abs=1e-2 + 0.01 * abs(nats))
    far = away_km > 60.0 * max(1.0, radius_km)
    assert ratio[far] == pytest.approx(0.0, abs=1e-3)


def test_the_chance_of_an_area_moves_by_the_nats_said() -> None:
    support = make_support([PARIS])
    inside = support.distance_km(PARIS)[:, 0] <= 300.0

    def log_odds(nats: float) -> float:
        ratio = area_log_ratio(support, Disc(*PARIS, 300.0), nats)
        held = Belief(support, {}, {"judged": ratio}, parameters()).mass[inside].sum()
        return math.log(held / (1.0 - held))

    assert 0.5 < log_odds(1.0) - log_odds(0.0) < 1.0


def test_countries_weigh_by_their_nats_and_are_one_on_average() -> None:
    support = make_support([PARIS, TOKYO, LISBON])
    codes = ["FR" if near else None for near in support.distance_km(PARIS)[:, 0] < 300.0]
    nats = country_log_ratio(support, codes, CountryWeights({"FR": 3.0}, others=-1.0), useless=0.1)
    assert support.prior_mass @ np.exp(nats) == pytest.approx(1.0)
    assert nats[0] > 0.0 > nats[1]
    assert nats.min() >= math.log(0.1)
