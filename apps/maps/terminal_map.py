"""A map for a terminal: land, sea and the belief in half blocks, two pixels a character, with a few city names."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.color import Color
from rich.style import Style
from rich.text import Text

from agents.schemas import Answer
from apps.maps.city_labels import Box, city_labels
from apps.maps.geometry import HeatLayer, heat_layers
from apps.maps.viewport import KM_PER_DEGREE, Window, window_around
from apps.output.formatting import km, percent, printable
from geo.basemap import is_land
from geo.point import Point

ROWS = 18
_LEAST_KM = 160.0
"""A closer map would show the cells of the land mask, 4.6 km, as steps."""
_SAMPLES = 3
_SEA, _LAND, _BEYOND_POLE = (19, 32, 56), (58, 74, 70), (5, 10, 24)
_WHITE, _INK = (255, 255, 255), (11, 18, 32)
_LAYER_OPACITY = {True: 0.92, False: 0.62}
"""Of the heat layer over land and over sea, so that coasts can be seen through it."""
_LETTER_PX, _LINE_PX = 7, 20
_MOST_NAMES = 7
_MARK = "◆"

Rgb = tuple[int, int, int]
Pixels = NDArray[np.float64]
Letters = dict[tuple[int, int], str]


def terminal_map(answer: Answer, columns: int) -> Text:
    """The window around the 90 % area in `columns` × 18 characters, and under it what the colours mean."""
    window = window_around(answer, columns / (2.0 * ROWS), _LEAST_KM)
    layers = heat_layers(answer, window.centre.lon)
    pixels = _pixels(window, columns, layers)
    mark = _cell(window, answer.point, columns) if answer.point else None
    names = _names(window, columns, mark)
    text = Text(no_wrap=True)
    for row in range(ROWS):
        for column in range(columns):
            _append_cell(text, pixels[2 * row, column], pixels[2 * row + 1, column], names.get((row, column), ""))
        text.append("\n")
    return text.append(_legend(window, layers, mark is not None))


def _pixels(window: Window, columns: int, layers: list[HeatLayer]) -> Pixels:
    """Colours (2 × ROWS, columns, 3). A pixel belongs to an area of which it holds any sample: small ones show too."""
    lon, lat = _sample_lon_lat_deg(window, columns)
    land = _blocks(is_land(np.stack([lat, lon], axis=-1).reshape(-1, 2)), columns)
    is_ground = land.sum(axis=-1) * 2 >= _SAMPLES**2
    pixels = np.where(is_ground[..., None], _LAND, _SEA).astype(np.float64)
    opacity = np.where(is_ground, _LAYER_OPACITY[True], _LAYER_OPACITY[False])[..., None]
    for layer in layers:
        shapely.prepare(layer.shape)
        samples = np.asarray(shapely.intersects_xy(layer.shape, lon.ravel(), lat.ravel()))
        inside = np.asarray(_blocks(samples, columns).any(axis=-1))
        pixels = np.where(inside[..., None], (1.0 - opacity) * pixels + opacity * np.array(layer.colour), pixels)
    pixels[_blocks(np.abs(lat.ravel()) > 90.0, columns).all(axis=-1)] = _BEYOND_POLE
    return pixels


def _sample_lon_lat_deg(window: Window, columns: int) -> tuple[Pixels, Pixels]:
    """Longitudes (not wrapped) and latitudes of the samples, both (2 × ROWS × samples, columns × samples)."""
    across, down = columns * _SAMPLES, 2 * ROWS * _SAMPLES
    lon = window.west + (np.arange(across) + 0.5) / across * window.width_deg
    lat = window.north - (np.arange(down) + 0.5) / down * window.height_deg
    lon_grid, lat_grid = np.meshgrid(lon, lat)
    return lon_grid, lat_grid


def _blocks(samples: NDArray[np.bool_], columns: int) -> NDArray[np.bool_]:
    """Samples (n,) as the samples of each pixel, (2 × ROWS, columns, samples²)."""
    grid = samples.reshape(2 * ROWS, _SAMPLES, columns, _SAMPLES)
    return grid.transpose(0, 2, 1, 3).reshape(2 * ROWS, columns, _SAMPLES**2)


def _names(window: Window, columns: int, mark: tuple[int, int] | None) -> Letters:
    """The mark of the answer, and city names that stay clear of it, letter by letter."""
    size_px = (columns * _LETTER_PX, ROWS * _LINE_PX)
    letters: Letters = {}
    for label in city_labels(window, size_px, _kept_clear(mark), _MOST_NAMES):
        column, row = int(label.xy[0] / _LETTER_PX), int(label.xy[1] / _LINE_PX)
        name = f"·{printable(label.name)}"
        if cell_len(name) == len(name):  # letters of double width would shift the rest of the row
            letters |= {(row, column + index): letter for index, letter in enumerate(name)}
    return letters | ({mark: _MARK} if mark else {})


def _kept_clear(mark: tuple[int, int] | None) -> tuple[Box, ...]:
    if mark is None:
        return ()
    x, y = mark[1] * _LETTER_PX, mark[0] * _LINE_PX
    return ((x - _LETTER_PX, y, x + 2.0 * _LETTER_PX, y + _LINE_PX),)


def _cell(window: Window, point: Point, columns: int) -> tuple[int, int]:
    """Row and column of a point; a pole lies on the edge and belongs to the last row before it."""
    x, y = window.point_pixel(point, (columns, ROWS))
    return min(int(y), ROWS - 1), min(int(x), columns - 1)


def _append_cell(text: Text, upper: Pixels, lower: Pixels, letter: str) -> None:
    """One character: a half block in two colours, or a letter on the mean of both."""
    if not letter:
        text.append("▀", Style(color=_colour(upper), bgcolor=_colour(lower)))
        return
    ground = (upper + lower) / 2.0
    ink = _INK if float(ground.mean()) > 120.0 else _WHITE
    text.append(letter, Style(color=_colour(np.array(ink)), bgcolor=_colour(ground), bold=True))


def _colour(rgb: Pixels) -> Color:
    red, green, blue = np.clip(rgb, 0, 255).astype(int).tolist()
    return Color.from_rgb(red, green, blue)


def _legend(window: Window, layers: list[HeatLayer], is_marked: bool) -> Text:
    legend = Text()
    for layer in reversed(layers):
        legend.append("■", Style(color=Color.from_rgb(*layer.colour))).append(f" {percent(layer.area.share)} ", "dim")
    width_km = window.width_deg * window.squeeze * KM_PER_DEGREE
    answer = f"{_MARK} answer  " if is_marked else ""
    return legend.append(f"areas  {answer}{km(width_km)} wide", "dim")
