"""How many processes, search cores and places at LMM servers 1 to 1,000 photos a second need: queues, simulated.

    python -m benchmarks.speed.serve_load --users 1 --slow 0 --seconds 60 --keep alone.json
    python -m benchmarks.simulation.queueing --service alone.json [--lmm-s 6 --lmm-calls 3] [--within-s 60]
    python -m benchmarks.simulation.queueing --service alone.json --users 32

**This is a simulation.** A photo passes a process of GeoSleuth, a search in the store, then, for every call of the LMM,
a place at its server and the process again. Photos arrive at random (Poisson), and wait in the order of their arrival
wherever all places are taken. Only the time in a process is measured (one user alone, so without waiting); the times
of search and LMM are what is given. `--users` checks the model against `serve_load` with as many users.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simpy
from numpy.typing import NDArray

PROCESS, SEARCH, LMM = "process", "search", "LMM"
RATES_PER_S = (1, 3, 10, 30, 100, 300, 1000)
LMM_SIGMA = 0.5
"""Of the logarithm of an LMM's seconds; set by hand, no served model was measured here."""
WARM_UP = 0.2
"""Share of the simulated photos that fill the queues and are left out."""

MOST_BUSY = 0.95
"""Share of the time that a stage's places may be busy: of a fuller one, the wait depends on how long is simulated."""

Visit = tuple[str, float]
"""A stage, and the seconds of service there."""
Steps = Generator[simpy.Event, None, None]


@dataclass(frozen=True)
class Times:
    """Seconds of service.

    Attributes:
        process_s: samples of a photo's time in a process, all visits together.
        search_s: of one search.
        lmm_s: median of one call.
        lmm_calls: of one photo.
    """

    process_s: NDArray[np.float64]
    search_s: float
    lmm_s: float
    lmm_calls: int

    def visits(self, random: np.random.Generator) -> list[Visit]:
        """What one photo passes, in order; a process's time is divided evenly over its visits."""
        part_s = float(random.choice(self.process_s)) / (self.lmm_calls + 1)
        calls_s = self.lmm_s * random.lognormal(sigma=LMM_SIGMA, size=self.lmm_calls)
        return [
            (PROCESS, part_s),
            (SEARCH, self.search_s),
            *(visit for call_s in calls_s for visit in ((LMM, float(call_s)), (PROCESS, part_s))),
        ]

    def busy_s(self) -> dict[str, float]:
        """Mean seconds that one photo keeps a place of each stage."""
        mean_call_s = self.lmm_s * math.exp(LMM_SIGMA**2 / 2)
        return {PROCESS: float(self.process_s.mean()), SEARCH: self.search_s, LMM: mean_call_s * self.lmm_calls}


def open_queue(times: Times, places: Mapping[str, int], rate_per_s: float, photos: int, seed: int) -> list[float]:
    """Seconds from arrival to answer of photos that arrive at random, the first ones left out."""
    random = np.random.default_rng(seed)
    env, taken = simpy.Environment(), list[float]()
    stages = {name: simpy.Resource(env, count) for name, count in places.items()}

    def arrivals() -> Steps:
        for pause_s in random.exponential(1 / rate_per_s, photos):
            yield env.timeout(pause_s)
            env.process(_photo(env, stages, times.visits(random), taken))

    env.process(arrivals())
    env.run()
    return taken[int(WARM_UP * photos) :]


def closed_queue(times: Times, places: Mapping[str, int], users: int, seconds: float, seed: int) -> list[float]:
    """Seconds from request to answer where each user sends the next photo as soon as an answer is there."""
    random = np.random.default_rng(seed)
    env, taken = simpy.Environment(), list[float]()
    stages = {name: simpy.Resource(env, count) for name, count in places.items()}

    def user() -> Steps:
        while True:
            yield from _photo(env, stages, times.visits(random), taken)

    for _ in range(users):
        env.process(user())
    env.run(until=seconds)
    return taken


def _photo(
    env: simpy.Environment, stages: Mapping[str, simpy.Resource], visits: list[Visit], taken: list[float]
) -> Steps:
    begun_s = env.now
    for stage, service_s in visits:
        with stages[stage].request() as turn:
            yield turn
            yield env.timeout(service_s)
    taken.append(env.now - begun_s)


def places_needed(times: Times, rate_per_s: float, within_s: float, photos: int, seed: int) -> dict[str, int]:
    """The fewest places of each stage, found one stage after another, with which 95 % are answered in time.

    Raises:
        SystemExit: an answer takes longer than that without any waiting.
    """
    least = {name: max(1, math.ceil(rate_per_s * busy_s / MOST_BUSY)) for name, busy_s in times.busy_s().items()}
    if _percentile_s(times, least, rate_per_s, photos, seed) <= within_s:  # as a rule where many share the places
        return least
    places = {name: 2 * count + 4 for name, count in least.items()}
    if _percentile_s(times, places, rate_per_s, photos, seed) > within_s:
        raise SystemExit(f"95 % within {within_s:g} s cannot be had: that is shorter than an answer without waiting")
    for name in places:
        low, high = least[name], places[name]
        while low < high:
            middle = (low + high) // 2
            is_enough = _percentile_s(times, places | {name: middle}, rate_per_s, photos, seed) <= within_s
            low, high = (low, middle) if is_enough else (middle + 1, high)
        places[name] = high
    return places


def _percentile_s(times: Times, places: Mapping[str, int], rate_per_s: float, photos: int, seed: int) -> float:
    return float(np.percentile(open_queue(times, places, rate_per_s, photos, seed), 95))


def table(times: Times, chosen: argparse.Namespace) -> Iterator[str]:
    """What each rate needs, and what it gives."""
    busy_s = times.busy_s()
    yield "| photos/s | processes | search cores | LMM places | median, 95 % | busiest |"
    yield "|---|---|---|---|---|---|"
    for rate in chosen.rates:
        photos = max(chosen.photos, int(60 * rate))
        places = places_needed(times, rate, chosen.within_s, photos, chosen.seed)
        median_s, late_s = np.percentile(open_queue(times, places, rate, photos, chosen.seed), (50, 95))
        load = {name: rate * busy_s[name] / places[name] for name in places}
        busiest = max(load, key=lambda name: load[name])
        counts = f"{places[PROCESS]:,} | {places[SEARCH]:,} | {places[LMM]:,}"
        yield f"| {rate:,} | {counts} | {median_s:.1f}, {late_s:.1f} s | {busiest}, {load[busiest]:.0%} |"


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--service", type=Path, required=True, help="seconds of streams, of serve_load --keep")
    parser.add_argument("--search-ms", type=float, default=20.0, help="one search of the store")
    parser.add_argument("--lmm-s", type=float, default=6.0, help="median of one call of the LMM")
    parser.add_argument("--lmm-calls", type=int, default=3, help="calls of one photo")
    parser.add_argument("--within-s", type=float, default=60.0, help="95 %% are to be answered within")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES_PER_S, help="photos a second")
    parser.add_argument("--photos", type=int, default=3000, help="simulated at each rate; at least a minute's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--users", type=int, help="instead: this many users of one process, without LMM")
    parser.add_argument("--seconds", type=float, default=120.0, help="with --users")
    chosen = parser.parse_args()
    process_s = np.array(json.loads(chosen.service.read_text())["stream_s"], dtype=np.float64)
    if chosen.users:
        alone = Times(process_s, search_s=0.0, lmm_s=0.0, lmm_calls=0)
        taken = closed_queue(alone, {PROCESS: 1, SEARCH: 1}, chosen.users, chosen.seconds, chosen.seed)
        median_s, late_s = np.percentile(taken, (50, 95))
        print(f"{len(taken)} streams in {chosen.seconds:g} s, answer {median_s:.1f} s (95 %: {late_s:.1f} s)")
        return
    print("\n".join(table(Times(process_s, chosen.search_ms / 1000, chosen.lmm_s, chosen.lmm_calls), chosen)))


if __name__ == "__main__":
    main()
