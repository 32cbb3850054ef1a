"""Fit the belief's numbers to photos whose place is known, by the mean log-probability density at the truth.

Mixture shares (of the prior's layers, of a model's kernels, of retrieval's) are those of maximum likelihood, found by
expectation-maximisation; how models err together is the best of a grid.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from belief.kernels import SCALES_KM
from belief.parameters import Parameters, RetrievalRecord
from belief.posterior import Belief
from belief.prior import ANYWHERE, Prior, packaged_positions
from belief.records import ANY, Agreement, Record, Records, Shares
from belief.support import Support, make_support
from belief.witnesses.reports import Report, report_ratio, shares_by_worth, similarity_weights, weighed_report
from belief.witnesses.retrieval import PINNED
from evals.fitting.at_truth import JuryAtTruth, ReportAtTruth, kernels_at, report_at_truth
from evals.fitting.belief_samples import BeliefSample
from evals.fitting.mixtures import LEAST_SHARE, blended, fit_mixture, floored, rounded
from geo.sphere import Floats

POOLED_PHOTOS = 10.0
"""Photos' worth of the pooled record mixed into a model's own: chosen among 0.5 to 50 by cross-validation."""

CAUTIONS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6)
"""Shares of "as a photo from anywhere" that the record of models that nothing is known about may hold."""
UNFITTED_CAUTION = 0.5
"""Of records of one maker's models alone, from which nothing can be learnt about others; set by hand."""
MAKERS = (("gpt-", "o3", "o4-"), ("gemini",), ("claude",), ("qwen",), ("llama",), ("phi-",))
"""Parts of names of each maker's models."""

FAMILIES = ("gemini", "gpt-", "claude", "qwen", "llama", "phi-")
"""Parts of names of models of one maker, of which a new one is likely to be as good as those before."""

FAMILY_POOLED = 0.5
"""Share of the pooled record in a family's; set by hand."""

FIT_SAMPLE_SIZE = 1024
FOLDS = 5
CORRELATIONS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
TEMPERATURES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
LEAST_REPORTS = 20
_ANYWHERE_SHARES = (0.0,) * len(SCALES_KM) + (1.0,)


def fold_of(photographer: str) -> int:
    """The part of the cross-validation that a photographer's photos are in."""
    return zlib.crc32(photographer.encode()) % FOLDS


def fit_prior_shares(layer_densities: Floats, layers: Sequence[str]) -> dict[str, float]:
    """Shares of the layers of the prior from their densities (n, layers) at n truths."""
    shares = dict(zip(layers, fit_mixture(layer_densities).tolist(), strict=True))
    shares[ANYWHERE] = max(shares[ANYWHERE], LEAST_SHARE)
    total = sum(shares.values())
    return {name: round(share / total, 6) for name, share in shares.items()}


def maker_of(name: str) -> str:
    """The maker of a model, by its name; a name that is not known stands for a maker of its own."""
    return next((maker[0] for maker in MAKERS if any(part in name for part in maker)), name)


def _nowhere(_: str) -> str:
    return ""


class Fitter:
    """Fits parameters on samples whose supports it keeps, so that cross-validation makes each only once."""

    def __init__(self, samples: Sequence[BeliefSample], start: Parameters, prior: Prior | None = None) -> None:
        self.samples = samples
        self.start = start
        self.prior = prior or Prior(*packaged_positions(), start.prior_shares)
        self._supports: dict[int, Support] = {}
        self._reported: dict[tuple[int, str], ReportAtTruth] = {}
        self._retrieved: dict[tuple[int, str], Floats] = {}

    def support(self, row: int) -> Support:
        """The support of a photo, around every place that was reported."""
        if row not in self._supports:
            pins = [place[:2] for places in self.samples[row].reports.values() for place in places]
            self._supports[row] = make_support(pins, self.prior, FIT_SAMPLE_SIZE)
        return self._supports[row]

    def reported(self, row: int, model: str) -> ReportAtTruth:
        """A model's report of a photo, as kernels at the truth."""
        if (row, model) not in self._reported:
            sample = self.samples[row]
            self._reported[row, model] = report_at_truth(self.support(row), sample.reports[model], sample.truth_deg)
        return self._reported[row, model]

    def asked(self, model: str, rows: Iterable[int]) -> list[int]:
        """Those of some photos that a model was asked about."""
        return [row for row in rows if model in self.samples[row].reports]

    def answered(self, model: str, rows: Iterable[int]) -> list[int]:
        """Those of some photos that a model gave a place for."""
        return [row for row in rows if self.samples[row].reports.get(model)]

    def fit_records(self, rows: Sequence[int], source_of: Callable[[str], str] = _nowhere) -> Records:
        """Records of every model with reports, of their families, and the pooled one.

        Args:
            rows: photos to fit on.
            source_of: from a model's name to where its reports come from.
        """
        names = sorted({name for row in rows for name in self.samples[row].reports})
        # Records of one strategy are of models that have others, too.
        plain = [name for name in names if "@" not in name] or names
        pooled = self._pooled(plain, rows, self.start.records.models[ANY])
        models = {
            name: self.fit_record(name, rows, pooled, source_of(name)) for name in names if self._known(name, rows)
        }
        families = {family: [name for name in models if family in name and "@" not in name] for family in FAMILIES}
        for family, members in families.items():
            if members and family not in models:
                models[family] = self._family(members, rows, pooled)
        count = len([name for name in plain if self.answered(name, rows)])
        return Records(models={ANY: _cautious(pooled, count, self.fit_caution(plain, rows)), **models})

    def fit_caution(self, names: Sequence[str], rows: Sequence[int]) -> float:
        """The share of "anywhere" with which the other makers' pooled record says most of a maker's models."""
        told = self.caution_nats(names, rows)
        return max(told, key=lambda caution: told[caution]) if told else UNFITTED_CAUTION

    def caution_nats(self, names: Sequence[str], rows: Sequence[int]) -> dict[float, float]:
        """Nats a report at the truth, by the share of "anywhere" in the record of the other makers' models.

        The mean over makers of the mean over their reports: a new model comes from a maker as any other. Empty where
        there are models of one maker only.
        """
        known = [name for name in names if self._known(name, rows)]
        makers = sorted({maker_of(name) for name in known})
        if len(makers) < 2:
            return {}
        told = np.mean([self._told_by_others(maker, known, rows) for maker in makers], axis=0)
        return dict(zip(CAUTIONS, told.tolist(), strict=True))

    def _told_by_others(self, maker: str, names: Sequence[str], rows: Sequence[int]) -> list[float]:
        """Mean nats of a maker's reports by the others' pooled record, with each caution."""
        pooled = self._pooled([n for n in names if maker_of(n) != maker], rows, self.start.records.models[ANY])
        own = [name for name in names if maker_of(name) == maker]
        reports = [self.reported(row, name) for name in own for row in self.answered(name, rows)]
        records = [_cautious(pooled, len(names), caution) for caution in CAUTIONS]
        return [
            float(np.mean([np.log(report.ratio(record.shares, record.stated or ())) for report in reports]))
            for record in records
        ]

    def _known(self, name: str, rows: Sequence[int]) -> bool:
        return len(self.answered(name, rows)) >= LEAST_REPORTS

    def _pooled(self, names: Sequence[str], rows: Sequence[int], otherwise: Record) -> Record:
        reports = [self.reported(row, name) for name in names for row in self.answered(name, rows)]
        if len(reports) < LEAST_REPORTS:
            return otherwise
        shares = _fit_absolute(reports)
        fitted = Record(
            shares=rounded(shares),
            stated=_fit_stated(reports, shares) or otherwise.stated,
            photos=sum(len(self.asked(name, rows)) for name in names),
            answered=len(reports),
        )
        return _with_worth(fitted, reports, fitted)

    def _family(self, members: Sequence[str], rows: Sequence[int], pooled: Record) -> Record:
        own = self._pooled(members, rows, pooled)
        source = f"pooled over {len(members)} model(s) of the family, {FAMILY_POOLED:.0%} over all models"
        shares = blended(own.shares, pooled.shares, FAMILY_POOLED)
        return Record(shares=shares, photos=own.photos, answered=own.answered, worth_nats=own.worth_nats, source=source)

    def fit_record(self, name: str, rows: Sequence[int], pooled: Record, source: str = "") -> Record:
        """The record of one model, drawn to the pooled one by `POOLED_PHOTOS`."""
        answered = self.answered(name, rows)
        reports = [self.reported(row, name) for row in answered]
        shares = _fit_absolute(reports, pooled.shares)
        fitted = Record(
            shares=rounded(shares),
            stated=_fit_stated(reports, shares, pooled.stated),
            photos=len(self.asked(name, rows)),
            answered=len(answered),
            source=source,
        )
        return _with_worth(fitted, reports, pooled)

    def fit_agreement(self, records: Records, rows: Sequence[int], juries: Sequence[Sequence[str]]) -> Agreement:
        """How models err together, over photos that at least two of a jury gave a place for.

        The shares are those of maximum likelihood for each correlation of a grid, of which the likeliest is taken.
        """
        cases = [self.jury_at_truth(records, row, jury) for jury in juries for row in rows if self._heard(row, jury, 2)]
        if not cases:
            return self.start.agreement
        fits = []
        for index in range(len(CORRELATIONS)):
            densities = np.array([case.densities(index) for case in cases])
            shares = floored(fit_mixture(densities))
            fits.append((float(np.log(densities @ shares).sum()), -index, shares))
        _, index, shares = max(fits, key=lambda fit: fit[:2])
        independent, alike, one, none = np.round(shares, 4).tolist()
        correlation = CORRELATIONS[-index]
        return Agreement(independent=independent, alike=alike, one=one, none=none, correlation=correlation)

    def _heard(self, row: int, jury: Sequence[str], least: int = 1) -> list[str]:
        heard = [name for name in jury if self.samples[row].reports.get(name)]
        return heard if len(heard) >= least else []

    def jury_at_truth(self, records: Records, row: int, jury: Sequence[str]) -> JuryAtTruth:
        """What the reports of a jury that has at least two say at the truth of a photo."""
        heard, support = self._heard(row, jury, 2), self.support(row)
        at_truth = np.array([self.ratio_at_truth(records, row, name) for name in heard])
        reports = [Report(self.samples[row].reports[name], records.of(*_name_and_strategy(name))) for name in heard]
        nats = np.log([report_ratio(support, report, records) for report in reports])
        share = shares_by_worth([report.record.worth_nats for report in reports])

        def joint(correlation: float) -> float:
            counts = share / (share + correlation * (1.0 - share))
            scaled = counts @ nats
            average = np.log(support.prior_mass @ np.exp(scaled - scaled.max())) + scaled.max()
            return float(np.exp(counts @ np.log(at_truth) - average))

        return JuryAtTruth(joint(0.0), tuple(joint(each) for each in CORRELATIONS), float(share @ at_truth))

    def ratio_at_truth(self, records: Records, row: int, name: str) -> float:
        """Likelihood ratio of a model's report at the truth."""
        record = records.of(*_name_and_strategy(name))
        return self.reported(row, name).ratio(record.shares, records.stated_of(record))

    def gain_nats(self, parameters: Parameters, row: int, models: Sequence[str]) -> float:
        """What reports of some models add to the log-probability density at the truth; 0 where none gave a place."""
        heard = self._heard(row, models)
        if not heard:
            return 0.0
        if len(heard) == 1:
            return float(np.log(self.ratio_at_truth(parameters.records, row, heard[0])))
        agreement = parameters.agreement
        nearest = int(np.argmin(np.abs(np.array(CORRELATIONS) - agreement.correlation)))
        shares = np.array([agreement.independent, agreement.alike, agreement.one, agreement.none])
        return float(np.log(self.jury_at_truth(parameters.records, row, heard).densities(nearest) @ shares))

    def belief(self, parameters: Parameters, row: int, models: Sequence[str], support: Support | None = None) -> Belief:
        """The belief about a photo from what some models reported, all of which gave a place.

        Args:
            parameters: numbers of the belief.
            row: of the photo.
            models: names of their records.
            support: of the belief; None: the fit's, smaller than that of an answer.
        """
        support, records = support or self.support(row), parameters.records
        said = {name: Report(self.samples[row].reports[name], records.of(*_name_and_strategy(name))) for name in models}
        reports = {name: weighed_report(support, report, records) for name, report in said.items()}
        return Belief(support, reports, {}, parameters)

    def fit_retrieval(self, keys: Sequence[str], rows: Sequence[int], source: str = "") -> RetrievalRecord | None:
        """The record of retrieval from atlases of some kinds and encoders; None where too little was retrieved."""
        found = [(row, key) for row in rows for key in keys if key in self.samples[row].retrieved]
        if len(found) < LEAST_REPORTS:
            return None
        fits = []
        for temperature in TEMPERATURES:
            densities = np.array([self.retrieved_at_truth(row, key, temperature) for row, key in found])
            shares = floored(fit_mixture(densities))
            fits.append((float(np.log(densities @ shares).mean()), temperature, shares))
        _, temperature, shares = max(fits, key=lambda fit: fit[:2])
        record = Record(shares=rounded(shares), photos=len(found), answered=len(found), source=source)
        return RetrievalRecord(temperature=temperature, record=record)

    def retrieved_at_truth(self, row: int, key: str, temperature: float) -> Floats:
        """Ratios (kernels + 1,) at the truth of kernels around what was retrieved, the last of "anywhere"."""
        positions, similarity = self.samples[row].retrieved[key]
        if (row, key) not in self._retrieved:
            support = make_support(positions[:PINNED], self.prior, FIT_SAMPLE_SIZE)
            self._retrieved[row, key] = kernels_at(support, positions, SCALES_KM, self.samples[row].truth_deg)
        return np.append(similarity_weights(similarity, temperature) @ self._retrieved[row, key], 1.0)


def _name_and_strategy(name: str) -> tuple[str, str]:
    model, _, strategy = name.partition("@")
    return model, strategy


def _fit_absolute(reports: Sequence[ReportAtTruth], towards: Shares | None = None) -> Floats:
    densities = np.array([report.absolute for report in reports])
    left = np.array([report.left for report in reports])
    return floored(fit_mixture(densities, left, _as_array(towards), POOLED_PHOTOS))


def _fit_stated(reports: Sequence[ReportAtTruth], absolute: Floats, towards: Shares | None = None) -> Shares | None:
    """Shares in units of stated radii; None where too few reports state any."""
    pairs = [
        (report.stated, report.left + report.unstated @ absolute) for report in reports if report.stated is not None
    ]
    if len(pairs) < LEAST_REPORTS:
        return None
    densities, rest = (np.array(column) for column in zip(*pairs, strict=True))
    return rounded(floored(fit_mixture(densities, rest, _as_array(towards), POOLED_PHOTOS)))


def _with_worth(record: Record, reports: Sequence[ReportAtTruth], pooled: Record) -> Record:
    """A record with what its reports are worth: the mean log ratio at the truths that it is fitted on."""
    stated = record.stated or pooled.stated or ()
    worth = float(np.mean([np.log(report.ratio(record.shares, stated)) for report in reports]))
    return record.model_copy(update={"worth_nats": round(worth, 4)})


def _as_array(shares: Shares | None) -> Floats | None:
    return None if shares is None else np.array(shares)


def _cautious(pooled: Record, models: int, caution: float) -> Record:
    """The record of models that nothing is known about: what is usual, mixed with "anywhere"."""
    if not pooled.photos:
        return pooled
    stated = pooled.stated or ()
    return Record(
        shares=blended(pooled.shares, _ANYWHERE_SHARES, caution),
        stated=blended(stated, (0.0,) * (len(stated) - 1) + (1.0,), caution),
        worth_nats=round((1.0 - caution) * pooled.worth_nats, 4),
        source=f"pooled over {models} models, mixed with {caution:.0%} anywhere",
    )
