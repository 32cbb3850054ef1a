"""The picture of an answer."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from agents.schemas import Answer
from apps.maps.basemap_image import window_picture
from apps.maps.city_labels import city_labels
from apps.maps.picture import AMBER, CYAN, GREEN, INK, MAP_SIZE, PINK, SCALE, _inset_corner, picture_png
from apps.maps.picture_text import drawable, font, wrapped
from apps.maps.viewport import Window, window_around
from apps.output.formatting import LocatedPhoto
from geo.point import Point
from tests.fakes.answers import (
    FIJI,
    HOSTILE,
    NORTH_POLE,
    abstained,
    answered,
    areas,
    at,
    believed,
    believed_at,
    hostile,
    located,
)

PANEL_LEFT = MAP_SIZE[0] // SCALE


def count_colour(picture: Image.Image, colour: tuple[int, ...], box: tuple[int, int, int, int] | None = None) -> int:
    """Pixels of about a colour within a box: left, top, right, bottom; the map if none is given."""
    part = np.asarray(picture.crop(box or (0, 0, PANEL_LEFT, picture.height))).astype(int)
    return int((np.abs(part - np.array(colour)).max(axis=2) < 12).sum())


def drawn(item: LocatedPhoto) -> Image.Image:
    return Image.open(io.BytesIO(picture_png(item))).convert("RGB")


def test_the_picture_shows_the_answer_the_alternatives_and_the_candidates() -> None:
    near = answered(metadata_position=at(45.0, 110.0), radius_90_km=1500.0)
    picture = drawn(located(near))
    assert picture.size == (1200, 675)
    for colour, at_least in ((AMBER, 300), (CYAN, 300), (PINK, 80), (GREEN, 80)):
        assert count_colour(picture, colour) > at_least


def test_the_photo_is_shown_unless_it_is_left_out() -> None:
    panel = (PANEL_LEFT, 0, 1200, 675)
    sky = (0x9C, 0xC4, 0xE4)
    assert count_colour(drawn(located()), sky, panel) > 10_000
    assert count_colour(drawn(LocatedPhoto("a.jpg", answered())), sky, panel) == 0


def test_an_abstention_shows_guesses_but_no_pin() -> None:
    picture = drawn(located(abstained()))
    assert count_colour(picture, AMBER) == 0
    assert count_colour(picture, CYAN) > 300


@pytest.mark.parametrize("point", [at(-18.1, 179.9), at(89.5, 20.0), at(-90.0, 0.0), at(0.0, -180.0)])
def test_the_ends_of_the_world_can_be_drawn(point: Point) -> None:
    picture = drawn(located(answered(point=point, radius_90_km=900.0)))
    assert count_colour(picture, AMBER) > 300


def test_a_hopeless_radius_and_hostile_names_can_be_drawn() -> None:
    hopeless = drawn(located(answered(radius_50_km=9000.0, radius_90_km=20015.0)))
    assert count_colour(hopeless, AMBER) > 300
    picture = drawn(located(hostile(), HOSTILE))
    for left in (PANEL_LEFT + 4, picture.width - 20):  # the panel's margins: no text runs into them
        assert picture.crop((left, 0, left + 16, picture.height)).getcolors() == [(16 * picture.height, INK)]


def test_the_window_shows_the_whole_90_percent_radius() -> None:
    window = window_around(answered(), MAP_SIZE[0] / MAP_SIZE[1])
    for edge in (at(39.9 + 610 / 111.2, 116.4), at(39.9, 116.4 + 610 / 111.2 / np.cos(np.radians(39.9)))):
        assert all(0.0 <= pixel <= 1.0 for pixel in window.point_pixel(edge, (1, 1)))


def test_a_window_across_the_antimeridian_is_one_picture() -> None:
    west = np.asarray(window_picture(Window(at(-18.0, 179.99), 10.0, 1.5), (120, 80))).astype(int)
    east = np.asarray(window_picture(Window(at(-18.0, -179.99), 10.0, 1.5), (120, 80))).astype(int)
    assert np.abs(west - east).mean() < 3.0


def test_city_labels_are_large_cities_and_do_not_touch() -> None:
    window = Window(at(48.0, 8.0), 12.0, 1.3)
    labels = city_labels(window, (828, 675))
    assert {"Paris", "Milan"} <= {label.name for label in labels}
    for index, label in enumerate(labels):
        for other in labels[:index]:
            a, b = label.box, other.box
            assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]


def test_text_is_broken_and_cut_to_its_width() -> None:
    lines = wrapped("one two three four five six seven", font(26), 120.0, 2)
    assert lines[0] == "one two"
    assert len(lines) == 2
    assert lines[1].endswith("…")
    (long,) = wrapped("Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch", font(26), 120.0, 1)
    assert all(font(26).getlength(line) <= 120.0 for line in (*lines, long))


def test_letters_without_a_shape_are_replaced() -> None:
    assert drawable("Łódź Đà Nẵng Москва") == "Łódź Đà Nẵng Москва"
    assert drawable("北京") == "??"


OUTLINE = (255, 243, 214)


def pixel(picture: Image.Image, answer: Answer, point: Point) -> tuple[int, ...]:
    x, y = window_around(answer, MAP_SIZE[0] / MAP_SIZE[1]).point_pixel(point, (PANEL_LEFT, picture.height))
    colour = picture.getpixel((round(x), round(y)))
    assert isinstance(colour, tuple)
    return colour


def test_the_belief_is_warmer_the_more_of_it_is_near_and_its_hole_is_not() -> None:
    sea = at(-30.0, -120.0)  # dark and without cities
    answer = believed_at(sea, 400.0, areas=areas((sea, 400.0), hole=(at(-30.0, -116.9), 60.0)))
    picture = drawn(located(answer))
    reds = [pixel(picture, answer, at(-30.0 - south, -120.0))[0] for south in (0.5, 1.2, 2.1, 3.2, 4.4)]
    assert reds == sorted(reds, reverse=True)
    assert reds[0] > reds[-1] + 120
    assert abs(pixel(picture, answer, at(-30.0, -116.9))[0] - reds[-1]) < 40


def test_areas_take_the_place_of_the_circles() -> None:
    assert count_colour(drawn(located(believed())), OUTLINE) > 300
    assert count_colour(drawn(located()), OUTLINE) < 100


@pytest.mark.parametrize("centre", [FIJI, NORTH_POLE, at(-90, 0), at(0, -180)])
@pytest.mark.parametrize("radius_km", [0.5, 900.0, 12_000.0])
def test_beliefs_at_the_ends_of_the_world_can_be_drawn(centre: Point, radius_km: float) -> None:
    # At the North Pole the pin reaches beyond the picture's edge.
    assert count_colour(drawn(located(believed_at(centre, radius_km))), AMBER) > 20


def test_the_inset_hides_nothing_of_the_belief() -> None:
    answer = believed()
    window = window_around(answer, MAP_SIZE[0] / MAP_SIZE[1])
    left, top = _inset_corner(window, answer)
    for hypothesis in answer.hypotheses:
        x, y = window.point_pixel(hypothesis.point, MAP_SIZE)
        assert not (left <= x <= left + 540 and top <= y <= top + 276)


def test_the_panel_has_a_column_for_each_chance() -> None:
    panel = (PANEL_LEFT, 0, 1200, 675)
    low = believed(chance_within_km=dict.fromkeys((1, 25, 200, 750, 2500), 0.05))
    high = believed(chance_within_km=dict.fromkeys((1, 25, 200, 750, 2500), 0.95))
    assert count_colour(drawn(located(high)), AMBER, panel) > 4 * count_colour(drawn(located(low)), AMBER, panel)
