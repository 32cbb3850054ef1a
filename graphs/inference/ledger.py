"""The hypothesis ledger: plain arithmetic on log-odds, testable without a model.

Every open hypothesis h has a log-odds (nats) against "somewhere else", which
stands for every place that no hypothesis covers and is fixed at 0:

    log_odds(h) = PRIOR_NATS + sum over kinds of clip(sum of evidence of that kind)
    P(h)        = exp(log_odds(h)) / (1 + sum of exp(log_odds))

Sums do not depend on the order of evidence; clipping each kind keeps twenty
readings of one sign from counting twenty times. Evidence without a source is
opinion and shares one small cap whatever it is called.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from agents.schemas import Evidence, EvidenceKind, Hypothesis, HypothesisStatus
from geo.sphere import point_distance_km

PRIOR_NATS = math.log(0.01)
"""A hypothesis that nothing speaks for yet: 1 to 100 against elsewhere."""

CAP_NATS: Mapping[EvidenceKind, float] = {
    EvidenceKind.RETRIEVAL: 12.0,
    EvidenceKind.PLACE_NAME: 8.0,
    EvidenceKind.SIGN: 5.0,
    EvidenceKind.LANGUAGE: 3.0,
    EvidenceKind.GEOCODE: 8.0,
    EvidenceKind.LOOKALIKE: 1.0,
    EvidenceKind.SATELLITE: 2.0,
    EvidenceKind.SUN: 3.0,
    EvidenceKind.SIGHT: 6.0,
    EvidenceKind.JUDGEMENT: 2.0,
    EvidenceKind.PERSON: 6.0,
    EvidenceKind.METADATA: 0.0,
    EvidenceKind.OPINION: 0.5,
}
"""The most that all evidence of one kind together may move a hypothesis, in either direction."""

_ROUNDING = 9


def effective_kind(evidence: Evidence) -> EvidenceKind:
    """The kind whose cap applies: whatever has no source is opinion."""
    return evidence.kind if evidence.source is not None else EvidenceKind.OPINION


def log_odds(hypothesis_id: str, evidence: Iterable[Evidence]) -> float:
    """Log-odds of a hypothesis against elsewhere, in nats."""
    by_kind: dict[EvidenceKind, list[float]] = defaultdict(list)
    for item in evidence:
        if hypothesis_id in item.log_likelihood_ratio:
            by_kind[effective_kind(item)].append(item.log_likelihood_ratio[hypothesis_id])
    # math.fsum is exact, so that not even rounding depends on the order of the evidence.
    return PRIOR_NATS + math.fsum(_clip(math.fsum(nats), CAP_NATS[kind]) for kind, nats in by_kind.items())


def _clip(nats: float, cap_nats: float) -> float:
    return max(-cap_nats, min(cap_nats, nats))


def probabilities(hypotheses: Sequence[Hypothesis], evidence: Sequence[Evidence]) -> dict[str, float]:
    """Probability of each open hypothesis, by id; what they leave of 1 is elsewhere's.

    Two hypotheses, and a sign that makes the first e^5 times likelier (its cap, though 7 nats were claimed):

    >>> from agents.schemas import Source
    >>> from geo.point import Point
    >>> at = Point(lat=38.7, lon=-9.1)
    >>> both = [Hypothesis(id=i, name=i, point=at, radius_km=10.0, probability=0.0) for i in ("H1", "H2")]
    >>> source = Source(tool="read_signs", arguments={}, result_sha256="0" * 64)
    >>> sign = Evidence(id="E1", kind=EvidenceKind.SIGN, claim="", source=source, log_likelihood_ratio={"H1": 7.0})
    >>> {key: round(chance, 3) for key, chance in probabilities(both, [sign]).items()}
    {'H1': 0.595, 'H2': 0.004}
    >>> odds = 0.01 * math.exp(5.0)
    >>> round(odds / (1 + odds + 0.01), 3)
    0.595
    """
    odds = {h.id: log_odds(h.id, evidence) for h in hypotheses if h.status is HypothesisStatus.OPEN}
    top = max([0.0, *odds.values()])
    total = math.fsum([math.exp(-top), *(math.exp(nats - top) for nats in odds.values())])
    return {key: math.exp(nats - top) / total for key, nats in odds.items()}


def elsewhere(hypotheses: Iterable[Hypothesis]) -> float:
    """Probability that the photo was taken at none of the open hypotheses."""
    return max(0.0, 1.0 - math.fsum(h.probability for h in open_hypotheses(hypotheses)))


def open_hypotheses(hypotheses: Iterable[Hypothesis]) -> list[Hypothesis]:
    """Those still open, most probable first, ties by id."""
    still_open = (h for h in hypotheses if h.status is HypothesisStatus.OPEN)
    return sorted(still_open, key=lambda h: (-h.probability, h.id))


def weighed(hypotheses: Sequence[Hypothesis], evidence: Sequence[Evidence]) -> list[Hypothesis]:
    """The hypotheses with probabilities from all evidence; rejected and merged ones have none."""
    chance = probabilities(hypotheses, evidence)
    return [
        h.model_copy(
            update={
                "probability": round(chance.get(h.id, 0.0), _ROUNDING),
                "evidence_ids": tuple(e.id for e in evidence if e.log_likelihood_ratio.get(h.id)),
            }
        )
        for h in hypotheses
    ]


def add(hypotheses: Sequence[Hypothesis], new: Hypothesis) -> list[Hypothesis]:
    """Add a hypothesis, unless an open one is the same place; then the finer of the two stays open.

    Two hypotheses are one place when their points lie within the smaller of their radii.
    A coarse hypothesis around a fine one is not the same: it is the rest of that area.
    """
    twin = next((h for h in open_hypotheses(hypotheses) if same_place(h, new)), None)
    if twin is None:
        return [*hypotheses, new]
    if new.radius_km >= twin.radius_km:
        return list(hypotheses)
    return merge([*hypotheses, new], keep=new.id, absorb=twin.id)


def same_place(a: Hypothesis, b: Hypothesis) -> bool:
    """Whether two hypotheses lie within the smaller of their radii, 1 km at least."""
    return point_distance_km(a.point, b.point) <= max(1.0, min(a.radius_km, b.radius_km))


def merge(hypotheses: Sequence[Hypothesis], keep: str, absorb: str) -> list[Hypothesis]:
    """Close one hypothesis in favour of another that is the same place.

    Raises:
        KeyError: one of the ids is not an open hypothesis.
    """
    _require_open(hypotheses, keep)
    return _with_status(hypotheses, absorb, HypothesisStatus.MERGED)


def reject(hypotheses: Sequence[Hypothesis], hypothesis_id: str) -> list[Hypothesis]:
    """Close a hypothesis that cannot be right.

    Raises:
        KeyError: not an open hypothesis.
    """
    return _with_status(hypotheses, hypothesis_id, HypothesisStatus.REJECTED)


def _with_status(hypotheses: Sequence[Hypothesis], key: str, status: HypothesisStatus) -> list[Hypothesis]:
    _require_open(hypotheses, key)
    closed = {"status": status, "probability": 0.0}
    return [h.model_copy(update=closed) if h.id == key else h for h in hypotheses]


def _require_open(hypotheses: Sequence[Hypothesis], key: str) -> None:
    if not any(h.id == key and h.status is HypothesisStatus.OPEN for h in hypotheses):
        raise KeyError(key)
