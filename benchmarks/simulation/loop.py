"""What the refinement loop is worth, with a scripted LMM whose error rates are known: a simulation.

    python -m benchmarks.simulation.loop --data ../shared/data --home runs/offline_machine/home

The LMM is a script behind a real HTTP server (`benchmarks.simulation.server`). It knows where each photo was taken
and makes mistakes at chosen rates, so this measures what the system around a model adds at equal error rates; it
measures no real model. Four tables: strategies at equal error rates, rounds, the belief beside trusting the model
or retrieval when each is wrong at known rates, and a second look where some photos have signs that can be read only
enlarged. An abstention or a failure is a miss. What strategies cost: `benchmarks.simulation.costs`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from agents.chat_models.registry import LoadedModel, load_model
from agents.chat_models.spec import Capabilities, ModelOptions
from agents.schemas import Answer
from agents.strategies import Step
from benchmarks.dev_photos import DEFAULT_DATA, DevPhotos, load_dev_photos
from benchmarks.simulation.error_model import ErrorModel, Rates
from benchmarks.simulation.policy import ScriptedPolicy
from benchmarks.simulation.records import MODEL, measured_records, measured_retrieval
from benchmarks.simulation.server import PrefixCache, serve
from benchmarks.simulation.tools import GreyImagery, KnownRetrieval
from evals.fitting.judgements import RIGHT_WITHIN_KM
from evals.scores import distance
from geo.point import Point
from geo.sphere import point_distance_km
from graphs.budgets import Budgets
from graphs.geolocate import build_geolocate
from graphs.settings import WORLD_ATLAS, Settings
from graphs.system import GeoSleuth
from retrieval.candidate import AtlasKind
from retrieval.photos.photo import Photo, load_photo
from tools.satellite_view import satellite_view_tool
from tools.search_photos import search_photos_tool

PHOTO_ATLAS = "train-photos"
PHOTOS = 200
PARTS = ("validation", "calibration")
ROUNDS = (0, 1, 2, 3, 4)
READINGS = (0.6, 0.8, 0.95)
SMALL_SIGNS = (0.1, 0.3)
KNOWN_RATES = ((0.2, 0.6), (0.4, 0.4), (0.6, 0.2), (0.6, 0.6))
"""How often the model's first guess, and retrieval, are right."""

Floats = NDArray[np.float64]


class StrategyCase(NamedTuple):
    """A strategy at given error rates, perhaps without some of its steps."""

    label: str
    strategy: str
    rates: Rates
    rounds: int = 4
    without: frozenset[Step] = frozenset()


class Outcome(NamedTuple):
    """What a case came to on n photos: distances (n,), NaN where there was no answer, and mean costs of a photo.

    `cached` is the share of what the model's server read that it had read before, 0 to 1.
    """

    label: str
    km: Floats
    model_calls: float
    tool_calls: float
    tokens: float
    cached: float


class Trial(NamedTuple):
    """The photos that are asked about, where they were taken, others to measure the model's record on, the system."""

    photos: Sequence[Photo]
    truth: dict[str, Point]
    authors: Sequence[str]
    others: dict[str, Point]
    system: GeoSleuth
    measured: dict[object, Any]

    def once(self, key: object, measure: Callable[[], Any]) -> Any:
        """What was measured under a key, or is now."""
        if key not in self.measured:
            self.measured[key] = measure()
        return self.measured[key]


@contextmanager
def scripted_model(errors: ErrorModel, cache: PrefixCache) -> Iterator[LoadedModel]:
    """A scripted LMM, loaded like any OpenAI-compatible one, while the block lasts."""
    options = ModelOptions(capabilities=Capabilities(images=True, tools=True), concurrency=16)
    with serve(ScriptedPolicy(errors), cache=cache) as url:
        yield load_model(f"openai_compatible:{MODEL}@{url}", options)


def run(trial: Trial, case: StrategyCase, known_retrieval: float | None = None) -> Outcome:
    """Answer every photo by a case's strategy."""
    errors, cache = ErrorModel(case.rates, trial.truth), PrefixCache()
    with scripted_model(errors, cache) as model:
        locate = _locator(trial, case, model, known_retrieval)
        with ThreadPoolExecutor(4) as pool:
            answers = list(
                tqdm(
                    pool.map(locate, trial.photos), total=len(trial.photos), desc=case.label, leave=False, disable=None
                )
            )
    return _outcome(case.label, answers, trial, cache.share)


def _locator(
    trial: Trial, case: StrategyCase, model: LoadedModel, known_retrieval: float | None
) -> Callable[[Photo], Answer]:
    system = trial.system.with_strategy(case.strategy)
    known = system.context.parameters
    tools = {**system.context.tools, "satellite_view": satellite_view_tool(GreyImagery())}
    errors = ErrorModel(case.rates, trial.others)
    parameters = {"records": trial.once(case.rates, lambda: measured_records(errors, known))}
    if known_retrieval is not None:
        search = KnownRetrieval(known_retrieval, trial.truth)
        tools["search_photos"] = search_photos_tool(search)  # type: ignore[arg-type]  # its one method
        others = KnownRetrieval(known_retrieval, trial.others)
        measured = trial.once(known_retrieval, lambda: measured_retrieval(others, known))
        parameters["retrieval"] = {AtlasKind.PHOTO.value: measured}
    strategy = system.context.strategy
    context = replace(
        system.context,
        strategy=strategy.model_copy(update={"steps": strategy.steps - case.without}),
        models=(model,),
        tools=tools,
        budgets=Budgets(rounds=case.rounds),
        parameters=known.model_copy(update=parameters),
    )
    return replace(system, context=context, graph=build_geolocate(context)).locate


def _outcome(label: str, answers: Sequence[Answer], trial: Trial, cached: float) -> Outcome:
    km = [_km(answer, trial.truth[photo.id]) for answer, photo in zip(answers, trial.photos, strict=True)]
    costs = [answer.cost for answer in answers]
    return Outcome(
        label,
        np.array(km),
        float(np.mean([cost.model_calls for cost in costs])),
        float(np.mean([cost.tool_calls for cost in costs])),
        float(np.mean([cost.tokens for cost in costs])),
        cached,
    )


def _km(answer: Answer, truth: Point) -> float:
    return point_distance_km(answer.point, truth) if answer.point else float("nan")


# --- the four tables


def strategies_at_equal_rates(trial: Trial) -> Iterator[str]:
    """Every strategy at three qualities of reading."""
    for reading in READINGS:
        rates = Rates(reading=reading)
        cases = [
            StrategyCase("zero_shot", "zero_shot", rates),
            StrategyCase("rag", "rag", rates),
            StrategyCase("tool_agent, believes its last reading", "tool_agent", rates.but(keeps_score=False)),
            StrategyCase("tool_agent, adds up its readings", "tool_agent", rates),
            StrategyCase("refine", "refine", rates),
        ]
        yield f"Readings right {reading:.0%} of the time:"
        yield from _table([run(trial, case) for case in cases], trial)


def rounds(trial: Trial) -> Iterator[str]:
    """`refine` with a growing budget of rounds."""
    cases = [StrategyCase(f"refine, {number} rounds", "refine", Rates(), number) for number in ROUNDS]
    yield from _table([run(trial, case) for case in cases], trial)


def known_rates(trial: Trial) -> Iterator[str]:
    """The belief without and with investigation, beside trusting the model or retrieval."""
    for model, retrieval in KNOWN_RATES:
        rates = Rates(first=model, listed=min(1.0, model + 0.3))
        cases = [
            StrategyCase("trust the model (zero_shot)", "zero_shot", rates),
            StrategyCase("trust retrieval (clusters)", "clusters", rates),
            StrategyCase("belief, no investigation", "refine", rates, 0),
            StrategyCase("belief, 2 rounds", "refine", rates, 2),
        ]
        yield f"The model's first guess right {model:.0%} of the time, retrieval {retrieval:.0%}:"
        yield from _table([run(trial, case, retrieval) for case in cases], trial)


def looking_closer(trial: Trial) -> Iterator[str]:
    """What a second look is worth to a model that can read small signs only when they are enlarged."""
    closer = frozenset({Step.LOOK_CLOSER})
    for small_signs in SMALL_SIGNS:
        rates = Rates(small_signs=small_signs)
        cases = [
            StrategyCase("first reading", "jury", rates),
            StrategyCase("first and second reading", "look_closer", rates),
            StrategyCase("refine without a second look", "refine", rates, 2, closer),
            StrategyCase("refine", "refine", rates, 2),
        ]
        yield f"{small_signs:.0%} of the photos have a sign that can be read only enlarged:"
        yield from _table([run(trial, case) for case in cases], trial)


def _table(outcomes: Sequence[Outcome], trial: Trial) -> Iterator[str]:
    """Accuracy, cost, and the difference of each row to the last at 200 km with its interval over photographers."""
    yield ""
    yield "| | 25 km | 200 km | 750 km | GeoScore | last − this, 200 km | model calls | tool calls | tokens |"
    yield "|---|---|---|---|---|---|---|---|---|"
    last = distance.hits(outcomes[-1].km, RIGHT_WITHIN_KM)
    for one in outcomes:
        within = " | ".join(f"{distance.accuracy_interval(one.km, km).estimate:.1%}" for km in (25.0, 200.0, 750.0))
        gain = last.astype(float) - distance.hits(one.km, RIGHT_WITHIN_KM)
        interval = distance.clustered_bootstrap(100 * gain, trial.authors)
        difference = f"{interval.estimate:+.1f} ({interval.low:+.1f} to {interval.high:+.1f})"
        costs = f"{one.model_calls:.1f} | {one.tool_calls:.1f} | {one.tokens:,.0f}"
        score = distance.geoscore(one.km).mean()
        yield f"| {one.label} | {within} | {score:,.0f} | {difference if one is not outcomes[-1] else ''} | {costs} |"
    yield ""


TABLES: dict[str, Callable[[Trial], Iterator[str]]] = {
    "strategies": strategies_at_equal_rates,
    "rounds": rounds,
    "known_rates": known_rates,
    "looking_closer": looking_closer,
}


def open_trial(data: Path, home: Path, photos: int, part: str) -> Trial:
    """The first photos of a part; the model's record comes from the other part, photos by other people."""
    every = load_dev_photos(data)
    chosen = every.part(part)
    shown = [load_photo(path).without_metadata() for path in chosen.paths[:photos]]
    others = every.part(next(other for other in PARTS if other != part))
    atlases = (WORLD_ATLAS, PHOTO_ATLAS)
    settings = Settings(home=home, atlases=atlases, read_signs=False, min_confidence=0.0, threads=1)
    return Trial(
        shown,
        dict(zip([photo.id for photo in shown], _points(chosen), strict=False)),
        chosen.authors[:photos],
        dict(zip([item.item_id for item in others.items], _points(others), strict=True)),
        GeoSleuth.open(settings),
        {},
    )


def _points(photos: DevPhotos) -> list[Point]:
    return [Point(lat=lat, lon=lon) for lat, lon in photos.lat_lon_deg.tolist()]


def trial_parser(description: str, photos: int) -> argparse.ArgumentParser:
    """A parser of what `open_trial` takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--home", type=Path, default=Path("runs/offline_machine/home"), help="holds the atlases")
    parser.add_argument("--photos", type=int, default=photos)
    parser.add_argument("--part", choices=PARTS, default=PARTS[0], help="changes are tried on calibration")
    return parser


def main() -> None:
    """Print the tables."""
    parser = trial_parser(__doc__ or "", PHOTOS)
    parser.add_argument("--table", choices=sorted(TABLES), action="append", help="only this; may be repeated")
    chosen = parser.parse_args()
    trial = open_trial(chosen.data, chosen.home, chosen.photos, chosen.part)
    try:
        for name in chosen.table or TABLES:
            print(f"\n## {name}\n")
            for line in TABLES[name](trial):
                print(line, flush=True)
    finally:
        trial.system.close()


if __name__ == "__main__":
    main()
