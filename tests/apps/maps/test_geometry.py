"""Areas of the belief as maps need them: in one piece, with their holes, and a window around them."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from agents.schemas import Answer, CredibleArea
from apps.maps.geometry import HEAT_COLOURS, credible_shape, heat_layers, narrowest_bounds, polygon_rings
from apps.maps.viewport import window_around
from geo.point import Point
from geo.shorelines import Bounds
from tests.fakes.answers import FIJI, NORTH_POLE, answered, areas, at, believed, believed_at

ASPECT = 1.25


def box_area(*boxes: Bounds) -> CredibleArea:
    rings = [shapely.get_coordinates(shapely.box(*box)).tolist() for box in boxes]
    polygons = tuple((tuple((lon, lat) for lon, lat in ring),) for ring in rings)
    return CredibleArea(share=0.9, area_km2=1.0, polygons=polygons)


def test_a_cut_at_the_antimeridian_is_closed_and_holes_stay() -> None:
    widest = areas((FIJI, 300.0), hole=(at(-17.6, 178.0), 40.0))[-1]
    assert len(widest.polygons) == 2
    (whole,) = polygon_rings(credible_shape(widest, FIJI.lon))
    assert len(whole) == 2  # the outer ring and the hole
    west, _, east, _ = credible_shape(widest, FIJI.lon).bounds
    assert west < 180.0 < east < west + 10.0


def test_a_contour_that_touches_itself_is_mended() -> None:
    bow = ((0.0, 0.0), (2.0, 2.0), (2.0, 0.0), (0.0, 2.0), (0.0, 0.0))
    shape = credible_shape(CredibleArea(share=0.5, area_km2=1.0, polygons=((bow,),)), 0.0)
    assert shape.is_valid
    assert shape.area == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("boxes", "points", "wanted"),
    [
        ([Bounds(10, 0, 20, 5)], [], Bounds(10, 0, 20, 5)),
        ([Bounds(-180, -20, -175, -10), Bounds(175, -20, 180, -10)], [], Bounds(175, -20, 185, -10)),
        ([Bounds(-120, 30, -110, 40), Bounds(100, 0, 130, 20)], [], Bounds(100, 0, 250, 40)),
        ([Bounds(170, 0, 180, 5)], [at(9, -170)], Bounds(170, 0, 190, 9)),
        ([Bounds(-180, 80, 180, 90)], [at(89, 40)], Bounds(-180, 80, 180, 90)),
        ([Bounds(-10, 0, 170, 5), Bounds(20, 0, 30, 9)], [], Bounds(-10, 0, 170, 9)),
    ],
)
def test_the_narrowest_box(boxes: list[Bounds], points: list[Point], wanted: Bounds) -> None:
    rings = [shapely.get_coordinates(shapely.box(*box)) for box in boxes]
    assert narrowest_bounds(rings, points) == pytest.approx(wanted)


@pytest.mark.parametrize("answer", [believed(), believed_at(FIJI, 300.0), believed_at(at(71, 25), 700.0)])
@pytest.mark.parametrize("aspect", [0.7, 1.25, 2.4])
def test_the_window_shows_the_whole_widest_area(answer: Answer, aspect: float) -> None:
    window = window_around(answer, aspect)
    corners = shapely.get_coordinates(credible_shape(answer.areas[-1], window.centre.lon))
    seen = window.pixels(corners, (1, 1))
    assert (seen > 0.0).all()
    assert (seen < 1.0).all()


def test_the_window_of_a_small_area_is_no_closer_than_it_may_be() -> None:
    assert window_around(believed_at(at(48.86, 2.35), 0.5), ASPECT, least_km=200.0).height_deg == pytest.approx(
        1.8, abs=0.01
    )


def test_specks_do_not_decide_what_is_shown_but_likely_hypotheses_do() -> None:
    speck = box_area(Bounds(-47.0, -24.0, -46.5, -23.5)).polygons
    plain = believed_at(at(48.0, 10.0), 500.0)
    dotted = tuple(area.model_copy(update={"polygons": (*speck, *area.polygons)}) for area in plain.areas)
    assert window_around(plain.model_copy(update={"areas": dotted}), ASPECT) == window_around(plain, ASPECT)
    elsewhere = plain.hypotheses[0].model_copy(update={"id": "h2", "point": at(-23.7, -46.7), "probability": 0.2})
    both = plain.model_copy(update={"areas": dotted, "hypotheses": (*plain.hypotheses, elsewhere)})
    seen = window_around(both, ASPECT).point_pixel(elsewhere.point, (1, 1))
    assert all(0.0 < fraction < 1.0 for fraction in seen)


def test_a_polar_area_is_shown_close_and_in_part() -> None:
    window = window_around(believed_at(NORTH_POLE, 500.0), ASPECT)
    assert window.north == pytest.approx(90.0)
    assert window.height_deg < 15.0


def test_a_belief_on_two_sides_of_the_world_is_seen_from_its_point() -> None:
    wide = believed(
        areas=(box_area(Bounds(-150, 0, -140, 10), Bounds(-10, 0, 0, 10), Bounds(120, 0, 125, 9)),), point=at(5, -5)
    )
    assert window_around(wide, ASPECT).centre.lon == pytest.approx(-5.0)


def test_layers_come_widest_first_in_the_colours_of_the_ramp() -> None:
    layers = heat_layers(believed(), 0.0)
    assert [layer.area.share for layer in layers] == [0.9, 0.75, 0.5, 0.25]
    assert [layer.colour for layer in layers] == list(HEAT_COLOURS)
    assert np.all(np.diff([layer.shape.area for layer in layers]) < 0.0)
    assert heat_layers(answered(), 0.0) == []
