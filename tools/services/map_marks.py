"""What is drawn into a picture of the ground: its centre, a scale bar, north, and whose picture it is."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tools.services.imagery import Rgb

_FONT_PX = 12
_SMALL_PX = 10
_MARGIN_PX = 8
_MAX_LINES = 3
_BEHIND = (0, 0, 0, 150)


def decorated(rgb: Rgb, km_per_pixel: float, attribution: str) -> Rgb:
    """The picture (size, size, 3), north up, with a cross, a scale bar, an arrow to the north and the attribution.

    All is white on black, to stand out anywhere; the centre itself stays free.
    """
    picture = Image.fromarray(marked(rgb))
    draw = ImageDraw.Draw(picture, "RGBA")
    top = _draw_attribution(draw, picture.size, attribution)
    _draw_scale(draw, top, picture.width, km_per_pixel)
    _draw_north(draw, picture.width)
    return np.asarray(picture)


def scale_bar_km(width_km: float) -> float:
    """The length of a scale bar: 1, 2 or 5 times a power of ten, a fifth to a half of the picture's width.

    >>> scale_bar_km(1.3), scale_bar_km(12.0)
    (0.5, 5.0)
    """
    power = 10.0 ** math.floor(math.log10(width_km / 2.0))
    return max(length for step in (1.0, 2.0, 5.0) if (length := round(step * power, 9)) <= width_km / 2.0)


def distance_label(km: float) -> str:
    """A length as a map says it.

    >>> distance_label(0.05), distance_label(2.0), distance_label(2000.0)
    ('50 m', '2 km', '2,000 km')
    """
    return f"{km:,.0f} km" if km >= 1.0 else f"{km * 1000.0:,.3g} m"


def _draw_scale(draw: ImageDraw.ImageDraw, bottom_px: float, width_px: int, km_per_pixel: float) -> None:
    length_km = scale_bar_km(width_px * km_per_pixel)
    left, right, y = _MARGIN_PX, _MARGIN_PX + length_km / km_per_pixel, bottom_px - _MARGIN_PX
    for half_width, colour in ((3, "black"), (1, "white")):
        draw.rectangle((left - half_width, y - half_width, right + half_width, y + half_width), fill=colour)
    font = ImageFont.load_default(_FONT_PX)
    label = distance_label(length_km)
    draw.text((left, y - 5), label, "white", font, anchor="lb", stroke_width=2, stroke_fill="black")


def _draw_north(draw: ImageDraw.ImageDraw, width_px: int) -> None:
    x, y = width_px - _MARGIN_PX - 8, _MARGIN_PX
    draw.polygon([(x, y), (x + 7, y + 18), (x, y + 13), (x - 7, y + 18)], fill="white", outline="black")
    font = ImageFont.load_default(_FONT_PX)
    draw.text((x, y + 20), "N", "white", font, anchor="mt", stroke_width=2, stroke_fill="black")


def _draw_attribution(draw: ImageDraw.ImageDraw, size_px: tuple[int, int], attribution: str) -> float:
    """Draw a strip along the bottom; returns the row where it begins."""
    font = ImageFont.load_default(_SMALL_PX)
    lines = _wrapped(" ".join(attribution.split()), font, size_px[0] - 8)
    width_px, height_px = size_px
    top = height_px - len(lines) * (_SMALL_PX + 2) - 3
    draw.rectangle((0, top, width_px, height_px), fill=_BEHIND)
    for number, line in enumerate(lines):
        draw.text((4, top + 1 + number * (_SMALL_PX + 2)), line, "white", font)
    return top


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: float) -> list[str]:
    """The text in lines that fit; of more than three the rest is cut off."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or font.getlength(longer) <= width_px:
            lines[-1] = longer
        elif len(lines) < _MAX_LINES:
            lines.append(word)
        else:
            lines[-1] += " …"
            break
    return lines


def marked(rgb: Rgb) -> Rgb:
    """The picture with a small open cross around its centre, white on black to stand out anywhere."""
    crossed = rgb.copy()
    middle = len(crossed) // 2
    for half_width, colour in ((2, 0), (1, 255)):
        _draw_cross(crossed, middle, half_width, colour)
    return crossed


def _draw_cross(rgb: Rgb, middle: int, half_width: int, colour: int) -> None:
    across = slice(middle - half_width, middle + half_width)
    for arm in (slice(middle - 16, middle - 6), slice(middle + 6, middle + 16)):
        rgb[across, arm] = colour
        rgb[arm, across] = colour
