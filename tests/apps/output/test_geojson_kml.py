"""GeoJSON, KML and the shapes they draw."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
import shapely
import shapely.geometry

from apps.maps.geometry import around, disc
from apps.output.geojson import geojson_text
from apps.output.kml import kml_text
from geo.sphere import distance_km
from tests.fakes.answers import HOSTILE, abstained, answered, at, hostile, located

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
    text = geojson_text([located()])
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
    for feature in features(geojson_text([fiji]), "radius"):
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.is_valid
        assert all(part.exterior.is_ccw for part in shapely.get_parts(shape))
        assert shape.bounds[0] >= -180.0
        assert shape.bounds[2] <= 180.0
    wide = features(geojson_text([fiji]), "radius")[0]
    assert wide["geometry"]["type"] == "MultiPolygon"


def test_geojson_of_an_abstention_has_no_geometry() -> None:
    (answer,) = features(geojson_text([located(abstained())]), "answer")
    assert answer["geometry"] is None
    assert answer["properties"]["status"] == "abstained"


def test_geojson_is_ascii_and_keeps_odd_names() -> None:
    text = geojson_text([located(name="北京 \udcff.jpg")])
    assert text.isascii()
    assert features(text, "answer")[0]["properties"]["photo"] == "北京 \udcff.jpg"


def test_kml_is_well_formed_and_shows_every_hypothesis() -> None:
    root = ET.fromstring(kml_text([located()]))  # noqa: S314 - our own output
    names = [element.text for element in root.iter(f"{KML}name")]
    assert root.tag == f"{KML}kml"
    assert "summer palace.jpg: Beijing, China" in names
    assert "90 % radius: 610 km (calibrated)" in names
    assert "Kyoto, Japan" in names
    assert len(list(root.iter(f"{KML}Polygon"))) == 2


def test_kml_keeps_hostile_text_as_text() -> None:
    root = ET.fromstring(kml_text([located(hostile(), HOSTILE)]))  # noqa: S314 - our own output
    allowed = {"kml", "Document", "Style", "IconStyle", "LineStyle", "PolyStyle", "Folder", "Placemark", "Point"}
    allowed |= {"MultiGeometry", "Polygon", "outerBoundaryIs", "LinearRing", "tessellate", "coordinates", "visibility"}
    allowed |= {"name", "description", "styleUrl", "color", "scale"}
    assert {element.tag.removeprefix(KML) for element in root.iter()} <= allowed
    # Google Earth shows descriptions as HTML: nothing in them may be markup but our line breaks.
    for description in root.iter(f"{KML}description"):
        assert "<" not in (description.text or "").replace("<br/>", "")


def test_kml_of_an_abstention_says_so() -> None:
    text = kml_text([located(abstained())])
    assert "summer palace.jpg: No answer" in text
    assert "Polygon" not in text


def test_kml_parts_come_in_the_order_of_the_schema() -> None:
    order = ["name", "visibility", "description", "styleUrl", "Point", "MultiGeometry", "Style", "Folder", "Placemark"]
    root = ET.fromstring(kml_text([located(answered(metadata_position=at(1, 2)))]))  # noqa: S314 - our own output
    for tag in ("Folder", "Placemark"):
        for element in root.iter(f"{KML}{tag}"):
            first = list(dict.fromkeys(child.tag.removeprefix(KML) for child in element))
            parts = [part for part in first if part not in ("Folder", "Placemark")]
            assert parts == sorted(parts, key=order.index)
