"""Drawing with Pillow at twice the size, in the colours and the typeface of the map picture."""

from __future__ import annotations

import functools
import unicodedata
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SCALE = 2
"""Everything is drawn at twice its size and reduced at the end: that is the anti-aliasing."""

INK = (11, 18, 32)
PAPER = (238, 243, 250)
MUTED = (147, 163, 187)
RULE = (38, 52, 77)
AMBER = (255, 176, 32)
CYAN = (76, 201, 240)
PINK = (255, 107, 157)
GREEN = (123, 216, 143)

Colour = tuple[int, ...]
Xy = tuple[float, float]


@functools.cache
def font(size_px: float, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Inter at a size in final pixels."""
    name = "Inter_600SemiBold.ttf" if bold else "Inter_400Regular.ttf"
    with resources.as_file(resources.files("apps") / "assets" / "fonts" / name) as path:
        return ImageFont.truetype(str(path), round(size_px * SCALE))


class Sheet:
    """A picture being drawn; all lengths are in final pixels."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image.convert("RGBA")

    @classmethod
    def blank(cls, width: int, height: int, colour: Colour) -> Sheet:
        """A sheet of one colour."""
        return cls(Image.new("RGBA", (width * SCALE, height * SCALE), colour))

    def _layer(self) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        layer = Image.new("RGBA", self.image.size, (0, 0, 0, 0))
        return layer, ImageDraw.Draw(layer)

    def polygon(self, rings: list[NDArray[np.float64]], fill: Colour) -> None:
        """Filled rings; each an (n, 2) array."""
        layer, draw = self._layer()
        for ring in rings:
            draw.polygon([(x * SCALE, y * SCALE) for x, y in ring.tolist()], fill=fill)
        self.image.alpha_composite(layer)

    def lines(self, paths: list[NDArray[np.float64]], colour: Colour, width: float, dash: float = 0.0) -> None:
        """Paths, each (n, 2); with `dash`, strokes and gaps of that length."""
        layer, draw = self._layer()
        for path in paths:
            for stroke in _dashes(path, dash) if dash else [path]:
                points = [(x * SCALE, y * SCALE) for x, y in stroke.tolist()]
                draw.line(points, fill=colour, width=max(1, round(width * SCALE)), joint="curve")
        self.image.alpha_composite(layer)

    def circles(self, centres: list[Xy], radius: float, fill: Colour, outline: Colour, width: float = 1.0) -> None:
        """Discs with an outline."""
        layer, draw = self._layer()
        for x, y in centres:
            draw.circle((x * SCALE, y * SCALE), radius * SCALE, fill, outline, round(width * SCALE))
        self.image.alpha_composite(layer)

    def box(self, left_top: Xy, right_bottom: Xy, fill: Colour, radius: float = 0.0) -> None:
        """A rectangle, its corners rounded."""
        layer, draw = self._layer()
        corners = [value * SCALE for value in (*left_top, *right_bottom)]
        draw.rounded_rectangle(corners, radius * SCALE, fill)
        self.image.alpha_composite(layer)

    def text(
        self,
        xy: Xy,
        text: str,
        size: float,
        colour: Colour,
        *,
        bold: bool = False,
        anchor: str = "la",
        halo: float = 0.0,
    ) -> None:
        """One line of text; `halo` is the width of a dark outline that keeps it readable on the map."""
        where = (xy[0] * SCALE, xy[1] * SCALE)
        halo_px = round(halo * SCALE)
        draw = ImageDraw.Draw(self.image)
        draw.text(where, drawable(text), colour, font(size, bold), anchor, stroke_width=halo_px, stroke_fill=INK)

    def paste(self, picture: Image.Image, left_top: Xy, size: tuple[float, float], radius: float = 0.0) -> None:
        """A picture resized to fit, its corners rounded."""
        wide, high = round(size[0] * SCALE), round(size[1] * SCALE)
        mask = Image.new("L", (wide, high), 0)
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, wide - 1, high - 1), radius * SCALE, 255)
        resized = picture.convert("RGB").resize((wide, high), Image.Resampling.LANCZOS)
        self.image.paste(resized, (round(left_top[0] * SCALE), round(left_top[1] * SCALE)), mask)

    def finished(self) -> Image.Image:
        """The sheet at its final size."""
        size = (self.image.width // SCALE, self.image.height // SCALE)
        return self.image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Width of a line of text in final pixels."""
    return font(size, bold).getlength(drawable(text)) / SCALE


def wrapped(text: str, size: float, width: float, max_lines: int, bold: bool = False) -> list[str]:
    """Text broken at spaces to a width in final pixels; what does not fit ends in an ellipsis."""
    lines: list[str] = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size, bold) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    kept = lines[:max_lines]
    if len(lines) > max_lines:
        kept[-1] += " …"
    return [shortened(line, size, width, bold) for line in kept]


def shortened(text: str, size: float, width: float, bold: bool = False) -> str:
    """Text cut to a width in final pixels, ending in an ellipsis if it was cut."""
    if text_width(text, size, bold) <= width:
        return text
    while text and text_width(text + "…", size, bold) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def drawable(text: str) -> str:
    """Text without the letters that Inter lacks: accents it does not know fall off, other scripts become `?`."""
    return "".join(char if _known(char) else _plain(char) for char in text)


def _plain(char: str) -> str:
    base = unicodedata.normalize("NFKD", char)[0]
    return base if _known(base) else "?"


@functools.cache
def _known(char: str) -> bool:
    face = font(20)
    return char.isspace() or bytes(face.getmask(char)) != bytes(face.getmask("\uffff"))


def _dashes(path: NDArray[np.float64], length: float) -> list[NDArray[np.float64]]:
    """A path cut into strokes of a length with gaps as long."""
    steps = np.hypot(*np.diff(path, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    starts = np.arange(0.0, along[-1], 2.0 * length)
    return [_stretch(path, along, start, min(start + length, along[-1])) for start in starts]


def _stretch(path: NDArray[np.float64], along: NDArray[np.float64], start: float, end: float) -> NDArray[np.float64]:
    inside = along[(along > start) & (along < end)]
    at = np.concatenate([[start], inside, [end]])
    return np.stack([np.interp(at, along, path[:, axis]) for axis in (0, 1)], axis=-1)
