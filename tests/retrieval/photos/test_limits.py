"""Bad input: one clear line each, and nothing large is ever decoded."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from core.errors import UserError
from retrieval.photos.photo import PhotoError, PhotoLimits, decode_photo, load_photo, photo_paths

ROOT = Path(__file__).parents[3]


def png(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (10, 120, 200)).save(stream, "PNG")
    return stream.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims a size without holding it: a decoder that trusts it would allocate 3 bytes a pixel."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_photo_error_is_for_the_user() -> None:
    assert issubclass(PhotoError, UserError)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"this is a letter, not a photo\n" * 40, "is not a JPEG, PNG, WebP, HEIC, AVIF, TIFF or GIF image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n", "is not a JPEG"),
        (bomb(20_000, 20_000), "far too many pixels"),
        (bomb(12_000, 12_000), "12000x12000 pixels .144 megapixels.; the limit is 120"),
        (png(1, 1), "1x1 pixels are too few .* at least 32"),
        (png(31, 400), "too few"),
        (png(40, 4000), "too few"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "is not a|is damaged"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 64, "is not a|is damaged"),
    ],
)
def test_bad_bytes_are_refused_in_one_line(data: bytes, message: str) -> None:
    with pytest.raises(PhotoError, match=rf"^photo\.jpg: .*({message})") as caught:
        decode_photo(data, "photo.jpg")
    assert "\n" not in str(caught.value)


def test_limits_are_settings() -> None:
    with pytest.raises(PhotoError, match=r"larger than the limit of 0\.0001 MB"):
        decode_photo(png(64, 64) + b"\0" * 200, "a.png", limits=PhotoLimits(max_bytes=100))
    assert decode_photo(png(16, 16), "a.png", limits=PhotoLimits(min_side_px=16)).rgb.shape == (16, 16, 3)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="no such file"):
        load_photo(tmp_path / "missing.jpg")
    with pytest.raises(PhotoError, match="is a folder, not a photo"):
        load_photo(tmp_path)
    with pytest.raises(PhotoError, match="not a usable path"):
        load_photo("nul\0byte.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(PhotoError, match="is not a regular file"):
        load_photo(tmp_path / "pipe.jpg")
    (tmp_path / "large.jpg").write_bytes(b"x" * 1001)
    with pytest.raises(PhotoError, match="larger than the limit"):
        load_photo(tmp_path / "large.jpg", limits=PhotoLimits(max_bytes=1000))


@pytest.fixture
def nobody() -> Iterator[None]:
    """Give up root's rights, which ignore permissions, for one test."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_a_file_without_permission(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    closed = tmp_path / "closed.jpg"
    closed.write_bytes(png(64, 64))
    closed.chmod(0)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    request.getfixturevalue("nobody")
    with pytest.raises(PhotoError, match="cannot be read: permission denied"):
        load_photo(closed)


def test_non_ascii_names(tmp_path: Path) -> None:
    path = tmp_path / "Фото — 東京 🗼.PNG"
    path.write_bytes(png(64, 64))
    assert load_photo(path).name == "Фото — 東京 🗼.PNG"
    assert load_photo(str(path)).rgb.shape == (64, 64, 3)


def test_folders_are_walked_in_order(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "b/1.heic", "a.tiff", "notes.txt", ".hidden.jpg", "b/c/3.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    single = tmp_path / "notes.txt"
    found = photo_paths([single, tmp_path, tmp_path / "b", str(tmp_path / "gone.jpg")])
    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["notes.txt", "a.tiff", "b/1.heic", "b/2.JPG", "b/c/3.webp", "gone.jpg"]


def test_a_folder_without_photos(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(PhotoError, match="no photos here"):
        photo_paths([tmp_path])


def test_crops(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[:50, 100:] = (250, 0, 0)
    Image.fromarray(pixels).save(path)
    photo = load_photo(path)
    part = photo.crop(0.5, 0.0, 1.0, 0.5)
    assert part.rgb.shape == (50, 100, 3)
    assert (part.rgb == (250, 0, 0)).all()
    assert part.id != photo.id
    assert part.id == photo.crop(0.5, 0.0, 1.0, 0.5).id
    with pytest.raises(PhotoError, match="left < right"):
        photo.crop(0.5, 0.0, 0.5, 1.0)
    with pytest.raises(PhotoError, match="too small to look at"):
        photo.crop(0.0, 0.0, 0.05, 0.05)


_PEAK = """
import resource, sys
from retrieval.photos.photo import load_photo
load_photo(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize(("mode", "bytes_a_pixel"), [("RGBA", 4), ("L", 1), ("1", 1)])
def test_memory_is_that_of_the_decoded_pixels(mode: str, bytes_a_pixel: int, tmp_path: Path) -> None:
    small, large, megapixels = tmp_path / "small.png", tmp_path / "large.png", 48
    Image.new(mode, (64, 64)).save(small)
    Image.new(mode, (8000, 6000)).save(large, compress_level=1)
    command = [sys.executable, "-c", _PEAK]
    peaks_kb = [int(subprocess.check_output([*command, str(file)], cwd=ROOT)) for file in (small, large)]
    assert (peaks_kb[1] - peaks_kb[0]) * 1024 < (megapixels * bytes_a_pixel + 100) * 1e6


def test_formats_that_take_more_memory_a_pixel_are_limited_by_it() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (400, 300)).save(stream, "WEBP")
    limits = PhotoLimits(max_decoded_bytes=1_000_000)
    with pytest.raises(PhotoError, match=r"megapixels of WEBP take .* to decode; the limit is"):
        decode_photo(stream.getvalue(), "a.webp", limits=limits)
    assert decode_photo(png(400, 300), "a.png", limits=limits).rgb.shape == (300, 400, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("long_side_px", [5000, 1000])
def test_strips_give_the_pixels_of_the_whole(orientation: int, long_side_px: int) -> None:
    rng = np.random.default_rng(0)
    whole = Image.fromarray(rng.integers(0, 256, (1100, 5000, 3), dtype=np.uint8))
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    whole.save(stream, "PNG", exif=exif, compress_level=1)
    expected = ImageOps.exif_transpose(Image.open(stream))
    expected.thumbnail((long_side_px, long_side_px), Image.Resampling.BICUBIC, reducing_gap=2.0)
    found = decode_photo(stream.getvalue(), "a.png", limits=PhotoLimits(long_side_px=long_side_px)).rgb
    difference = np.abs(found.astype(int) - np.asarray(expected).astype(int))
    assert difference.max() <= (0 if long_side_px == 5000 else 2)
