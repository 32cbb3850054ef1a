"""An answer as a picture of 1200 × 675 pixels: the map around it, the photo, and what was concluded."""

from __future__ import annotations

import functools
import io
import unicodedata
from importlib import resources

import numpy as np
import shapely
from PIL import Image, ImageDraw, ImageFont, ImageOps

from agents.schemas import Answer
from apps.maps import basemap_image
from apps.maps.basemap_image import window_picture, world_picture
from apps.maps.city_labels import city_labels
from apps.maps.geometry import around, disc
from apps.maps.viewport import Window, window_around
from apps.output.formatting import (
    LocatedPhoto,
    alternatives,
    certainty_note,
    credible_circles,
    evidence_source,
    heading,
    km,
    percent,
    printable,
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
INSET_TOP = HEIGHT - INSET_SIZE[1] - 32
INK, PAPER, MUTED, RULE = (11, 18, 32), (238, 243, 250), (147, 163, 187), (38, 52, 77)
AMBER, CYAN, PINK, GREEN = (255, 176, 32), (76, 201, 240), (255, 107, 157), (123, 216, 143)
ATTRIBUTION = f"GeoSleuth · {basemap_image.ATTRIBUTION} · {LINES_ATTRIBUTION}"
LINE_COLOURS = {
    LineKind.COAST: (214, 232, 255, 100),
    LineKind.STATE: (255, 255, 255, 46),
    LineKind.COUNTRY: (255, 255, 255, 150),
}
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
    picture.resize((WIDTH // SCALE, HEIGHT // SCALE), Image.Resampling.LANCZOS).save(out, "PNG", optimize=True)
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
    for centre, _, radius_km in credible_circles(answer):
        for part in shapely.get_parts(around(disc(centre, radius_km), window.centre.lon)):
            ring = window.pixels(np.asarray(part.exterior.coords), MAP_SIZE)
            draw.polygon(ring.ravel().tolist(), (*AMBER, 45), AMBER, 3)
    _draw_cities(draw, window, answer)
    _draw_marks(draw, window, answer)
    draw.rectangle((MAP_SIZE[0] - 32 - font(20).getlength(ATTRIBUTION), HEIGHT - 44, *MAP_SIZE), (*INK, 150))
    _text(draw, (MAP_SIZE[0] - 16, HEIGHT - 22), ATTRIBUTION, 20, anchor="rm")
    picture.paste(_inset(answer), (26, INSET_TOP - 6))
    return picture


def _draw_cities(draw: Draw, window: Window, answer: Answer) -> None:
    """Names of large cities that stay clear of the hypotheses, the inset and the attribution."""
    size = (MAP_SIZE[0] // SCALE, MAP_SIZE[1] // SCALE)
    spots = [window.point_pixel(hypothesis.point, size) for hypothesis in answer.hypotheses[:4]]
    boxes = [(x - 14.0, y - 42.0, x + 14.0, y + 4.0) for x, y in spots]
    boxes += [(0.0, INSET_TOP / SCALE - 10.0, 290.0, size[1]), (size[0] - 420.0, size[1] - 24.0, *size)]
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
    marks = [(hypothesis.point, 8, CYAN) for _, hypothesis in reversed(alternatives(answer))]
    for point, radius, colour in [*marks, (answer.point, 11, AMBER)]:
        if point is not None:
            _dot(ImageDraw.Draw(picture), WORLD.point_pixel(point, INSET_SIZE), radius, colour)
    return ImageOps.expand(picture, 6, INK)


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
        y = _paragraph(draw, y, str(answer.point), 28, MUTED)
        y = _row(draw, y + 8, "confidence", percent(answer.confidence))
        draw.rounded_rectangle((LEFT, y, RIGHT, y + 10), 5, RULE)
        draw.rounded_rectangle((LEFT, y, LEFT + max(10.0, (RIGHT - LEFT) * answer.confidence), y + 10), 5, AMBER)
        y += 22
        for _, share, radius_km in reversed(credible_circles(answer)):
            y = _row(draw, y, f"{percent(share)} within", km(radius_km))
        y = _paragraph(draw, y, certainty_note(answer), 23, MUTED)
    y = _rule(draw, y)
    for number, hypothesis in alternatives(answer):
        _dot(draw, (LEFT + 18, y + 17), 18, CYAN)
        _text(draw, (LEFT + 18, y + 17), str(number), 22, INK, bold=True, anchor="mm")
        y = _row(draw, y, printable(hypothesis.name), percent(hypothesis.probability), indent=54) + 8
    y = _rule(draw, y)
    for item in answer.evidence:
        if item.source is not None and y < HEIGHT - 200:
            y = _paragraph(draw, y, printable(item.claim), 25, PAPER, max_lines=2)
            y = _paragraph(draw, y, evidence_source(item), 22, MUTED) + 10
    _draw_legend(draw, answer)


def _draw_legend(draw: Draw, answer: Answer) -> None:
    entries = (
        ("answer", AMBER, answer.point),
        ("alternative", CYAN, alternatives(answer)),
        ("candidate", PINK, answer.candidates),
        ("metadata", GREEN, answer.metadata_position),
    )
    x, y = float(LEFT), HEIGHT - MARGIN - 12
    for label, colour, marks in entries:
        if marks:
            _dot(draw, (x + 10, y), 10, colour)
            _text(draw, (x + 28, y), label, 23, MUTED, anchor="lm")
            x += 60 + font(23).getlength(label)


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


@functools.cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Inter at a size in drawn pixels."""
    name = "Inter_600SemiBold.ttf" if bold else "Inter_400Regular.ttf"
    with resources.as_file(resources.files("apps") / "assets" / "fonts" / name) as path:
        return ImageFont.truetype(str(path), size)


def wrapped(text: str, face: ImageFont.FreeTypeFont, width: float, max_lines: int) -> list[str]:
    """Text broken at spaces to lines of a width in drawn pixels; what does not fit ends in an ellipsis."""
    lines = [""]
    for word in drawable(text).split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and face.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    if len(lines) > max_lines:
        lines[max_lines - 1 :] = [f"{lines[max_lines - 1]} …"]
    return [_shortened(line, face, width) for line in lines]


def _shortened(text: str, face: ImageFont.FreeTypeFont, width: float) -> str:
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def drawable(text: str) -> str:
    """Text without the letters that Inter lacks: accents it does not know fall off, other scripts become `?`."""
    return "".join(map(_drawable_letter, text))


@functools.cache
def _drawable_letter(char: str) -> str:
    missing = bytes(font(40).getmask("\uffff"))
    shapes = (char, unicodedata.normalize("NFKD", char)[0])
    return next((one for one in shapes if one.isspace() or bytes(font(40).getmask(one)) != missing), "?")
