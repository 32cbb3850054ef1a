"""From what is known to a weighed ledger: the one place where evidence and hypotheses meet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agents.proposals import ProposedHypothesis
from agents.schemas import Evidence, Hypothesis, HypothesisStatus
from geo.point import Point
from graphs import ledger
from graphs.state import GeolocateState, Opinion, ToolRecord
from graphs.weighing import Scene, scene, weigh
from graphs.workbench import Workbench

PROPOSAL_NATS = 0.25
"""What the model's giving a reason for a proposal is worth."""


class Reckoning(NamedTuple):
    """A ledger with probabilities, and the evidence they come from."""

    hypotheses: list[Hypothesis]
    evidence: list[Evidence]


def reckon(
    bench: Workbench,
    state: GeolocateState,
    hypotheses: Sequence[Hypothesis],
    records: Sequence[ToolRecord],
    opinions: Sequence[Opinion],
) -> Reckoning:
    """Weigh all records and opinions for the hypotheses as they now stand."""
    evidence = weigh(open_scene(bench, state, hypotheses), records, opinions)
    return Reckoning(ledger.weighed(hypotheses, evidence), evidence)


def open_scene(bench: Workbench, state: GeolocateState, hypotheses: Sequence[Hypothesis]) -> Scene:
    """The open hypotheses among the candidates."""
    still_open = [h for h in hypotheses if h.status is HypothesisStatus.OPEN]
    countries = bench.countries([h.point for h in still_open])
    return scene(still_open, countries, state["candidates"], state["candidate_countries"], bench.parameters)


def with_proposals(
    hypotheses: Sequence[Hypothesis], proposals: Iterable[ProposedHypothesis]
) -> tuple[list[Hypothesis], list[Opinion]]:
    """The ledger with proposals added under new ids, and the reasons given as opinions."""
    grown, opinions = list(hypotheses), []
    for proposal in proposals:
        new = _hypothesis(f"H{len(grown) + 1}", proposal)
        before = len(grown)
        grown = ledger.add(grown, new)
        if proposal.why and len(grown) > before:
            opinions.append(_reason(new.id, proposal.why))
    return grown, opinions


def _reason(hypothesis_id: str, why: str) -> Opinion:
    return Opinion(hypothesis_id=hypothesis_id, claim=why, strength_nats=PROPOSAL_NATS, tool_call_id=None)


def _hypothesis(key: str, proposal: ProposedHypothesis) -> Hypothesis:
    point = Point(lat=proposal.lat, lon=proposal.lon)
    return Hypothesis(id=key, name=proposal.name, point=point, radius_km=proposal.radius_km, probability=0.0)
