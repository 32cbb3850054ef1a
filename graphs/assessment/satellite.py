"""Matches with satellite tiles as evidence: the machine's last one counts, once; the model's own are for comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from agents.schemas import Evidence, EvidenceKind, TileMatch
from belief.parameters import SatelliteRecord
from belief.posterior import Belief
from belief.witnesses.satellite import Covers, satellite_log_ratio, tile_pins
from graphs.assessment.statement import Floats, Statement, evidence_of, source_of
from graphs.context import GeolocateContext
from graphs.state import ToolRecord
from retrieval.crossview.tile_atlas import ComparedTiles
from tools.match_satellite import NAME, compared_tiles
from tools.results import TileMatches
from tools.untrusted_text import untrusted

MAX_MATCHES = 5
"""Tiles that an answer names."""


def from_matches(context: GeolocateContext, records: Sequence[ToolRecord]) -> Iterator[Statement]:
    """The last match of the areas that the belief points at; others see the same pixels again, and add no weight.

    What it is worth is the encoder's measured record. Without one it is shown and moves nothing.
    """
    last = last_match(records)
    for record in records:
        if record.tool == NAME and record.result is not None and not _is_of_the_machine(record):
            yield Statement(_shown_for_comparison(record))
    if last is None:
        return
    found = TileMatches.model_validate(last.result)
    evidence = evidence_of(EvidenceKind.SATELLITE, _claim(context, found), source_of(last))
    worth = context.parameters.satellite_of(context.versions.satellite_encoder)
    if worth is None or context.tile_covers is None or not found.hits:
        yield Statement(evidence)
        return
    compared = compared_tiles(found)
    yield Statement(
        evidence, pins=tile_pins(compared), log_ratio_given=partial(_log_ratio, compared, context.tile_covers, worth)
    )


def last_match(records: Sequence[ToolRecord]) -> ToolRecord | None:
    """The machine's last match of the areas that the belief pointed at; None: there was none."""
    own = [r for r in records if r.tool == NAME and r.result is not None and _is_of_the_machine(r)]
    return own[-1] if own else None


def _is_of_the_machine(record: ToolRecord) -> bool:
    return "areas" in record.arguments


def _log_ratio(compared: ComparedTiles, covers: Covers, record: SatelliteRecord, belief: Belief) -> Floats:
    return satellite_log_ratio(belief, compared, covers, record)


def _claim(context: GeolocateContext, found: TileMatches) -> str:
    if not found.hits:
        return "the satellite atlas has no tile where the photo may have been taken"
    best = found.hits[0]
    [place] = context.places([best.bounds.centre])
    near = f", {place.distance_km or 0.0:.1f} km from {untrusted(place.name)}" if place else ""
    return f"of {len(found.hits)} satellite tiles compared, {untrusted(best.title)}{near} looks most like the photo"


def _shown_for_comparison(record: ToolRecord) -> Evidence:
    found = TileMatches.model_validate(record.result)
    claim = f"{len(found.hits)} satellite tiles there, shown for comparison, without weight of their own"
    return evidence_of(EvidenceKind.SATELLITE, claim, source_of(record))


def tile_matches(records: Sequence[ToolRecord], belief: Belief) -> list[TileMatch]:
    """The tiles of the last match that hold most of a belief, the likeliest first, then the most similar."""
    last = last_match(records)
    hits = TileMatches.model_validate(last.result).hits if last else ()
    positions = belief.support.lat_lon_deg
    held = [float(belief.mass[hit.bounds.holds(positions)].sum()) for hit in hits]
    best = sorted(range(len(hits)), key=lambda i: (-held[i], -hits[i].similarity, i))[:MAX_MATCHES]
    return [TileMatch(**hits[i].model_dump(), probability=min(1.0, round(held[i], 6))) for i in best]
