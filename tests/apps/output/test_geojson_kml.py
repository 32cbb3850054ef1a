"""GeoJSON, KML and the shapes they draw."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
import shapely
import shapely.geometry

from agents.schemas import Answer
from apps.maps.geometry import around, disc
from apps.output.formatting import LocatedPhoto
from apps.output.geojson import geojson_pieces
from apps.output.kml import kml_pieces
from geo.sphere import distance_km
from tests.fakes.answers import (
    FIJI,
    HOSTILE,
    NORTH_POLE,
    abstained,
    answered,
    at,
    believed,
    believed_at,
    hostile,
    located,
)


def as_geojson(items: list[LocatedPhoto]) -> str:
    return "".join(geojson_pieces(items))


def as_kml(items: list[LocatedPhoto]) -> str:
    return "".join(kml_pieces(items))


KML = "{http://www.opengis.net/kml/2.2}"


def features(text: str, kind: str) -> list[dict[str, Any]]:
    return [item for item in json.loads(text)["features"] if item["properties"]["kind"] == kind]


def scattered(count: int = 3000) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(5)
    lat = np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, count)))
    return np.stack([lat, rng.uniform(-180.0, 180.0, count)], axis=-1)


@pytest.mark.parametrize("radius_km", [40.0, 900.0, 4000.0, 12000.0, 19000.0])
@pytest.mark.parametrize("centre", [at(0, 0), at(52, 179.9), at(-18, -179.99), at(90, 0), at(-90, 0), at(80, 30)])
def test_a_disc_holds_the_points_within_its_radius(centre: Any, radius_km: float) -> None:
    points = scattered()
    away_km = distance_km(points, (centre.lat, centre.lon))
    clear = np.abs(away_km - radius_km) > 0.01 * radius_km + 20.0
    shape = disc(centre, radius_km)
    inside = shapely.contains_xy(shape, points[:, 1], points[:, 0])
    assert shape.is_valid
    assert (inside == (away_km < radius_km))[clear].all()


def test_a_disc_across_the_antimeridian_is_split_and_a_map_shows_it_whole() -> None:
    shape = disc(at(-18.0, 179.0), 300.0)
    assert len(shapely.get_parts(shape)) == 2
    assert shape.bounds[0] == -180.0
    assert shape.bounds[2] == 180.0
    whole = around(shape, 179.0)
    assert len(shapely.get_parts(whole)) == 1
    assert whole.bounds[0] < 179.0 < 180.0 < whole.bounds[2]


def test_geojson_says_what_was_found_longitude_first() -> None:
    text = as_geojson([located()])
    (answer,) = features(text, "answer")
    assert answer["geometry"] == {"type": "Point", "coordinates": [116.4074, 39.9042]}
    assert answer["properties"]["place"] == "Beijing, China"
    assert answer["properties"]["radius_90_km"] == 610.0
    assert answer["properties"]["photo"] == "summer palace.jpg"
    assert len(features(text, "hypothesis")) == 4
    assert len(features(text, "candidate")) == 24
    assert "crs" not in json.loads(text)


def test_geojson_areas_run_counterclockwise_and_stay_in_the_world() -> None:
    fiji = located(answered(point=at(-18.1, 178.4), radius_50_km=50.0, radius_90_km=400.0))
    for feature in features(as_geojson([fiji]), "radius"):
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.is_valid
        assert all(part.exterior.is_ccw for part in shapely.get_parts(shape))
        assert shape.bounds[0] >= -180.0
        assert shape.bounds[2] <= 180.0
    wide = features(as_geojson([fiji]), "radius")[0]
    assert wide["geometry"]["type"] == "MultiPolygon"


def test_geojson_of_an_abstention_has_no_geometry() -> None:
    (answer,) = features(as_geojson([located(abstained())]), "answer")
    assert answer["geometry"] is None
    assert answer["properties"]["status"] == "abstained"


def test_geojson_is_ascii_and_keeps_odd_names() -> None:
    text = as_geojson([located(name="北京 \udcff.jpg")])
    assert text.isascii()
    assert features(text, "answer")[0]["properties"]["photo"] == "北京 \udcff.jpg"


def test_kml_is_well_formed_and_shows_every_hypothesis() -> None:
    root = ET.fromstring(as_kml([located()]))  # noqa: S314 - our own output
    names = [element.text for element in root.iter(f"{KML}name")]
    assert root.tag == f"{KML}kml"
    assert "summer palace.jpg: Beijing, China" in names
    assert "90 % radius: 610 km (calibrated)" in names
    assert "Kyoto, Japan" in names
    assert len(list(root.iter(f"{KML}Polygon"))) == 2


def test_kml_keeps_hostile_text_as_text() -> None:
    root = ET.fromstring(as_kml([located(hostile(), HOSTILE)]))  # noqa: S314 - our own output
    allowed = {"kml", "Document", "Style", "IconStyle", "LineStyle", "PolyStyle", "Folder", "Placemark", "Point"}
    allowed |= {"MultiGeometry", "Polygon", "outerBoundaryIs", "LinearRing", "tessellate", "coordinates", "visibility"}
    allowed |= {"name", "description", "styleUrl", "color", "scale"}
    assert {element.tag.removeprefix(KML) for element in root.iter()} <= allowed
    # Google Earth shows descriptions as HTML: nothing in them may be markup but our line breaks.
    for description in root.iter(f"{KML}description"):
        assert "<" not in (description.text or "").replace("<br/>", "")


def test_kml_of_an_abstention_says_so() -> None:
    text = as_kml([located(abstained())])
    assert "summer palace.jpg: No answer" in text
    assert "Polygon" not in text


def test_kml_parts_come_in_the_order_of_the_schema() -> None:
    order = ["name", "visibility", "description", "styleUrl", "ExtendedData", "Point", "MultiGeometry", "Style"]
    root = ET.fromstring(as_kml([located(believed(metadata_position=at(1, 2)))]))  # noqa: S314 - our own output
    for tag in ("Folder", "Placemark"):
        for element in root.iter(f"{KML}{tag}"):
            first = list(dict.fromkeys(child.tag.removeprefix(KML) for child in element))
            parts = [part for part in first if part not in ("Folder", "Placemark")]
            assert parts == sorted(parts, key=order.index)


@pytest.mark.parametrize("answer", [believed(), believed_at(FIJI, 300.0), believed_at(NORTH_POLE, 500.0)])
def test_geojson_carries_the_areas_as_they_are_and_valid(answer: Answer) -> None:
    found = features(as_geojson([located(answer)]), "area")
    assert [item["properties"]["share"] for item in found] == [0.9, 0.75, 0.5, 0.25]
    for item, area in zip(found, reversed(answer.areas), strict=True):
        assert item["geometry"]["type"] == "MultiPolygon"
        assert item["geometry"]["coordinates"] == json.loads(json.dumps(area.polygons))
        assert item["properties"]["area_km2"] == area.area_km2
        shape = shapely.geometry.shape(item["geometry"])
        assert shape.is_valid
        assert shape.bounds[0] >= -180.0
        assert shape.bounds[2] <= 180.0


def test_geojson_tells_chances_and_sizes() -> None:
    properties = features(as_geojson([located(believed())]), "answer")[0]["properties"]
    assert (properties["chance_within_25_km"], properties["chance_within_2500_km"]) == (0.48, 0.97)
    assert properties["area_50_km2"] == pytest.approx(132_900.0, rel=0.01)
    old = features(as_geojson([located()]), "answer")[0]["properties"]
    assert "chance_within_25_km" not in old
    assert features(as_geojson([located()]), "area") == []


@pytest.mark.parametrize("answer", [believed(), believed_at(FIJI, 300.0), believed_at(NORTH_POLE, 500.0)])
def test_kml_carries_the_areas_with_holes_share_and_size(answer: Answer) -> None:
    root = ET.fromstring(as_kml([located(answer)]))  # noqa: S314 - our own output
    marks = [mark for mark in root.iter(f"{KML}Placemark") if mark.find(f"{KML}ExtendedData") is not None]
    data = [{d.get("name"): float(d[0].text or "") for d in mark.iter(f"{KML}Data")} for mark in marks]
    assert data == [{"share": area.share, "area_km2": area.area_km2} for area in reversed(answer.areas)]
    styles = {f"#{style.get('id')}" for style in root.iter(f"{KML}Style")}
    for mark, area in zip(marks, reversed(answer.areas), strict=True):
        assert mark.findtext(f"{KML}styleUrl") in styles
        assert len(list(mark.iter(f"{KML}Polygon"))) == len(area.polygons)
        assert len(list(mark.iter(f"{KML}innerBoundaryIs"))) == sum(len(rings) - 1 for rings in area.polygons)
        corners = [pair.split(",") for text in mark.iter(f"{KML}coordinates") for pair in (text.text or "").split()]
        assert [(float(lon), float(lat)) for lon, lat, _ in corners] == [
            corner for rings in area.polygons for ring in rings for corner in ring
        ]


def test_kml_tells_chances_areas_and_information() -> None:
    text = as_kml([located(believed())])
    assert "within 1 km 12 % · 25 km 48 %" in text
    assert "half of such photos lie in 133,000 km²" in text
    assert "told much (2.4 nats)" in text
    assert "told" not in as_kml([located()])


def test_an_outline_around_scattered_places_is_not_taken_for_the_area() -> None:
    made = believed()
    wide = [area.model_copy(update={"outline_km2": 100.0 * area.area_km2}) for area in made.areas]
    answer = made.model_copy(update={"areas": tuple(wide)})
    kml = as_kml([located(answer)])
    assert "50 % area: 133,000 km² scattered over 13.3 million km²" in kml
    assert "half of such photos lie in 133,000 km² scattered over 13.3 million km², nine tenths in" in kml
    area = features(as_geojson([located(answer)]), "area")[0]["properties"]
    assert area["outline_km2"] == 100.0 * area["area_km2"]
