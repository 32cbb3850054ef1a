"""Photo files, good and bad."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def noise(seed: int = 0, width: int = 96, height: int = 64) -> Image.Image:
    """A random picture, another one for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(file: Path, seed: int = 0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    noise(seed).save(file, "JPEG")
    return file


def truncated_jpeg(file: Path) -> Path:
    jpeg(file)
    file.write_bytes(file.read_bytes()[:400])
    return file


def text_named_jpg(file: Path) -> Path:
    file.write_text("This is not a photo.\n" * 20)
    return file


def empty_file(file: Path) -> Path:
    file.touch()
    return file


def png_header_of(width: int, height: int, file: Path) -> Path:
    """A PNG of a few bytes that claims a size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    chunks = (header, data, b"IEND")
    body = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return file


def bomb(file: Path) -> Path:
    """A few bytes that claim 60,000 x 60,000 pixels."""
    return png_header_of(60_000, 60_000, file)


def huge(file: Path) -> Path:
    """A real picture of 20,000 x 20,000 pixels."""
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    return file


def one_pixel(file: Path) -> Path:
    Image.new("RGB", (1, 1)).save(file, "PNG")
    return file


BAD: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "empty file": ("empty.jpg", empty_file),
    "truncated JPEG": ("cut.jpg", truncated_jpeg),
    "text named .jpg": ("text.jpg", text_named_jpg),
    "decompression bomb": ("bomb.png", bomb),
    "20,000 x 20,000": ("huge.png", huge),
    "1 x 1": ("one.png", one_pixel),
}


def cmyk(file: Path) -> Path:
    noise(1).convert("CMYK").save(file, "JPEG")
    return file


def sixteen_bit(file: Path) -> Path:
    grey = np.asarray(noise(2).convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(file, "PNG")
    return file


def palette(file: Path) -> Path:
    noise(3).convert("P").save(file, "PNG", transparency=0)
    return file


def animated(file: Path) -> Path:
    noise(4).save(file, "GIF", save_all=True, append_images=[noise(5), noise(6)])
    return file


ODD_BUT_GOOD: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "CMYK": ("cmyk.jpg", cmyk),
    "16-bit": ("sixteen.png", sixteen_bit),
    "palette": ("palette.png", palette),
    "animated": ("moving.gif", animated),
    "non-ASCII name": ("頤和園 été 🏯.jpg", jpeg),
}


def torn_between_prague_and_warsaw(file: Path, photo: Path) -> Path:
    """A recorded model's answers: of one photo it says that it was taken in either city."""
    places = [("Prague, Czechia", 50.08, 14.43, 0.7), ("Warsaw, Poland", 52.23, 21.01, 0.3)]
    rows = [{"name": n, "lat": lat, "lon": lon, "radius_km": 5.0, "confidence": c} for n, lat, lon, c in places]
    sha256 = hashlib.sha256(photo.read_bytes()).hexdigest()
    file.write_text(json.dumps({"photo_sha256": sha256, "response": json.dumps({"hypotheses": rows})}) + "\n")
    return file
