"""The belief painted over a picture of a window: its nested areas, and outlines of two of them."""

from __future__ import annotations

import math

import numpy as np
import shapely
import shapely.ops
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from agents.schemas import Answer
from apps.maps.geometry import OUTLINED_SHARES, HeatLayer, heat_layers
from apps.maps.viewport import Window

_OPACITY, _FLAT_OPACITY = 0.36, 0.6
_OUTLINE = (255, 243, 214)
_OUTLINE_PX, _DASHED_PX = 3, 3
_LEAST_OUTLINED_PX = 16.0
"""A ring that is smaller is painted and not outlined: its outline would hide it."""
_DASH_PX, _GAP_PX = 18.0, 14.0

Ring = NDArray[np.float64]


def draw_heat(picture: Image.Image, window: Window, answer: Answer) -> None:
    """Paint the nested areas over one another, so that the narrowest is the brightest, and outline two of them.

    The wider outline is dashed.
    """
    layers = heat_layers(answer, window.centre.lon)
    for layer in layers:
        _paint(picture, window, layer, layer.colour, _OPACITY)
    for layer in layers:
        if layer.area.share in OUTLINED_SHARES:
            _outline(picture, window, layer, dashed=layer.area.share == max(OUTLINED_SHARES))


def paint_widest_area(picture: Image.Image, window: Window, answer: Answer, colour: tuple[int, int, int]) -> None:
    """Paint the widest area in one colour, for a picture too small for more; nothing without areas."""
    for layer in heat_layers(answer, window.centre.lon)[:1]:
        _paint(picture, window, layer, colour, _FLAT_OPACITY)


def _paint(
    picture: Image.Image, window: Window, layer: HeatLayer, colour: tuple[int, int, int], opacity: float
) -> None:
    mask = Image.new("L", picture.size)
    draw = ImageDraw.Draw(mask)
    # A part that lies in a hole of another part is drawn after it.
    for part in sorted(layer.shape.geoms, key=lambda polygon: -shapely.Polygon(polygon.exterior).area):
        for ring, inside in ((part.exterior, round(255 * opacity)), *((hole, 0) for hole in part.interiors)):
            draw.polygon(_pixels(ring, window, picture).ravel().tolist(), inside)
    picture.paste(colour, mask=mask)


def _outline(picture: Image.Image, window: Window, layer: HeatLayer, dashed: bool) -> None:
    draw = ImageDraw.Draw(picture)
    for part in layer.shape.geoms:
        for ring in (part.exterior, *part.interiors):
            line = shapely.LineString(_pixels(ring, window, picture))
            if line.length < math.pi * _LEAST_OUTLINED_PX:
                continue
            for piece in _dashes(line) if dashed else [line]:
                width = _DASHED_PX if dashed else _OUTLINE_PX
                draw.line(shapely.get_coordinates(piece).ravel().tolist(), _OUTLINE, width, joint="curve")


def _dashes(line: shapely.LineString) -> list[shapely.LineString]:
    """The dashes of a line that may lie far outside the picture: a few thousand at most."""
    step = max(_DASH_PX + _GAP_PX, line.length / 4000.0)
    starts = np.arange(0.0, line.length, step).tolist()
    pieces = [shapely.ops.substring(line, start, start + _DASH_PX) for start in starts]
    return [piece for piece in pieces if isinstance(piece, shapely.LineString)]


def _pixels(ring: shapely.LinearRing, window: Window, picture: Image.Image) -> Ring:
    return window.pixels(np.asarray(ring.coords), picture.size)
