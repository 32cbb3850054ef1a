"""Recorded models alone and through the belief, one and several, cross-validated by photographer.

    python -m benchmarks.accuracy.belief --data ../shared/data --out belief.md

Every photo is answered with numbers that were fitted on photos by other photographers. A model's own point stands
beside the belief from its report, juries of two to nine models, and the prior alone. Beside the calibration error
stands the one that a perfect forecaster would show with these chances and photographers: bins of few photos are never
exactly right. Every row has all photos of its benchmark as denominator; a model without a place for a photo leaves
the prior to answer.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from agents.chat_models.recorded import read_rows
from agents.structured_output.position import parse_position
from belief.decision import decide
from belief.parameters import Parameters, default_parameters
from belief.posterior import THRESHOLDS_KM
from belief.support import make_support
from belief.witnesses.reports import ReportedPlace
from benchmarks.dev_photos import DEFAULT_DATA
from evals.fitting.area_fit import with_area_shares
from evals.fitting.belief_fit import FOLDS, Fitter, fold_of
from evals.fitting.belief_samples import BeliefData, BeliefSample, record_name
from evals.fitting.belief_worth import fit_parameters, juries_to_fit, open_fitter
from evals.scores import distance, reliability
from geo.sphere import Floats, distance_km

GEMINI, FRONTIER = "gemini-2.0-flash", "frontier-2026-11"
CHEAP = ("gpt-4.1-mini", "gpt-4o-mini", "gemini-2.0-flash-lite", "gemini-1.5-flash", "gemini-1.5-flash-8b")
STRONG = ("gpt-4.1", "gemini-1.5-pro", "o3", "claude-3-7-sonnet-latest", "gpt-4-turbo")
NINE = (*STRONG, "gpt-4o", "o4-mini", "gemini-2.0-flash-lite", "gpt-4.1-mini")
JURIES_237 = {
    "two cheap": CHEAP[:2],
    "three cheap": CHEAP[:3],
    "five cheap": CHEAP,
    "two strong": STRONG[:2],
    "three strong": STRONG[:3],
    "five strong": STRONG,
    "nine": NINE,
}
JURIES_3K = {
    "gemini + o4-mini": (GEMINI, "o4-mini"),
    "gemini + gpt-4-turbo + o4-mini": (GEMINI, "gpt-4-turbo", "o4-mini"),
}
LEFT_OUT = "idefics-80b-instruct"
"""Names no position in most replies."""
CITY = THRESHOLDS_KM.index(25)
SIMULATIONS = 20
COLUMNS = (
    "",
    "% within 1 / 25 / 200 / 750 / 2500 km",
    "GeoScore (difference to the best model, 95 %)",
    "log score",
    "50 % radius holds, median",
    "90 % radius holds, median",
    "50 % area holds, median",
    "90 % area holds, median",
    "calibration error at 1 / 25 / 200 / 750 / 2500 km",
    "a perfect forecaster's, photos of a photographer independent – all alike",
    "selective accuracy, 25 km",
)


class Answers(NamedTuple):
    """A system's answers to n photos: distances in km, and what the belief said; None: it said nothing.

    Attributes:
        chance: (n, 5) stated within each distance.
        radius_km, area_km2: (n, 2), for 50 and 90 %.
        log_score: (n,) nats per km² at the truth.
        in_area: (n, 2), 1 where the 50 and the 90 % area hold the truth.
    """

    away_km: Floats
    chance: Floats | None = None
    radius_km: Floats | None = None
    area_km2: Floats | None = None
    log_score: Floats | None = None
    in_area: Floats | None = None


def read_samples(table: Path, folder: Path) -> BeliefData:
    """Photos of a table with the answers that are recorded about them."""
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    reports: dict[str, dict[str, list[ReportedPlace]]] = {row["IMG_ID"]: {} for row in rows}
    files = [path for path in sorted(folder.glob("*.jsonl")) if path.stem != LEFT_OUT]
    for path in files:
        for answer in read_rows(path):
            reports[answer.photo or ""][record_name(path.stem)] = _places(answer.response or "")
    samples = [
        BeliefSample((float(row["LAT"]), float(row["LON"])), row["AUTHOR"], reports[row["IMG_ID"]], {}) for row in rows
    ]
    return BeliefData(samples, [tuple(record_name(path.stem) for path in files)], {})


def _places(text: str) -> list[ReportedPlace]:
    located = [place for place in parse_position(text).places if "lat" in place]
    return [ReportedPlace(p["lat"], p["lon"], p.get("radius_km"), p.get("confidence")) for p in located]


def cross_fitted(fitter: Fitter, juries: Sequence[Sequence[str]]) -> list[Parameters]:
    """Parameters for the photos of each fold, fitted on the others."""
    fold = np.array([fold_of(sample.photographer) for sample in fitter.samples])
    rest = [np.flatnonzero(fold != part).tolist() for part in range(FOLDS)]
    fits = ((fit_parameters(fitter, juries, rows, lambda _: ""), rows) for rows in tqdm(rest, desc="fit"))
    return [with_area_shares(fitter, fitted, rows) for fitted, rows in fits]


def believed(fitter: Fitter, fits: Sequence[Parameters], models: Sequence[str], rows: Sequence[int]) -> Answers:
    """Answers of the belief from some models' reports; aim GeoScore."""
    return _stacked([_answer(fitter, fits, models, row) for row in rows])


def _answer(fitter: Fitter, fits: Sequence[Parameters], models: Sequence[str], row: int) -> list[float]:
    sample = fitter.samples[row]
    parameters = fits[fold_of(sample.photographer)]
    heard = [name for name in models if sample.reports.get(name)]
    support = make_support([place[:2] for name in heard for place in sample.reports[name]], fitter.prior)
    belief = fitter.belief(parameters, row, heard, support)
    at = decide(belief, parameters.utility["geoscore"])[1:]
    away_km = support.distance_km(at)[:, 0]
    chance = [float(belief.mass[away_km <= limit].sum()) for limit in THRESHOLDS_KM]
    log_score = float(np.log(fitter.prior.density(sample.truth_deg)[0])) + fitter.gain_nats(parameters, row, models)
    sizes = [*(belief.radius_km(at, share) for share in (0.5, 0.9)), *(belief.area_km2(share) for share in (0.5, 0.9))]
    in_area = [belief.is_in_area(sample.truth_deg, share) for share in (0.5, 0.9)]
    return [float(distance_km(at, sample.truth_deg)), *chance, *sizes, log_score, *in_area]


def _stacked(values: Sequence[Sequence[float]]) -> Answers:
    columns = np.array(values)
    return Answers(columns[:, 0], columns[:, 1:6], columns[:, 6:8], columns[:, 8:10], columns[:, 10], columns[:, 11:])


def alone(fitter: Fitter, model: str, rows: Sequence[int], best: bool = False) -> Answers:
    """A model's own points: its first place, or the best of its places; NaN where it gives none."""
    given = [(fitter.samples[row].reports.get(model, ()), fitter.samples[row].truth_deg) for row in rows]
    away_km = [distance_km(truth, [p[:2] for p in said]) if said else np.array([np.nan]) for said, truth in given]
    return Answers(np.array([each.min() if best else each[0] for each in away_km]))


def row_of(label: str, answers: Answers, best_model: Answers, photographers: Sequence[str]) -> str:
    """A row of the table."""
    away_km, score = answers.away_km, distance.geoscore(answers.away_km)
    accuracy = " / ".join(f"{100 * distance.hits(away_km, km).mean():.1f}" for km in THRESHOLDS_KM)
    more = distance.clustered_bootstrap(score - distance.geoscore(best_model.away_km), photographers)
    gain = f"{score.mean():,.0f} ({more.estimate:+.0f}, {more.low:+.0f} to {more.high:+.0f})"
    return f"| {' | '.join([label, accuracy, gain, *_uncertainty(answers, photographers)])} |"


def _uncertainty(answers: Answers, photographers: Sequence[str]) -> list[str]:
    chance, radius_km, area_km2, log_score, in_area = answers[1:]
    if chance is None or radius_km is None or area_km2 is None or log_score is None or in_area is None:
        return [""] * 8
    right = answers.away_km[:, None] <= np.array(THRESHOLDS_KM)
    held = [f"{100 * (answers.away_km <= r).mean():.0f} %, {np.median(r):,.0f} km" for r in radius_km.T]
    areas = [
        f"{100 * inside.mean():.0f} %, {np.median(area):,.0f} km²"
        for inside, area in zip(in_area.T, area_km2.T, strict=True)
    ]
    surest = reliability.accuracy_coverage(chance[:, CITY], right[:, CITY]).area
    errors = " / ".join(f"{value:.3f}" for value in calibration_errors(chance, right))
    perfect = " / ".join(f"{low:.3f}–{high:.3f}" for low, high in perfect_errors(chance, photographers).T)
    return [f"{log_score.mean():.2f}", *held, *areas, errors, perfect, f"{100 * surest:.1f} %"]


def calibration_errors(chance: Floats, right: NDArray[np.bool_]) -> Floats:
    """Calibration error (5,) of chances at each distance."""
    pairs = zip(chance.T, right.T, strict=True)
    return np.array([reliability.expected_calibration_error(stated, held) for stated, held in pairs])


def perfect_errors(chance: Floats, photographers: Sequence[str]) -> Floats:
    """Mean calibration error (2, 5) if the chances were true: photos independent, or one luck for each photographer."""
    rng = np.random.default_rng(0)
    _, index = np.unique(np.asarray(photographers), return_inverse=True)
    draws = [rng.random((SIMULATIONS, len(chance), 1)), rng.random((SIMULATIONS, index.max() + 1, 1))[:, index]]
    return np.array([np.mean([calibration_errors(chance, draw < chance) for draw in drawn], axis=0) for drawn in draws])


def tables(title: str, data: BeliefData, juries: Mapping[str, Sequence[str]], rows: Sequence[int]) -> Iterator[str]:
    """All rows of a benchmark on some of its photos; records are fitted on all of them."""
    fitter = open_fitter(data, default_parameters())
    fits = cross_fitted(fitter, juries_to_fit(list(juries.values())))
    photographers = [fitter.samples[row].photographer for row in rows]
    asked = [name for name in data.juries[0] if len(fitter.asked(name, rows)) >= len(rows) // 2]
    models = {name: alone(fitter, name, rows) for name in asked}
    best = max(models.values(), key=lambda own: float(distance.geoscore(own.away_km).mean()))
    yield f"\n**{title}**: {len(rows)} photos by {len(set(photographers))} photographers\n"
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|---" * len(COLUMNS) + "|"
    yield row_of("prior only", believed(fitter, fits, [], rows), best, photographers)
    for name, own in models.items():
        yield row_of(f"{name}, its first place", own, best, photographers)
        if name == FRONTIER:
            places = alone(fitter, name, rows, best=True)
            yield row_of(f"{name}, the best of its places (known only with the truth)", places, best, photographers)
        yield row_of(f"{name}, belief", believed(fitter, fits, [name], rows), best, photographers)
    for label, jury in juries.items():
        yield row_of(f"{label}, belief", believed(fitter, fits, jury, rows), best, photographers)


def benchmark(data: Path) -> Iterator[str]:
    """The three tables."""
    large = read_samples(data / "im2gps3k_dev" / "im2gps3k_dev.csv", data / "recorded")
    small = read_samples(data / "recorded_im2gps" / "truth.csv", data / "recorded_im2gps")
    seen = [row for row, sample in enumerate(large.samples) if FRONTIER in sample.reports]
    yield from tables("IM2GPS, 17 models", small, JURIES_237, range(len(small.samples)))
    with_frontier = {
        f"frontier + {name}": (FRONTIER, *jury) for name, jury in {"gemini": (GEMINI,), **JURIES_3K}.items()
    }
    yield from tables("IM2GPS3k, photos that the frontier model saw", large, with_frontier, seen)
    yield from tables("IM2GPS3k", large, JURIES_3K, range(len(large.samples)))


def main() -> None:
    """Print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=DEFAULT_DATA, help="folder with im2gps3k_dev/ and recorded answers"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/belief.md"), help="the tables go here, too")
    chosen = parser.parse_args()
    if not (chosen.data / "recorded").is_dir():
        raise SystemExit(f"this measures on answers recorded in {chosen.data}, which is not there: see docs/results.md")
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    with chosen.out.open("w", encoding="utf-8") as file:
        for line in benchmark(chosen.data):
            print(line, flush=True)
            file.write(f"{line}\n")


if __name__ == "__main__":
    main()
