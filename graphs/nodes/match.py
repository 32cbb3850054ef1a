"""match: the photo compared with satellite tiles of the areas that the belief points at."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

from agents.schemas import Origin, TileMatch
from belief.posterior import Belief
from belief.witnesses.satellite import narrowed_areas
from geo.point import Point
from geo.sphere import point_distance_km
from geo.tiles import TILE_PX, TileBounds
from graphs.assessment.assess import assess, believe, with_proposals
from graphs.assessment.evidence import statements
from graphs.assessment.satellite import tile_matches
from graphs.context import GeolocateContext
from graphs.nodes.tool_calls import call_tool
from graphs.prompt_data import place_name
from graphs.state import GeolocateState, Position, photo_ids
from retrieval.crossview.tiles import SatelliteTile
from retrieval.photos.thumbnail import rgb_jpeg
from tools.match_satellite import NAME
from tools.results import Circle

RAISED_FROM = 0.1
"""Probability from which a tile becomes a hypothesis. By hand."""
LEAST_RADIUS_KM = 0.1
MAX_PICTURES = 2
"""Tiles of an answer whose pictures are in it."""
JPEG_QUALITY = 75


def match(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """Compare the photo with the tiles of the areas that the belief, but for earlier matches, points at.

    The last match counts, so that a belief that has moved since is matched where it points now.
    """
    tools = {NAME: context.match} if context.match else {}
    arguments = match_arguments(context, state)
    update = call_tool(context, state, NAME, arguments, key=str(state["round"]), tools=tools)
    records = [*state["records"], *update["records"]]
    assessed = assess(context, state, records=records)
    found = _likely_tiles(context, tile_matches(records, assessed.belief))
    if found:
        assessed = assess(context, state, with_proposals(state["hypotheses"], found), records)
    return {**update, **assessed.update(), "notes": [*update["notes"], *_unknown_worth(context)]}


def _likely_tiles(context: GeolocateContext, matches: Sequence[TileMatch]) -> list[Position]:
    """The tiles that hold much of the belief, as places to raise: they may lie in the circle of a wider hypothesis."""
    likely = [tile for tile in matches if tile.probability >= RAISED_FROM]
    centres = [tile.bounds.centre for tile in likely]
    return [
        Position(
            name=place_name(place, centre),
            point=centre,
            radius_km=max(LEAST_RADIUS_KM, half_diagonal_km(tile.bounds)),
            origin=Origin.BELIEF,
        )
        for tile, centre, place in zip(likely, centres, context.places(centres), strict=True)
    ]


def half_diagonal_km(bounds: TileBounds) -> float:
    """From the middle of a tile to a corner, rounded to 10 m."""
    corner = Point(lat=bounds.south, lon=bounds.west)
    return round(point_distance_km(bounds.centre, corner), 2)


def match_arguments(context: GeolocateContext, state: GeolocateState) -> dict[str, Any]:
    """The photos of the place, and the areas that hold most of the belief but for earlier matches."""
    areas = [
        [Circle(centre=near.centre, radius_km=near.radius_km).model_dump(mode="json") for near in area.circles]
        for area in narrowed_areas(belief_without_match(context, state))
    ]
    return {"photo_ids": photo_ids(state), "areas": areas}


def belief_without_match(context: GeolocateContext, state: GeolocateState) -> Belief:
    """The belief from all that a run knows but its matches with satellite tiles."""
    said = statements(context, state, state["hypotheses"], state["records"], state["opinions"])
    return believe(context, [statement for statement in said if statement.log_ratio_given is None])


def _unknown_worth(context: GeolocateContext) -> list[str]:
    """What to do where nothing is known of what matches are worth."""
    versions = context.versions
    if context.parameters.satellite_of(versions.satellite_encoder) is not None:
        return []
    return [
        f"the match with satellite tiles moves nothing: what it is worth with {versions.satellite_encoder} was not"
        " measured; `python -m evals.fit_satellite` does, on photos whose place is known"
    ]


def pictured_matches(context: GeolocateContext, matches: Iterable[TileMatch]) -> tuple[TileMatch, ...]:
    """The matches, the first ones with the pictures of their tiles where these are at hand."""
    return tuple(
        found.model_copy(update={"jpeg_base64": _jpeg(context, found)}) if number < MAX_PICTURES else found
        for number, found in enumerate(matches)
    )


def _jpeg(context: GeolocateContext, found: TileMatch) -> str:
    tile = SatelliteTile(found.tile_id, found.bounds)
    rgb = context.tile_picture(tile) if context.tile_picture else None
    return "" if rgb is None else base64.b64encode(rgb_jpeg(rgb, TILE_PX, JPEG_QUALITY)).decode("ascii")
