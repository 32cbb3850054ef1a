"""The simulated queues against what queueing theory knows of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.simulation.queueing import (
    LMM,
    MOST_BUSY,
    PROCESS,
    SEARCH,
    Times,
    closed_queue,
    open_queue,
    places_needed,
)

EXPONENTIAL = np.random.default_rng(1).exponential(1.0, 20_000)
ONE = {PROCESS: 1, SEARCH: 1, LMM: 1}


@pytest.mark.parametrize(("servers", "rate_per_s"), [(1, 0.5), (3, 2.4)])
def test_waiting_is_that_of_erlangs_formula(servers: int, rate_per_s: float) -> None:
    times = Times(EXPONENTIAL, search_s=0.0, lmm_s=0.0, lmm_calls=0)
    taken_s = open_queue(times, ONE | {PROCESS: servers}, rate_per_s, photos=60_000, seed=2)
    assert np.mean(taken_s) == pytest.approx(1.0 + erlang_wait_s(servers, rate_per_s), rel=0.1)


def erlang_wait_s(servers: int, load: float) -> float:
    """Mean wait for a service of one second (Erlang 1917)."""
    terms = [load**k / math.factorial(k) for k in range(servers)]
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(terms) + last) / (servers - load)


def test_users_who_send_one_photo_after_another_wait_for_one_another() -> None:
    times = Times(np.array([0.25]), search_s=0.0, lmm_s=0.0, lmm_calls=0)
    taken_s = closed_queue(times, ONE, users=32, seconds=120.1, seed=0)
    assert len(taken_s) == 480
    assert taken_s[-1] == pytest.approx(8.0)


def test_each_stage_gets_what_keeps_the_answers_in_time_and_no_place_more() -> None:
    times = Times(EXPONENTIAL / 4.0, search_s=0.02, lmm_s=2.0, lmm_calls=2)
    places = places_needed(times, rate_per_s=5.0, within_s=12.0, photos=2000, seed=3)
    assert percentile_s(times, places) <= 12.0
    for stage in places:
        fewer = places | {stage: places[stage] - 1}
        is_too_busy = 5.0 * times.busy_s()[stage] > MOST_BUSY * fewer[stage]
        assert is_too_busy or percentile_s(times, fewer) > 12.0


def percentile_s(times: Times, places: dict[str, int]) -> float:
    return float(np.percentile(open_queue(times, places, 5.0, 2000, 3), 95))


def test_an_answer_cannot_come_before_its_calls_end() -> None:
    times = Times(np.array([0.25]), search_s=0.02, lmm_s=10.0, lmm_calls=3)
    with pytest.raises(SystemExit, match="cannot be had"):
        places_needed(times, rate_per_s=1.0, within_s=20.0, photos=500, seed=0)
