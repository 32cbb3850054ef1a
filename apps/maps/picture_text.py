"""Text for a picture: the font, lines of a width, and letters that the font lacks."""

from __future__ import annotations

import functools
import unicodedata
from importlib import resources

from PIL import ImageFont


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
