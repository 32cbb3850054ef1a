"""Ledgers without an LMM: hypotheses straight from candidates or regions, for the plain strategies."""

from __future__ import annotations

from agents.schemas import Evidence, EvidenceKind, Hypothesis, Origin, Source
from geo.point import Point
from graphs.context import GeolocateContext
from graphs.inference.posterior import Floats, candidate_weights
from graphs.prompt_data import MIN_REGION_RADIUS_KM, place_name
from graphs.state import GeolocateState

SHOWN = 8

Ledger = tuple[list[Hypothesis], list[Evidence]]


def top_candidate_ledger(context: GeolocateContext, state: GeolocateState) -> Ledger:
    """Each of the heaviest candidates is a hypothesis; the first is the most similar."""
    weight = candidate_weights(state["candidates"], context.parameters)
    order = sorted(range(len(weight)), key=lambda i: (-weight[i], i))[:SHOWN]
    areas = [(state["candidates"][i].point, MIN_REGION_RADIUS_KM, float(weight[i])) for i in order]
    return _ledger(context, state, areas, Origin.CANDIDATE)


def region_ledger(context: GeolocateContext, state: GeolocateState) -> Ledger:
    """Each region is a hypothesis, in the reranker's order."""
    weight = candidate_weights(state["candidates"], context.parameters)
    areas = [(r.centre, max(MIN_REGION_RADIUS_KM, r.radius_km), _mass(weight, r.members)) for r in state["regions"]]
    return _ledger(context, state, areas[:SHOWN], Origin.REGION)


def _mass(weight: Floats, members: tuple[int, ...]) -> float:
    return float(weight[list(members)].sum())


def _ledger(
    context: GeolocateContext, state: GeolocateState, areas: list[tuple[Point, float, float]], origin: Origin
) -> Ledger:
    """Hypotheses whose probability is their share of the retrieved weight, less what the prior holds."""
    places = context.places([point for point, _, _ in areas])
    believed = 1.0 - context.parameters.prior_share
    hypotheses = [
        Hypothesis(
            id=f"H{number}",
            name=place_name(place, point),
            point=point,
            radius_km=radius_km,
            probability=round(believed * mass, 9),
            evidence_ids=("E1",),
            origin=origin,
        )
        for number, ((point, radius_km, mass), place) in enumerate(zip(areas, places, strict=True), start=1)
    ]
    return hypotheses, [_evidence(state)] if hypotheses else []


def _evidence(state: GeolocateState) -> Evidence:
    record = next(r for r in state["records"] if r.tool == "search_photos")
    source = Source(tool=record.tool, arguments=record.arguments, result_sha256=record.result_sha256 or "")
    claim = f"{len(state['candidates'])} retrieved places; probability is the share of their weight"
    return Evidence(id="E1", kind=EvidenceKind.RETRIEVAL, claim=claim, source=source)
