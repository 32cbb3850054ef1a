"""Fit the chooser to runs, and say what it gains on other photographers' photos.

    python -m evals.chooser_fit RUN … --strategy refine --out FILE

The right place is often retrieved and not chosen. The chooser is a linear ranker over the positions a run came to:
pairs of positions of one photo, the one nearer to the truth against the other, are told apart by logistic regression
(the pairwise transform of Joachims 2002), each photographer counting by the square root of the photos. Give runs on
photos that the encoder was not trained on. What it prints is cross-fitted: each fifth of the photographers is chosen
for by weights fitted on the others.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from evals import metrics, statistics
from evals.columns import Texts
from evals.fitting import Material, add_run_arguments, gather
from evals.metrics import Interval
from evals.records import Record
from evals.tables import Table, km_label, markdown, percent
from geo.errors import UserError
from geo.sphere import Floats, distance_km
from graphs.calibration import Subject
from graphs.chooser import FEATURES, Chooser, Found, features, found_columns
from graphs.posterior import default_parameters

FOLDS = 5
PAIRS_OF_A_PHOTO = 200
LEAST_GAIN = 0.02
"""Two positions differ if their worth does by this much, of 1."""

STRENGTH = 0.01
"""Inverse of the ridge penalty: strong, as a few hundred photos tell little."""


class Choices(NamedTuple):
    """n photos: the features of their options, how far each option is from the truth, and who took them."""

    features: list[Floats]
    away_km: list[Floats]
    author: Texts
    found: list[Found]


class Gap(NamedTuple):
    """The machine's choice, the chooser's, and the best there was, within a distance."""

    km: float
    machine: Interval
    chosen: Interval
    oracle: Interval
    gain: Interval
    """Chosen − machine in points of percent; bootstrap over photographers."""
    mcnemar_p: float


def choices_of(records: Sequence[Record]) -> Choices:
    """The options of answered records."""
    parameters = default_parameters()
    found = [_found(record) for record in records]
    return Choices(
        features=[features(each, parameters) for each in found],
        away_km=[distance_km(r.truth, each.options_deg) for r, each in zip(records, found, strict=True)],
        author=np.array([r.photographer for r in records], dtype=np.str_),
        found=found,
    )


def _found(record: Record) -> Found:
    if record.point is None:
        raise ValueError(f"{record.photo} has no answer to choose from")
    candidates = [(c.kind, c.rank, c.similarity, c.point) for c in record.candidates]
    hypotheses = [(h.point, h.probability) for h in record.hypotheses if h.probability > 0.0]
    return found_columns(candidates, hypotheses, record.point)


def worth(away_km: Floats) -> Floats:
    """How good an option is, 0 to 1: the machine's own utility of an error."""
    utility = default_parameters().utility
    total = sum(utility.values())
    return np.asarray(sum(a * np.exp(-away_km / s) for s, a in utility.items()) / total)


def fit_chooser(choices: Choices, subject: Subject, fitted_on: str = "", measured: str = "") -> Chooser:
    """The ranker that tells pairs of options apart best.

    Raises:
        UserError: scikit-learn is missing, or no photo has options that differ.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise UserError("fitting a chooser needs scikit-learn: pip install 'geosleuth[evals]'") from error
    every = np.concatenate(choices.features)
    mean, scale = every.mean(axis=0), every.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    differences, weights = _pairs(choices, scale)
    if not len(differences):
        raise UserError("no photo has two options of different worth: there is nothing to choose between")
    # Each pair in both directions, so that the classes are balanced and no intercept is wanted.
    pairs = np.concatenate([differences, -differences])
    better = np.repeat([1, 0], len(differences))
    ranker = LogisticRegression(C=STRENGTH, fit_intercept=False, max_iter=500)
    ranker.fit(pairs, better, sample_weight=np.tile(weights, 2))
    return Chooser(
        subject=subject,
        fitted_on=fitted_on,
        measured=measured,
        features=FEATURES,
        mean=tuple(mean.round(9).tolist()),
        scale=tuple(scale.round(9).tolist()),
        weight=tuple(ranker.coef_[0].round(9).tolist()),
    )


def _pairs(choices: Choices, scale: Floats) -> tuple[Floats, Floats]:
    """Standardised differences (m, features) of better and worse options, and what each pair counts."""
    rng = np.random.default_rng(0)
    photos_by = Counter(choices.author.tolist())
    differences, weights = [np.empty((0, len(FEATURES)))], [np.empty(0)]
    for columns, away_km, author in zip(choices.features, choices.away_km, choices.author.tolist(), strict=True):
        value = worth(away_km)
        better, worse = np.nonzero(value[:, None] > value[None, :] + LEAST_GAIN)
        picked = rng.permutation(len(better))[:PAIRS_OF_A_PHOTO]
        better, worse = better[picked], worse[picked]
        differences.append((columns[better] - columns[worse]) / scale)
        gained = value[better] - value[worse]
        weights.append(gained / max(len(picked), 1) * photos_by[author] ** -0.5)
    weight = np.concatenate(weights)
    return np.concatenate(differences), weight / weight.mean() if len(weight) else weight


def cross_fitted(choices: Choices, subject: Subject, folds: int = FOLDS) -> Floats:
    """Error (n,) of the option chosen for each photo by weights fitted on other photographers."""
    fold_of = _folds(choices.author, folds)
    chosen_km = np.full(len(choices.author), np.nan)
    for fold in range(folds):
        rest, own = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        chooser = fit_chooser(_at(choices, rest), subject)
        for i in own.tolist():
            chosen_km[i] = choices.away_km[i][chooser.choose(choices.found[i], default_parameters())]
    return chosen_km


def _at(choices: Choices, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Choices:
    kept = rows.tolist()
    return Choices(
        features=[choices.features[i] for i in kept],
        away_km=[choices.away_km[i] for i in kept],
        author=choices.author[rows],
        found=[choices.found[i] for i in kept],
    )


def _folds(author: Texts, folds: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """The fold of each photo: photographers, the most diligent first, go to the emptiest fold."""
    filled = [0] * folds
    fold_of: dict[str, int] = {}
    for name, count in sorted(Counter(author.tolist()).items(), key=lambda item: (-item[1], item[0])):
        fold_of[name] = filled.index(min(filled))
        filled[fold_of[name]] += count
    return np.array([fold_of[name] for name in author.tolist()], dtype=np.intp)


def gaps(choices: Choices, chosen_km: Floats) -> list[Gap]:
    """Machine, chooser and oracle at every threshold."""
    machine_km = np.array([away[0] for away in choices.away_km])
    oracle_km = np.array([away.min() for away in choices.away_km])
    return [_gap(km, machine_km, chosen_km, oracle_km, choices.author) for km in metrics.THRESHOLDS_KM]


def _gap(km: float, machine_km: Floats, chosen_km: Floats, oracle_km: Floats, author: Texts) -> Gap:
    before, after = metrics.hits(machine_km, km), metrics.hits(chosen_km, km)
    return Gap(
        km=km,
        machine=metrics.accuracy_interval(machine_km, km),
        chosen=metrics.accuracy_interval(chosen_km, km),
        oracle=metrics.accuracy_interval(oracle_km, km),
        gain=metrics.clustered_bootstrap(100.0 * (after.astype(np.float64) - before), author),
        mcnemar_p=statistics.mcnemar_exact(int((after & ~before).sum()), int((before & ~after).sum())),
    )


def gap_table(found: Sequence[Gap]) -> Table:
    """The gaps, a row a threshold."""
    rows = [
        [
            km_label(gap.km),
            *map(percent, (gap.machine, gap.chosen, gap.oracle)),
            f"{gap.gain.estimate:+.1f} ({gap.gain.low:+.1f} to {gap.gain.high:+.1f})",
            f"{gap.mcnemar_p:.3f}",
        ]
        for gap in found
    ]
    head = ["within", "the machine's choice %", "chosen %", "oracle %", "gain in points", "McNemar's p"]
    return Table("Choosing among what was found, cross-fitted by photographer", head, rows)


def points_line(choices: Choices, chosen_km: Floats) -> str:
    """GeoScore before and after, and of the oracle."""
    machine = metrics.geoscore([away[0] for away in choices.away_km])
    oracle = metrics.geoscore([away.min() for away in choices.away_km])
    chosen = metrics.geoscore(chosen_km)
    gain = metrics.clustered_bootstrap(chosen - machine, choices.author)
    p = statistics.sign_flip_p_value(chosen - machine, choices.author)
    return (
        f"GeoScore {machine.mean():.0f} → {chosen.mean():.0f} (gain {gain.estimate:+.0f}, {gain.low:+.0f} to"
        f" {gain.high:+.0f}, p {p:.3f} over photographers); oracle {oracle.mean():.0f}"
    )


def weights_table(weights: Mapping[str, float]) -> Table:
    """What the chooser looks at, the heaviest first."""
    rows = [[name, f"{weight:+.3f}"] for name, weight in sorted(weights.items(), key=lambda item: -abs(item[1]))]
    return Table("Weights of the standardised features", ["feature", "weight"], rows)


def report(material: Material) -> tuple[Chooser, str]:
    """The chooser of all photos, and what was measured, as Markdown."""
    choices = choices_of(material.answered)
    chosen_km = cross_fitted(choices, material.subject)
    points = points_line(choices, chosen_km)
    chooser = fit_chooser(choices, material.subject, material.told, f"cross-fitted: {points}")
    named = dict(zip(chooser.features, chooser.weight, strict=True))
    parts = [material.told, markdown(gap_table(gaps(choices, chosen_km))), points, markdown(weights_table(named))]
    return chooser, "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_arguments(parser)
    chosen = parser.parse_args(arguments)
    try:
        chooser, said = report(gather(chosen.runs, chosen.strategy, chosen.part))
        chosen.out.write_text(chooser.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
