"""From what is known to a weighed ledger: the one place where evidence and hypotheses meet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agents.schemas import Evidence, Hypothesis, HypothesisStatus, Origin
from graphs.context import GeolocateContext
from graphs.inference import ledger
from graphs.inference.sight import SightReading, sight_reading
from graphs.inference.weighing import Scene, scene, weigh
from graphs.prompt_data import region_areas
from graphs.state import GeolocateState, Opinion, Position, ToolRecord

PROPOSAL_NATS = 0.25
"""What the model's giving a reason for a proposal is worth."""


class Reckoning(NamedTuple):
    """A ledger with probabilities, and the evidence they come from."""

    hypotheses: list[Hypothesis]
    evidence: list[Evidence]


def reckon(
    context: GeolocateContext,
    state: GeolocateState,
    hypotheses: Sequence[Hypothesis],
    records: Sequence[ToolRecord],
    opinions: Sequence[Opinion],
) -> Reckoning:
    """Weigh the model's first reading, all records and all opinions for the hypotheses as they now stand."""
    evidence = weigh(open_scene(context, state, hypotheses), records, opinions)
    return Reckoning(ledger.weighed(hypotheses, evidence), evidence)


def open_scene(context: GeolocateContext, state: GeolocateState, hypotheses: Sequence[Hypothesis]) -> Scene:
    """The open hypotheses among the candidates."""
    still_open = [h for h in hypotheses if h.status is HypothesisStatus.OPEN]
    countries = context.countries([h.point for h in still_open])
    at = scene(
        still_open,
        countries,
        state["candidates"],
        state["candidate_countries"],
        context.parameters,
        first_reading(context, state),
        state["positions"],
    )
    return at._replace(judgement_nats=context.parameters.sight.of(context.model.name).judgement_nats)


def first_reading(context: GeolocateContext, state: GeolocateState) -> SightReading | None:
    """What the model read off the picture before it was told anything; None if it saw no picture or was told."""
    # A recorded answer was given by a model that saw the photo, though the recording is shown nothing now.
    saw = context.model.capabilities.images or context.model.kind.is_recorded
    if not saw or not context.strategy.reads_blind:
        return None
    return sight_reading(state["positions"], context.model.name, context.parameters.sight)


def with_regions(
    context: GeolocateContext, state: GeolocateState, hypotheses: Sequence[Hypothesis]
) -> list[Hypothesis]:
    """The ledger with the heaviest regions added, but for those that the model proposed: its position stands."""
    grown = list(hypotheses)
    for area in region_areas(context, state):
        new = Hypothesis(
            id=f"H{len(grown) + 1}",
            name=area.name,
            point=area.point,
            radius_km=area.radius_km,
            probability=0.0,
            origin=Origin.REGION,
        )
        if not any(ledger.same_place(new, own) for own in hypotheses):
            grown = ledger.add(grown, new)
    return grown


def with_proposals(
    hypotheses: Sequence[Hypothesis], proposals: Iterable[Position]
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


def _hypothesis(key: str, proposal: Position) -> Hypothesis:
    return Hypothesis(
        id=key,
        name=proposal.name,
        point=proposal.point,
        radius_km=proposal.radius_km,
        probability=0.0,
        origin=proposal.origin,
    )
