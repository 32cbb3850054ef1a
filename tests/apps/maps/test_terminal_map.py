"""The small map of a terminal, and when it is left out."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from agents.schemas import Answer
from apps.maps.geometry import HEAT_COLOURS
from apps.maps.terminal_map import ROWS, terminal_map
from apps.output.terminal import print_answer
from geo.point import Point
from tests.fakes.answers import FIJI, NORTH_POLE, answered, at, believed, believed_at, located

COLUMNS = 70


def drawn(answer: Answer) -> list[list[tuple[str, tuple[int, int, int]]]]:
    """Characters and their background colours, row by row, without the legend."""
    text = terminal_map(answer, COLUMNS)
    console = Console(file=io.StringIO(), width=200)
    rows = list(text.split("\n"))[:ROWS]
    return [[(row.plain[i], background(row, console, i)) for i in range(len(row.plain))] for row in rows]


def background(row: Text, console: Console, index: int) -> tuple[int, int, int]:
    colour = row.get_style_at_offset(console, index).bgcolor
    assert colour is not None
    assert colour.triplet is not None
    return colour.triplet.red, colour.triplet.green, colour.triplet.blue


def is_warm(colour: tuple[int, int, int]) -> bool:
    return colour[0] > colour[2] + 20


@pytest.mark.parametrize("centre", [at(39.9, 116.4), FIJI, NORTH_POLE, at(-90, 0), at(0, -180)])
@pytest.mark.parametrize("radius_km", [0.5, 300.0, 6000.0])
def test_every_place_fills_its_rows_and_marks_the_answer(centre: Point, radius_km: float) -> None:
    rows = drawn(believed_at(centre, radius_km))
    assert [len(row) for row in rows] == [COLUMNS] * ROWS
    assert sum(letter == "◆" for row in rows for letter, _ in row) == 1


def test_the_map_shows_the_areas_around_the_mark_and_nothing_at_the_edges() -> None:
    rows = drawn(believed_at(FIJI, 300.0))
    middle = rows[ROWS // 2]
    warm = [index for index, (_, colour) in enumerate(middle) if is_warm(colour)]
    assert warm == list(range(warm[0], warm[-1] + 1))  # one piece, though the antimeridian runs through it
    assert warm[0] < COLUMNS / 2 < warm[-1]
    assert not any(is_warm(colour) for _, colour in rows[0])


def test_a_hole_is_left_empty() -> None:
    ring = believed_at(at(20.0, 10.0), 300.0)
    outer = ring.areas[-1].polygons[0][0]
    hole = tuple((10.0 + 0.8 * (lon - 10.0), 20.0 + 0.8 * (lat - 20.0)) for lon, lat in outer)
    widest = ring.areas[-1].model_copy(update={"polygons": ((outer, hole),)})
    rows = drawn(ring.model_copy(update={"areas": (widest,), "point": None}))
    middle = [is_warm(colour) for _, colour in rows[ROWS // 2]]
    assert any(middle)
    assert not middle[COLUMNS // 2]


def test_an_area_smaller_than_a_pixel_shows_if_it_holds_a_sample() -> None:
    point = at(25.0, 25.0)
    whole = believed_at(point, 2000.0)
    speck = believed_at(at(30.0, 20.0), 20.0).areas[0].polygons
    widest = whole.areas[-1]
    both = believed_at(point, 2000.0, areas=(widest.model_copy(update={"share": 0.25, "polygons": speck}), widest))
    brightest = [colour for row in drawn(both) for _, colour in row]
    assert sum(max(abs(a - b) for a, b in zip(colour, HEAT_COLOURS[3], strict=True)) < 20 for colour in brightest) <= 2


def test_the_legend_says_what_the_colours_mean_and_how_wide_the_map_is() -> None:
    legend = terminal_map(believed_at(FIJI, 300.0), COLUMNS).plain.splitlines()[-1]
    assert "25 %" in legend
    assert "90 % areas" in legend
    assert legend.endswith("km wide")
    assert len(legend) <= COLUMNS


def test_city_names_are_shown_and_stay_in_their_row() -> None:
    rows = ["".join(letter for letter, _ in row) for row in drawn(believed())]
    assert any("·Tianjin" in row for row in rows)


def printed(answer: Answer, with_map: bool = True, **console: Any) -> str:
    out = io.StringIO()
    settings: dict[str, Any] = {"width": 100, "force_terminal": True, "color_system": "truecolor", "no_color": False}
    print_answer(Console(file=out, **(settings | console)), located(answer), with_map)
    return out.getvalue()


def test_a_terminal_with_colours_shows_the_map() -> None:
    assert printed(believed()).count("▀") > 500


@pytest.mark.parametrize(
    "console",
    [{"force_terminal": False}, {"no_color": True}, {"color_system": None}, {"width": 30}, {"legacy_windows": True}],
)
def test_no_map_without_a_terminal_colours_or_width(console: dict[str, Any]) -> None:
    assert "▀" not in printed(believed(), **console)


def test_no_map_when_it_is_not_wanted_or_there_are_no_areas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "▀" not in printed(believed(), with_map=False)
    assert "▀" not in printed(answered())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "▀" not in printed(believed(), no_color=None)
