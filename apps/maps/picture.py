"""An answer as a picture: the map around it, the world, and what was concluded. 1200 × 675 pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image

from agents.schemas import Answer
from apps.maps import basemap_image
from apps.maps.basemap_image import window_picture, world_picture
from apps.maps.city_labels import city_labels
from apps.maps.geometry import around, disc
from apps.maps.png_panel import draw_panel
from apps.maps.png_tools import AMBER, CYAN, GREEN, INK, PAPER, PINK, SCALE, Sheet, text_width
from apps.maps.viewport import KM_PER_DEGREE, Window, window_around
from apps.output.formatting import alternatives
from apps.output.located_photo import LocatedPhoto
from geo.point import Point
from geo.shorelines import LINES_ATTRIBUTION, LineKind, lines_within

WIDTH, HEIGHT = 1200, 675
PANEL_WIDTH = 372
MAP_SIZE = (WIDTH - PANEL_WIDTH, HEIGHT)
_INSET_SIZE = (264, 132)
_ATTRIBUTION = f"{basemap_image.ATTRIBUTION} · {LINES_ATTRIBUTION}"
_INSET_BOX = (0.0, HEIGHT - _INSET_SIZE[1] - 26.0, _INSET_SIZE[0] + 26.0, float(HEIGHT))
_CORNER_BOX = (MAP_SIZE[0] - 360.0, HEIGHT - 56.0, float(MAP_SIZE[0]), float(HEIGHT))
_WORLD = Window(Point(lat=0.0, lon=0.0), 180.0, 2.0)


def save_png(located: LocatedPhoto, file: Path) -> None:
    """Write the picture of an answer."""
    map_picture(located).save(file, "PNG", optimize=True)


def map_picture(located: LocatedPhoto) -> Image.Image:
    """The map with the answer, its radii, alternatives and candidates; the world; and the panel."""
    window = window_around(located.answer, MAP_SIZE[0] / MAP_SIZE[1])
    sheet = Sheet(window_picture(window, (MAP_SIZE[0] * SCALE, MAP_SIZE[1] * SCALE)))
    _draw_lines(sheet, window)
    _draw_radii(sheet, window, located.answer)
    _draw_marks(sheet, window, located.answer)
    _draw_cities(sheet, window, located.answer)
    _draw_pins(sheet, window, located.answer)
    _draw_inset(sheet, window, located.answer)
    _draw_scale(sheet, window)
    whole = Sheet.blank(WIDTH, HEIGHT, INK)
    whole.paste(sheet.image, (0, 0), MAP_SIZE)
    thumbnail = Image.open(io.BytesIO(located.thumbnail_jpeg)) if located.thumbnail_jpeg else None
    draw_panel(whole, located, thumbnail, MAP_SIZE[0])
    return whole.finished()


def _draw_lines(sheet: Sheet, window: Window) -> None:
    tolerance = window.height_deg / MAP_SIZE[1] / 2.0
    detail = "i" if window.height_deg < 40.0 else "l"
    styles = (
        (LineKind.COAST, (214, 232, 255, 120), 0.7),
        (LineKind.STATE, (255, 255, 255, 46), 0.6),
        (LineKind.COUNTRY, (255, 255, 255, 150), 0.9),
    )
    for kind, colour, width in styles:
        paths = [window.pixels(line, MAP_SIZE) for line in lines_within(window.bounds_deg, kind, detail, tolerance)]
        sheet.lines(paths, colour, width)


def _draw_radii(sheet: Sheet, window: Window, answer: Answer) -> None:
    if answer.point is None:
        return
    for radius_km, alpha, dash in ((answer.radius_90_km, 34, 6.0), (answer.radius_50_km, 62, 0.0)):
        if radius_km is not None:
            rings = _rings(window, answer.point, radius_km, MAP_SIZE)
            sheet.polygon(rings, (*AMBER, alpha))
            sheet.lines(rings, (*AMBER, 235), 1.5, dash)


def _rings(window: Window, centre: Point, radius_km: float, size: tuple[int, int]) -> list[NDArray[np.float64]]:
    parts = shapely.get_parts(around(disc(centre, radius_km), window.centre.lon))
    return [window.pixels(np.asarray(part.exterior.coords), size) for part in parts]


def _draw_marks(sheet: Sheet, window: Window, answer: Answer) -> None:
    spots = [window.point_pixel(c.point, MAP_SIZE) for c in answer.candidates if window.contains(c.point)]
    sheet.circles(spots, 3.2, (*PINK, 215), (*INK, 200), 0.8)


def _draw_cities(sheet: Sheet, window: Window, answer: Answer) -> None:
    keep_clear = [_INSET_BOX, _CORNER_BOX]
    for hypothesis in answer.hypotheses[:4]:
        x, y = window.point_pixel(hypothesis.point, MAP_SIZE)
        keep_clear.append((x - 14, y - 42, x + 14, y + 4))
    for city in city_labels(window, MAP_SIZE, tuple(keep_clear), most=14):
        x, y = city.xy
        sheet.circles([(x, y)], 1.7, (*PAPER, 235), (*INK, 255), 0.6)
        sheet.text((x + 6, y), city.name, 11.5, (*PAPER, 255), anchor="lm", halo=1.4)


def _draw_pins(sheet: Sheet, window: Window, answer: Answer) -> None:
    first = 1 if answer.point is None else 2
    for number, hypothesis in reversed(list(enumerate(alternatives(answer), first))):
        if window.contains(hypothesis.point):
            _badge(sheet, window.point_pixel(hypothesis.point, MAP_SIZE), str(number))
    if answer.metadata_position is not None and window.contains(answer.metadata_position):
        sheet.circles([window.point_pixel(answer.metadata_position, MAP_SIZE)], 6, (*GREEN, 255), (*INK, 255), 2)
    if answer.point is not None:
        _pin(sheet, window.point_pixel(answer.point, MAP_SIZE))


def _badge(sheet: Sheet, xy: tuple[float, float], label: str) -> None:
    sheet.circles([xy], 10, (*CYAN, 255), (*INK, 255), 1.6)
    sheet.text(xy, label, 12, INK, bold=True, anchor="mm")


def _pin(sheet: Sheet, xy: tuple[float, float]) -> None:
    """A drop whose tip is the answer."""
    x, y = xy
    angles = np.radians(np.linspace(150.0, 390.0, 40))
    head = np.stack([x + 12.0 * np.cos(angles), y - 27.0 + 12.0 * np.sin(angles)], axis=-1)
    outline = np.concatenate([[[x, y]], head, [[x, y]]])
    sheet.polygon([outline], (*AMBER, 255))
    sheet.lines([outline], (*INK, 255), 1.6)
    sheet.circles([(x, y - 27.0)], 4.6, (*INK, 255), (*INK, 255))


def _draw_inset(sheet: Sheet, window: Window, answer: Answer) -> None:
    width, height = _INSET_SIZE
    left, top = 16.0, HEIGHT - height - 16.0
    sheet.box((left - 3, top - 3), (left + width + 3, top + height + 3), (*INK, 220), 8)
    sheet.paste(world_picture((width * SCALE, height * SCALE)), (left, top), _INSET_SIZE, 6)
    frame = np.array([(window.west, window.north), (window.west + window.width_deg, window.south)])
    (x1, y1), (x2, y2) = _WORLD.pixels(frame, _INSET_SIZE)
    y1, y2 = max(y1, 0.0), min(y2, float(height))
    ring = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)])
    clipped = [part + np.array([left, top]) for part in _inside(ring, width)]
    sheet.lines(clipped, (*PAPER, 235), 1.0)
    spots = [_WORLD.point_pixel(h.point, _INSET_SIZE) for h in alternatives(answer)]
    sheet.circles([(left + x, top + y) for x, y in spots], 3.4, (*CYAN, 255), (*INK, 255), 1)
    if answer.point is not None:
        x, y = _WORLD.point_pixel(answer.point, _INSET_SIZE)
        sheet.circles([(left + x, top + y)], 4.6, (*AMBER, 255), (*INK, 255), 1.2)


def _inside(ring: NDArray[np.float64], width: float) -> list[NDArray[np.float64]]:
    """The frame's outline within the world picture, both parts where it crosses its edge."""
    world = shapely.box(0.0, 0.0, width, 1e6)
    copies = [shapely.LineString(ring + np.array([shift, 0.0])) for shift in (-width, 0.0, width)]
    parts = shapely.get_parts([copy.intersection(world) for copy in copies])
    return [np.asarray(part.coords) for part in parts if part.geom_type == "LineString"]


def _draw_scale(sheet: Sheet, window: Window) -> None:
    km_per_px = window.height_deg * KM_PER_DEGREE / MAP_SIZE[1]
    length_km = max((step for step in _SCALE_STEPS_KM if step / km_per_px <= 130), default=_SCALE_STEPS_KM[0])
    right, y = MAP_SIZE[0] - 18.0, HEIGHT - 34.0
    bar = np.array(
        [(right - length_km / km_per_px, y - 4), (right - length_km / km_per_px, y), (right, y), (right, y - 4)]
    )
    sheet.lines([bar], (*INK, 190), 4.0)
    sheet.lines([bar], (*PAPER, 255), 1.6)
    sheet.text((right, y - 7), f"{length_km:,} km", 11.5, PAPER, anchor="rd", halo=1.4)
    width = text_width(_ATTRIBUTION, 10)
    sheet.box((MAP_SIZE[0] - width - 16, HEIGHT - 22), (MAP_SIZE[0], HEIGHT), (*INK, 150))
    sheet.text((MAP_SIZE[0] - 8, HEIGHT - 11), _ATTRIBUTION, 10, (220, 228, 240), anchor="rm")


_SCALE_STEPS_KM = (50, 100, 200, 500, 1000, 2000, 5000)
