"""Views from above: what the model may ask for and sees, the bundled pictures, and what is drawn in."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from langchain_core.messages import ToolMessage
from pydantic import ValidationError

from geo.point import Point
from retrieval.photos.photo import decode_photo
from tests.fakes.tool_calls import call, shown_to_model
from tools.results import SatelliteView, ToolError
from tools.satellite_view import satellite_view_tool
from tools.services.imagery import BundledImagery, ImageryView
from tools.services.map_marks import decorated, marked, scale_bar_km


def test_the_model_sees_facts_and_a_picture() -> None:
    message = call(satellite_view_tool(BundledImagery()), lat=38.72, lon=-9.14, zoom=4)
    picture = message.content[1]
    assert isinstance(picture, dict)
    facts = shown_to_model(message)
    assert facts["source_detail_km"] == pytest.approx(7.41)
    assert "7.4 km a pixel" in facts["source"]
    assert (picture["type"], picture["mime_type"]) == ("image", "image/jpeg")
    assert message.content_blocks[1]["type"] == "image"
    rgb = decode_photo(base64.b64decode(picture["base64"]), "view.jpg").rgb
    assert rgb.shape == (512, 512, 3)
    result = message.artifact
    assert isinstance(result, SatelliteView)
    assert result.width_km == pytest.approx(result.km_per_pixel * 512)
    assert "NASA" in result.attribution
    assert len(result.sha256()) == 64


def test_land_and_sea_lie_where_they_are() -> None:
    """The Sahara is bright and sandy, the Atlantic off it dark and blue."""
    rgb = BundledImagery().view(Point(lat=24.0, lon=-16.0), 4, 256).rgb.astype(int)
    land, sea = rgb[118:138, 200:].mean(axis=(0, 1)), rgb[118:138, :56].mean(axis=(0, 1))
    assert land[0] > land[2] + 30
    assert sea[2] > sea[0] + 10


@pytest.mark.parametrize("zoom", [3, 6])
def test_views_join_across_the_antimeridian_and_at_the_poles(zoom: int) -> None:
    for point in (Point(lat=-17.0, lon=179.99), Point(lat=90.0, lon=0.0), Point(lat=-90.0, lon=0.0)):
        view = BundledImagery().view(point, zoom, 128)
        assert view.rgb.shape == (128, 128, 3)
        assert view.km_per_pixel > 0.0
    east = BundledImagery().view(Point(lat=-17.0, lon=179.99999), zoom, 64).rgb.astype(int)
    west = BundledImagery().view(Point(lat=-17.0, lon=-179.99999), zoom, 64).rgb.astype(int)
    assert np.abs(east - west).max() <= 2


def test_zoom_and_position_out_of_range() -> None:
    tool = satellite_view_tool(BundledImagery())
    with pytest.raises(ToolError, match="zoom 12 is not available here; allowed: 2 to 7"):
        call(tool, lat=0.0, lon=0.0, zoom=12)
    for size in ({}, {"zoom": 3, "width_m": 2e6}, {"width_m": 0.0}):
        with pytest.raises(ValidationError):
            call(tool, lat=0.0, lon=0.0, **size)
    with pytest.raises(ValidationError):  # no street map here
        call(tool, lat=0.0, lon=0.0, zoom=3, kind="street_map")
    with pytest.raises(ToolError, match=r"a view here is 3\.7 to 20015 km wide"):
        call(tool, lat=0.0, lon=0.0, width_m=200.0)
    for arguments in ({"lat": 91.0, "lon": 0.0}, {"lat": 0.0, "lon": 181.0}, {"lat": float("nan"), "lon": 0.0}):
        with pytest.raises(ValidationError):
            call(tool, zoom=3, **arguments)


def test_a_view_is_as_wide_as_it_was_asked_for() -> None:
    wide = BundledImagery().view_of_width(Point(lat=0.0, lon=10.0), 4000.0, 400)
    assert wide.km_per_pixel == pytest.approx(10.0)
    whole = BundledImagery().view(Point(lat=0.0, lon=10.0), 4, 400)
    assert wide.source == whole.source
    message = call(satellite_view_tool(BundledImagery()), lat=0.0, lon=10.0, width_m=500_000.0)
    assert shown_to_model(message)["width_km"] == pytest.approx(500.0)
    assert "zoom" not in shown_to_model(message)


class Plain:
    """One colour; a source of a kind."""

    zooms = range(3, 19)

    def __init__(self, colour: int) -> None:
        self.colour = colour

    def view(self, _: Point, __: int, size_px: int) -> ImageryView:
        return ImageryView(np.full((size_px, size_px, 3), self.colour, np.uint8), 0.01, 0.01, "plain", "nobody")

    def view_of_width(self, point: Point, width_km: float, size_px: int) -> ImageryView:
        return self.view(point, 3, size_px)._replace(km_per_pixel=width_km / size_px)


def picture_of(message: ToolMessage) -> np.ndarray:
    block = message.content[1]
    assert isinstance(block, dict)
    return decode_photo(base64.b64decode(block["base64"]), "view.jpg").rgb


def test_the_model_chooses_between_satellite_pictures_and_street_maps() -> None:
    tool = satellite_view_tool(Plain(40), Plain(200))
    satellite = call(tool, lat=1.0, lon=2.0, width_m=1000.0)
    street = call(tool, lat=1.0, lon=2.0, width_m=1000.0, kind="street_map")
    assert picture_of(satellite)[100, 100, 0] == pytest.approx(40, abs=3)
    assert picture_of(street)[100, 100, 0] == pytest.approx(200, abs=3)
    assert shown_to_model(street)["kind"] == "street_map"
    assert (satellite.artifact.kind, street.artifact.kind) == ("satellite", "street_map")


def test_the_cross_leaves_the_centre_free() -> None:
    grey = np.full((64, 64, 3), 100, np.uint8)
    crossed = marked(grey)
    assert (crossed[30:34, 30:34] == 100).all()
    assert (crossed[32, 20] == 255).all()
    assert (crossed[20, 32] == 255).all()
    assert (grey == 100).all()


def test_scale_north_and_attribution_are_drawn_in() -> None:
    grey = np.full((512, 512, 3), 100, np.uint8)
    drawn = decorated(grey, 0.004, "nobody")  # 2.05 km wide: the bar says 1 km, 250 pixels
    row = next(row for row in range(511, 400, -1) if (drawn[row, 10:250] == 255).all())
    white = np.flatnonzero((drawn[row] == 255).all(axis=1))
    assert white[-1] - white[0] == pytest.approx(250, abs=3)
    changed = (drawn != grey).any(axis=2)
    assert changed[:40, 480:].any()  # north
    assert changed[500:, 4:30].any()  # attribution
    assert not changed[60:230, 20:490].any()
    assert (decorated(grey, 0.004, "nobody") == drawn).all()
    longer = decorated(grey, 0.004, "a name " * 80)
    assert (longer[460, :] != grey[460, :]).any()


@pytest.mark.parametrize("width_km", [0.003, 0.7, 1.0, 7.4, 20_000.0])
def test_a_scale_bar_is_a_round_length_that_fits(width_km: float) -> None:
    length = scale_bar_km(width_km)
    assert 0.2 * width_km <= length <= 0.5 * width_km
    assert f"{length:.0e}"[0] in "125"
