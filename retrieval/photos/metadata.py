"""The metadata of a photo's file, read defensively from EXIF (CIPA DC-008).

A broken field is a missing field: metadata never stops a photo from being decoded.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image

from geo.point import Point

BROKEN_EXIF = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)
"""What Pillow and this module raise on malformed EXIF."""

_TAKEN = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET = re.compile(r"[+-]\d\d:\d\d")


@dataclass(frozen=True)
class PhotoMetadata:
    """The metadata of a photo's file. Nothing downstream sees it unless the user allows it.

    Attributes:
        position: from EXIF; None unless both references and a fix are there.
        taken_at: local time as ISO 8601, with the offset from UTC where the file gives one.
    """

    position: Point | None = None
    taken_at: str | None = None
    camera: str | None = None


def read_metadata(image: Image.Image) -> PhotoMetadata | None:
    """Metadata of an opened image; None where the file has none that can be read."""
    try:
        exif = image.getexif()
        gps, detail = dict(exif.get_ifd(ExifTags.IFD.GPSInfo)), dict(exif.get_ifd(ExifTags.IFD.Exif))
    except BROKEN_EXIF:
        return None
    found = PhotoMetadata(_position(gps), _taken_at(exif, detail), _camera(exif))
    return found if found != PhotoMetadata() else None


def _position(gps: dict[int, Any]) -> Point | None:
    if _text(gps.get(ExifTags.GPS.GPSStatus)) == "V":  # the receiver had no fix
        return None
    lat = _degrees(gps.get(ExifTags.GPS.GPSLatitude), gps.get(ExifTags.GPS.GPSLatitudeRef), "NS", 90.0)
    lon = _degrees(gps.get(ExifTags.GPS.GPSLongitude), gps.get(ExifTags.GPS.GPSLongitudeRef), "EW", 180.0)
    return Point(lat=lat, lon=lon) if lat is not None and lon is not None else None


def _degrees(dms: object, reference: object, positive_negative: str, limit_deg: float) -> float | None:
    """Degrees, minutes and seconds as signed degrees; None without a reference, or out of range."""
    sign = {positive_negative[0]: 1.0, positive_negative[1]: -1.0}.get(_text(reference).upper())
    if sign is None or not isinstance(dms, tuple) or len(dms) != 3:
        return None
    try:
        degrees, minutes, seconds = (float(part) for part in dms)
    except BROKEN_EXIF:
        return None
    total = degrees + minutes / 60.0 + seconds / 3600.0  # nan where a denominator is zero
    return sign * total if math.isfinite(total) and 0.0 <= total <= limit_deg else None


def _taken_at(exif: Image.Exif, detail: dict[int, Any]) -> str | None:
    text = _text(detail.get(ExifTags.Base.DateTimeOriginal)) or _text(exif.get(ExifTags.Base.DateTime))
    match = _TAKEN.fullmatch(text)
    if match is None or match.group(1) == "0000":
        return None
    year, month, day, hour, minute, second = match.groups()
    offset = _text(detail.get(ExifTags.Base.OffsetTimeOriginal))
    return f"{year}-{month}-{day}T{hour}:{minute}:{second}" + (offset if _OFFSET.fullmatch(offset) else "")


def _camera(exif: Image.Exif) -> str | None:
    make, model = _text(exif.get(ExifTags.Base.Make)), _text(exif.get(ExifTags.Base.Model))
    parts = [model] if model.startswith(make) else [make, model]
    return " ".join(part for part in parts if part) or None


def _text(value: object) -> str:
    """A tag's text without padding; empty where the tag is missing or not text."""
    if isinstance(value, bytes):
        value = value.decode("ascii", errors="replace")
    return value.strip("\0 \t\r\n") if isinstance(value, str) else ""
