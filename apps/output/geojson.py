"""Answers as GeoJSON (RFC 7946): longitude first, WGS84, areas split at the antimeridian.

The areas of the belief come widest first, so that the narrower ones lie over them; their rings are the answer's own.

Every feature has a `kind` and the photo's name and hash; lengths carry `_km` in their name. Colours
follow the simplestyle convention that geojson.io, GitHub and QGIS plug-ins read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import shapely

from agents.schemas import Answer, CredibleArea, Hypothesis, TileMatch
from apps.maps.geometry import Colour, coloured_areas, disc, tile_area
from apps.output.formatting import LocatedPhoto, credible_circles, heading
from geo.point import Point
from retrieval.candidate import Candidate

Feature = dict[str, Any]
_DECIMALS = 6


def geojson_pieces(located: Iterable[LocatedPhoto]) -> Iterator[str]:
    """All answers as one FeatureCollection, in pieces of ASCII JSON.

    A photo without an answer has a feature without a geometry.
    """
    between = '{\n "type": "FeatureCollection",\n "features": ['
    for item in located:
        for feature in _features(item):
            yield between + _indented(feature)
            between = ","
    yield "\n ]\n}\n" if between == "," else f"{between}]\n}}\n"


def _indented(feature: Feature) -> str:
    return ("\n" + json.dumps(feature, indent=1)).replace("\n", "\n  ")


def _features(item: LocatedPhoto) -> Iterator[Feature]:
    more = item.answer.more_photo_sha256s
    photo: dict[str, Any] = {"photo": item.name, "photo_sha256": item.answer.photo_sha256}
    photo |= {"more_photo_sha256s": more} if more else {}
    for geometry, properties in _shapes(item.answer):
        yield {"type": "Feature", "geometry": geometry, "properties": properties | photo}


def _shapes(answer: Answer) -> Iterator[tuple[dict[str, Any] | None, dict[str, Any]]]:
    yield (_point(answer.point) if answer.point else None), _answer_properties(answer)
    for area, colour in coloured_areas(answer):
        yield {"type": "MultiPolygon", "coordinates": area.polygons}, _area_properties(area, colour)
    for centre, share, radius_km in credible_circles(answer):
        yield _disc(centre, radius_km), _radius_properties(share, radius_km, answer)
    for rank, hypothesis in enumerate(answer.hypotheses):
        yield _point(hypothesis.point), _hypothesis_properties(hypothesis, rank)
    for candidate in answer.candidates:
        yield _point(candidate.point), _candidate_properties(candidate)
    for tile in answer.matches:
        yield json.loads(shapely.to_geojson(tile_area(tile.bounds))), _tile_properties(tile)
    if answer.metadata_position is not None:
        yield _point(answer.metadata_position), {"kind": "metadata_position", "marker-color": "#7bd88f"}


def _answer_properties(answer: Answer) -> dict[str, Any]:
    return {
        "kind": "answer",
        "status": answer.status.value,
        "place": heading(answer),
        "level": answer.level.value if answer.level else None,
        "confidence": answer.confidence,
        **{f"chance_within_{within}_km": chance for within, chance in sorted(answer.chance_within_km.items())},
        "area_50_km2": answer.area_50_km2,
        "area_90_km2": answer.area_90_km2,
        "radius_50_km": answer.radius_50_km,
        "radius_90_km": answer.radius_90_km,
        "radius_is_calibrated": answer.radius_is_calibrated,
        "reasoning": answer.reasoning,
        "marker-color": "#ffb020",
        "marker-size": "large",
    }


def _area_properties(area: CredibleArea, colour: Colour) -> dict[str, Any]:
    shown = "#{:02x}{:02x}{:02x}".format(*colour)
    style = {"stroke": shown, "fill": shown, "fill-opacity": 0.35, "stroke-width": 1}
    return {"kind": "area", "share": area.share, "area_km2": area.area_km2, "outline_km2": area.outline_km2} | style


def _radius_properties(share: float, radius_km: float, answer: Answer) -> dict[str, Any]:
    style = {"stroke": "#ffb020", "fill": "#ffb020", "fill-opacity": 0.1, "stroke-width": 2}
    return {
        "kind": "radius",
        "probability": share,
        "radius_km": radius_km,
        "radius_is_calibrated": answer.radius_is_calibrated,
    } | style


def _hypothesis_properties(hypothesis: Hypothesis, rank: int) -> dict[str, Any]:
    return {
        "kind": "hypothesis",
        "rank": rank,
        "name": hypothesis.name,
        "probability": hypothesis.probability,
        "radius_km": hypothesis.radius_km,
        "status": hypothesis.status.value,
        "marker-color": "#4cc9f0",
    }


def _candidate_properties(candidate: Candidate) -> dict[str, Any]:
    return {
        "kind": "candidate",
        "similarity": candidate.similarity,
        "atlas": candidate.atlas,
        "item_id": candidate.item_id,
        "rank": candidate.rank,
        "marker-color": "#ff6b9d",
        "marker-size": "small",
    }


def _tile_properties(tile: TileMatch) -> dict[str, Any]:
    told = tile.model_dump(include={"tile_id", "similarity", "source", "date", "probability"})
    return {"kind": "satellite_tile", **told, "stroke": "#7bd88f", "fill": "#7bd88f", "fill-opacity": 0.2}


def _point(point: Point) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [round(point.lon, _DECIMALS), round(point.lat, _DECIMALS)]}


def _disc(centre: Point, radius_km: float) -> dict[str, Any]:
    rounded = shapely.transform(disc(centre, radius_km), lambda lon_lat: np.round(lon_lat, _DECIMALS))
    geometry: dict[str, Any] = json.loads(shapely.to_geojson(rounded))
    return geometry
