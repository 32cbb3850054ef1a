"""Coarsening: an answer no finer than a level, with everything that would give more away removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agents.schemas import Answer, Evidence, Hypothesis, Level, Source
from graphs.administrative_units import Units

UNIT_RADIUS_KM: Mapping[Level, float] = {
    Level.CITY: 25.0,
    Level.REGION: 200.0,
    Level.COUNTRY: 750.0,
    Level.CONTINENT: 2500.0,
}
"""About half the width of a unit: no radius below it is reported."""

REMOVED = "removed"
_ORDER = tuple(Level)


def coarsen(answer: Answer, level: Level, units: Units) -> Answer:
    """The answer at `level` or coarser; street level changes nothing.

    The point becomes the centre of the unit it lies in and the place names
    nothing finer; radii grow to the unit's size; hypotheses of one unit become
    one; candidates, sign texts, tool arguments, hashes of tool results (a short
    text can be guessed from its hash) and the metadata position go.
    """
    if level is Level.STREET:
        return answer
    unit = units.unit(answer.point, level) if answer.point else None
    hypotheses = _coarse_hypotheses(answer.hypotheses, level, units)
    return answer.model_copy(
        update={
            "point": unit.centre if unit else None,
            "place": unit.place if unit else None,
            "radius_50_km": _grown(answer.radius_50_km, UNIT_RADIUS_KM[level]),
            "radius_90_km": _grown(answer.radius_90_km, 2.0 * UNIT_RADIUS_KM[level]),
            "level": max((level, answer.level), key=_ORDER.index) if answer.level else None,
            "reasoning": _reasoning(answer, hypotheses, level),
            "hypotheses": hypotheses,
            "evidence": tuple(map(_coarse_evidence, answer.evidence)),
            "candidates": (),
            "metadata_position": None,
        }
    )


def _grown(radius_km: float | None, least_km: float) -> float | None:
    return max(radius_km, least_km) if radius_km is not None else None


def _coarse_hypotheses(hypotheses: Sequence[Hypothesis], level: Level, units: Units) -> tuple[Hypothesis, ...]:
    """One hypothesis a unit and status, in the order of the first of each; probabilities add up."""
    merged: dict[tuple[str, str], Hypothesis] = {}
    for hypothesis in hypotheses:
        unit = units.unit(hypothesis.point, level)
        key = (unit.name, hypothesis.status.value)
        known = merged.get(key)
        probability = hypothesis.probability + (known.probability if known else 0.0)
        merged[key] = Hypothesis(
            id=known.id if known else hypothesis.id,
            name=unit.name,
            point=unit.centre,
            radius_km=max(hypothesis.radius_km, UNIT_RADIUS_KM[level], known.radius_km if known else 0.0),
            probability=min(1.0, probability),
            evidence_ids=known.evidence_ids if known else hypothesis.evidence_ids,
            status=hypothesis.status,
        )
    return tuple(merged.values())


def _coarse_evidence(item: Evidence) -> Evidence:
    source = Source(tool=item.source.tool, arguments={}, result_sha256=REMOVED) if item.source else None
    claim = f"{item.kind.value.replace('_', ' ')} (details finer than the allowed precision removed)"
    return item.model_copy(update={"claim": claim, "source": source})


def _reasoning(answer: Answer, hypotheses: Sequence[Hypothesis], level: Level) -> str:
    coarse = f"Coarsened to {level.value}; finer details were removed."
    if answer.point is None or not hypotheses:
        return f"No answer. {coarse}"
    return f"{hypotheses[0].name} has a probability of {hypotheses[0].probability:.0%}. {coarse}"
