"""An answer as a picture of 1200 × 675 pixels: the map around it, the photo, and what was concluded."""

from __future__ import annotations

import io

import numpy as np
import shapely
from PIL import Image, ImageDraw, ImageOps
from PIL.PngImagePlugin import PngInfo
from shapely.geometry.base import BaseGeometry

from agents.schemas import Answer
from apps.maps import basemap_image
from apps.maps.basemap_image import window_picture, world_picture
from apps.maps.city_labels import city_labels
from apps.maps.geometry import around, disc, heat_layers
from apps.maps.heat_image import draw_heat, paint_widest_area
from apps.maps.picture_text import drawable, font, wrapped
from apps.maps.viewport import Window, window_around
from apps.output.formatting import (
    LocatedPhoto,
    alternatives,
    certainty_note,
    chances,
    credible_circles,
    evidence_source,
    has_information,
    heading,
    km,
    percent,
    printable,
    short_area_text,
    square_km,
    tells_nothing,
)
from geo.point import Point
from geo.shorelines import LINES_ATTRIBUTION, LineKind, lines_within

SCALE = 2
"""The picture is drawn at twice its size and reduced, which smooths its edges; lengths below are as drawn."""
WIDTH, HEIGHT = 1200 * SCALE, 675 * SCALE
MAP_SIZE = (828 * SCALE, HEIGHT)
MARGIN = 48
LEFT, RIGHT = MAP_SIZE[0] + MARGIN, WIDTH - MARGIN
INSET_SIZE = (528, 264)
INSET_EDGE, ATTRIBUTION_HEIGHT = 20, 44
INSET_FRAME = 6
INK, PAPER, MUTED, RULE = (11, 18, 32), (238, 243, 250), (147, 163, 187), (38, 52, 77)
AMBER, CYAN, PINK, GREEN = (255, 176, 32), (76, 201, 240), (255, 107, 157), (123, 216, 143)
ATTRIBUTION = f"GeoSleuth · {basemap_image.ATTRIBUTION} · {LINES_ATTRIBUTION}"
LINE_COLOURS = {
    LineKind.COAST: (214, 232, 255, 100),
    LineKind.STATE: (255, 255, 255, 46),
    LineKind.COUNTRY: (255, 255, 255, 150),
}
BAR_HEIGHT = 56
WORLD = Window(Point(lat=0.0, lon=0.0), 180.0, 2.0)

Draw = ImageDraw.ImageDraw
Xy = tuple[float, float]
Colour = tuple[int, ...]


def picture_png(located: LocatedPhoto) -> bytes:
    """The picture of an answer as a PNG file."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), INK)
    picture.paste(_map(located.answer))
    _draw_panel(picture, located)
    out = io.BytesIO()
    about = PngInfo()
    about.add_text("Software", "GeoSleuth")  # by which a later run knows the file for a map of ours
    small = picture.resize((WIDTH // SCALE, HEIGHT // SCALE), Image.Resampling.LANCZOS)
    small.save(out, "PNG", optimize=True, pnginfo=about)
    return out.getvalue()


def _map(answer: Answer) -> Image.Image:
    """The map around the answer, with its radii, alternatives and candidates; in a corner, the world."""
    window = window_around(answer, MAP_SIZE[0] / MAP_SIZE[1])
    picture = window_picture(window, MAP_SIZE)
    draw = ImageDraw.Draw(picture, "RGBA")
    detail = "i" if window.height_deg < 40.0 else "l"
    for kind, colour in LINE_COLOURS.items():
        for line in lines_within(window.bounds_deg, kind, detail, window.height_deg / HEIGHT):
            draw.line(window.pixels(line, MAP_SIZE).ravel().tolist(), colour, 2)
    if answer.areas:
        draw_heat(picture, window, answer)
    else:
        _draw_radii(draw, window, answer)
    _draw_cities(draw, window, answer)
    _draw_marks(draw, window, answer)
    draw.rectangle((MAP_SIZE[0] - 32 - font(20).getlength(ATTRIBUTION), HEIGHT - 44, *MAP_SIZE), (*INK, 150))
    _text(draw, (MAP_SIZE[0] - 16, HEIGHT - 22), ATTRIBUTION, 20, anchor="rm")
    picture.paste(_inset(answer), _inset_corner(window, answer))
    return picture


def _draw_radii(draw: Draw, window: Window, answer: Answer) -> None:
    for centre, _, radius_km in credible_circles(answer):
        for part in shapely.get_parts(around(disc(centre, radius_km), window.centre.lon)):
            ring = window.pixels(np.asarray(part.exterior.coords), MAP_SIZE)
            draw.polygon(ring.ravel().tolist(), (*AMBER, 45), AMBER, 3)


def _draw_cities(draw: Draw, window: Window, answer: Answer) -> None:
    """Names of large cities that stay clear of the hypotheses, the inset and the attribution."""
    size = (MAP_SIZE[0] // SCALE, MAP_SIZE[1] // SCALE)
    spots = [window.point_pixel(hypothesis.point, size) for hypothesis in answer.hypotheses[:4]]
    boxes = [(x - 14.0, y - 42.0, x + 14.0, y + 4.0) for x, y in spots]
    left, top = (length / SCALE for length in _inset_corner(window, answer))
    boxes += [(left - 10.0, top - 10.0, left + 280.0, top + 148.0), (size[0] - 420.0, size[1] - 24.0, *size)]
    for city in city_labels(window, size, tuple(boxes), most=14):
        x, y = city.xy[0] * SCALE, city.xy[1] * SCALE
        _dot(draw, (x, y), 4, PAPER)
        _text(draw, (x + 12, y), city.name, 23, anchor="lm", halo=3)


def _draw_marks(draw: Draw, window: Window, answer: Answer) -> None:
    """The most important marks last: candidates, numbered alternatives, the position the file claims, the answer."""
    for candidate in answer.candidates:
        _dot(draw, window.point_pixel(candidate.point, MAP_SIZE), 6, PINK)
    for number, hypothesis in reversed(alternatives(answer)):
        xy = window.point_pixel(hypothesis.point, MAP_SIZE)
        _dot(draw, xy, 21, CYAN)
        _text(draw, xy, str(number), 24, INK, bold=True, anchor="mm")
    if answer.metadata_position is not None:
        _dot(draw, window.point_pixel(answer.metadata_position, MAP_SIZE), 14, GREEN)
    if answer.point is not None:
        x, y = window.point_pixel(answer.point, MAP_SIZE)
        for colour, margin in ((INK, 3), (AMBER, 0)):
            draw.polygon([(x - 20 - margin, y - 44), (x + 20 + margin, y - 44), (x, y + 2 * margin)], colour)
            draw.circle((x, y - 54), 24 + margin, colour)
        draw.circle((x, y - 54), 10, INK)


def _inset(answer: Answer) -> Image.Image:
    """The world with the answer and its alternatives, framed."""
    picture = world_picture(INSET_SIZE)
    paint_widest_area(picture, WORLD, answer, AMBER)
    marks = [(hypothesis.point, 8, CYAN) for _, hypothesis in reversed(alternatives(answer))]
    for point, radius, colour in [*marks, (answer.point, 11, AMBER)]:
        if point is not None:
            _dot(ImageDraw.Draw(picture), WORLD.point_pixel(point, INSET_SIZE), radius, colour)
    return ImageOps.expand(picture, INSET_FRAME, INK)


def _inset_corner(window: Window, answer: Answer) -> tuple[int, int]:
    """The first corner where the inset hides nothing of the widest area and no hypothesis, or the lower left one."""
    width, height = (side + 2 * INSET_FRAME for side in INSET_SIZE)
    left, right, top = INSET_EDGE, MAP_SIZE[0] - width - INSET_EDGE, INSET_EDGE
    bottom = HEIGHT - height - INSET_EDGE
    corners = [(left, bottom), (right, bottom - ATTRIBUTION_HEIGHT), (left, top), (right, top)]
    shown = _shown_px(window, answer)
    free = [xy for xy in corners if not shown.intersects(shapely.box(*xy, xy[0] + width, xy[1] + height))]
    return (free or corners)[0]


def _shown_px(window: Window, answer: Answer) -> BaseGeometry:
    """The widest area, and some pixels around each hypothesis, in pixels of the map."""
    spots = [shapely.Point(window.point_pixel(guess.point, MAP_SIZE)).buffer(60.0) for guess in answer.hypotheses]
    widest = heat_layers(answer, window.centre.lon)[:1]
    areas = [shapely.transform(layer.shape, lambda lon_lat: window.pixels(lon_lat, MAP_SIZE)) for layer in widest]
    return shapely.union_all([*spots, *areas])


def _draw_panel(picture: Image.Image, located: LocatedPhoto) -> None:
    """Photo, place, how sure, alternatives, evidence while there is space, and the legend, one under another."""
    answer, draw, y = located.answer, ImageDraw.Draw(picture), float(MARGIN)
    if located.thumbnail_jpeg:
        photo = ImageOps.contain(Image.open(io.BytesIO(located.thumbnail_jpeg)), (RIGHT - LEFT, 486))
        picture.paste(photo, ((LEFT + RIGHT - photo.width) // 2, MARGIN))
        y += photo.height + 36
    y = _paragraph(draw, y, heading(answer), 48, PAPER, bold=True, max_lines=2)
    if answer.point is None:
        y = _paragraph(draw, y, printable(answer.reasoning), 27, MUTED, max_lines=4)
    else:
        below = "a map of where photos are taken" if tells_nothing(answer) else str(answer.point)
        y = _paragraph(draw, y, below, 28, MUTED)
        y = _chances(draw, y + 8, answer) if answer.chance_within_km else _confidence(draw, y + 8, answer)
        for _, share, radius_km in reversed(credible_circles(answer)):
            y = _row(draw, y, f"{percent(share)} within", " · ".join([km(radius_km), *_area_size(answer, share)]))
        y = _paragraph(draw, y, certainty_note(answer), 23, MUTED)
    y = _rule(draw, y)
    for number, hypothesis in alternatives(answer):
        _dot(draw, (LEFT + 18, y + 17), 18, CYAN)
        _text(draw, (LEFT + 18, y + 17), str(number), 22, INK, bold=True, anchor="mm")
        y = _row(draw, y, printable(hypothesis.name), percent(hypothesis.probability), indent=54) + 8
    y = _rule(draw, y)
    for item in answer.evidence:
        tells = (not has_information(answer) and not tells_nothing(answer)) or item.information_nats > 0.0
        if tells and item.source is not None and y < HEIGHT - (240 if answer.areas else 200):
            y = _paragraph(draw, y, printable(item.claim), 25, PAPER, max_lines=2)
            y = _paragraph(draw, y, evidence_source(item), 22, MUTED) + 10
    _draw_legend(draw, answer)


def _confidence(draw: Draw, y: float, answer: Answer) -> float:
    y = _row(draw, y, "confidence", percent(answer.confidence))
    draw.rounded_rectangle((LEFT, y, RIGHT, y + 10), 5, RULE)
    draw.rounded_rectangle((LEFT, y, LEFT + max(10.0, (RIGHT - LEFT) * answer.confidence), y + 10), 5, AMBER)
    return y + 22


def _chances(draw: Draw, y: float, answer: Answer) -> float:
    """A column for the chance within each distance, its percentage above it and the distance below."""
    _text(draw, (LEFT, y), "chance that it lies within", 24, MUTED)
    within = chances(answer)
    step = (RIGHT - LEFT + 12) / len(within)
    top = y + 74
    for index, (distance, chance) in enumerate(within):
        left, right = LEFT + index * step, LEFT + (index + 1) * step - 12
        draw.rounded_rectangle((left, top, right, top + BAR_HEIGHT), 6, RULE)
        draw.rounded_rectangle((left, top + BAR_HEIGHT * (1.0 - max(chance, 0.04)), right, top + BAR_HEIGHT), 4, AMBER)
        _text(draw, ((left + right) / 2, top - 6), percent(chance), 25, bold=True, anchor="mb")
        _text(draw, ((left + right) / 2, top + BAR_HEIGHT + 6), distance, 22, MUTED, anchor="ma")
    return top + BAR_HEIGHT + 44


def _area_size(answer: Answer, share: float) -> list[str]:
    drawn = [short_area_text(area) for area in answer.areas if area.share == share]
    size_km2 = answer.area_50_km2 if share == 0.5 else answer.area_90_km2  # a coarsened answer has no areas
    return drawn or ([] if size_km2 is None else [square_km(size_km2)])


def _draw_legend(draw: Draw, answer: Answer) -> None:
    entries = (
        ("answer", AMBER, answer.point),
        ("alternative", CYAN, alternatives(answer)),
        ("candidate", PINK, answer.candidates),
        ("metadata", GREEN, answer.metadata_position),
    )
    x, y = float(LEFT), HEIGHT - MARGIN - 12
    if answer.areas:
        _draw_heat_legend(draw, y - 42, answer)
    for label, colour, marks in entries:
        if marks:
            _dot(draw, (x + 10, y), 10, colour)
            _text(draw, (x + 28, y), label, 23, MUTED, anchor="lm")
            x += 60 + font(23).getlength(label)


def _draw_heat_legend(draw: Draw, y: float, answer: Answer) -> None:
    x = float(LEFT)
    for layer in reversed(heat_layers(answer, 0.0)):
        draw.rounded_rectangle((x, y - 9, x + 24, y + 9), 4, layer.colour)
        label = percent(layer.area.share)
        _text(draw, (x + 32, y), label, 23, MUTED, anchor="lm")
        x += 50 + font(23).getlength(label)
    _text(draw, (x, y), "areas", 23, MUTED, anchor="lm")


def _row(draw: Draw, y: float, label: str, value: str, indent: float = 0.0) -> float:
    """A label and, at the right edge, its value; where the next line begins."""
    _text(draw, (LEFT + indent, y), wrapped(label, font(26), RIGHT - LEFT - indent - 110, 1)[0], 26, MUTED)
    _text(draw, (RIGHT, y), value, 26, bold=True, anchor="ra")
    return y + 40


def _rule(draw: Draw, y: float) -> float:
    draw.line((LEFT, y + 8, RIGHT, y + 8), RULE, 2)
    return y + 26


def _paragraph(
    draw: Draw, y: float, text: str, size: int, colour: Colour, *, bold: bool = False, max_lines: int = 1
) -> float:
    """Text broken into lines of the panel's width; where the next line begins."""
    for line in wrapped(text, font(size, bold), RIGHT - LEFT, max_lines):
        _text(draw, (LEFT, y), line, size, colour, bold=bold)
        y += round(size * 1.35)
    return y + 6


def _dot(draw: Draw, xy: Xy, radius: float, colour: Colour) -> None:
    draw.circle(xy, radius, colour, INK, 2)


def _text(
    draw: Draw, xy: Xy, text: str, size: int, colour: Colour = PAPER, *, bold: bool = False, anchor: str = "la",
    halo: int = 0,
) -> None:  # fmt: skip
    """One line; `halo` is the width of a dark outline that keeps it readable on a map."""
    draw.text(xy, drawable(text), colour, font(size, bold), anchor, stroke_width=halo, stroke_fill=INK)
