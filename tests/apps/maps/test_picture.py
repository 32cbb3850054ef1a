"""The picture of an answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agents.schemas import Answer
from apps.maps.basemap_image import window_picture
from apps.maps.city_labels import city_labels
from apps.maps.picture import HEIGHT, MAP_SIZE, WIDTH, save_png
from apps.maps.png_tools import AMBER, CYAN, drawable, shortened, text_width, wrapped
from apps.maps.viewport import Window, window_around
from geo.point import Point
from tests.fakes.answers import HOSTILE, abstained, answered, at, hostile, located


def count_colour(picture: Image.Image, colour: tuple[int, ...]) -> int:
    left = np.asarray(picture)[:, : MAP_SIZE[0]].astype(int)
    return int((np.abs(left - np.array(colour)).max(axis=2) < 12).sum())


def drawn(tmp_path: Path, answer: Answer, name: str = "photo.jpg") -> Image.Image:
    file = tmp_path / "map.png"
    save_png(located(answer, name), file)
    return Image.open(file).convert("RGB")


def test_the_picture_shows_the_answer(tmp_path: Path) -> None:
    picture = drawn(tmp_path, answered())
    assert picture.size == (WIDTH, HEIGHT)
    assert count_colour(picture, AMBER) > 300  # the pin, and the outlines of both radii


def test_an_abstention_shows_guesses_but_no_pin(tmp_path: Path) -> None:
    picture = drawn(tmp_path, abstained())
    assert count_colour(picture, AMBER) == 0
    assert count_colour(picture, CYAN) > 300


@pytest.mark.parametrize("point", [at(-18.1, 179.9), at(89.5, 20.0), at(-90.0, 0.0), at(0.0, -180.0)])
def test_the_ends_of_the_world_can_be_drawn(tmp_path: Path, point: Point) -> None:
    picture = drawn(tmp_path, answered(point=point, radius_90_km=900.0))
    assert count_colour(picture, AMBER) > 300


def test_a_hopeless_radius_and_hostile_names_can_be_drawn(tmp_path: Path) -> None:
    assert drawn(tmp_path, answered(radius_50_km=9000.0, radius_90_km=20015.0)).size == (WIDTH, HEIGHT)
    assert drawn(tmp_path, hostile(), HOSTILE).size == (WIDTH, HEIGHT)


def test_the_window_shows_the_whole_90_percent_radius() -> None:
    window = window_around(answered(), MAP_SIZE[0] / MAP_SIZE[1])
    assert window.contains(at(39.9 + 610 / 111.2, 116.4))
    assert window.contains(at(39.9, 116.4 + 610 / 111.2 / np.cos(np.radians(39.9))))


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


def test_text_is_cut_to_its_width() -> None:
    assert text_width(shortened("a long name of a place " * 4, 13.0, 120.0), 13.0) <= 120.0
    lines = wrapped("one two three four five six seven", 13.0, 60.0, 2)
    assert len(lines) == 2
    assert all(text_width(line, 13.0) <= 60.0 for line in lines)


def test_letters_without_a_shape_are_replaced() -> None:
    assert drawable("Łódź Đà Nẵng Москва") == "Łódź Đà Nẵng Москва"
    assert drawable("北京") == "??"
