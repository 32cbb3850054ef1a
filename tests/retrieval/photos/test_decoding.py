"""Every kind of image file becomes upright 8-bit RGB."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from retrieval.photos.photo import PhotoError, PhotoLimits, decode_photo
from tests.fakes.photo_files import noise

WIDTH, HEIGHT = 96, 64
RED, BLUE, WHITE = (200, 30, 30), (30, 30, 200), (255, 255, 255)


def two_halves() -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (WIDTH, HEIGHT), BLUE)
    ImageDraw.Draw(image).rectangle((0, 0, WIDTH // 2 - 1, HEIGHT), fill=RED)
    return image


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def colour_at(rgb: np.ndarray, x: float, y: float) -> tuple[int, ...]:
    height, width = rgb.shape[:2]
    return tuple(int(v) for v in rgb[int(y * height), int(x * width)])


def near(colour: tuple[int, ...], expected: tuple[int, ...], tolerance: int = 12) -> bool:
    return max(abs(a - b) for a, b in zip(colour, expected, strict=True)) <= tolerance


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_formats_decode_to_rgb(kind: str) -> None:
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    data = saved(two_halves(), kind)
    photo = decode_photo(data, "a.jpg")
    assert photo.rgb.shape == (HEIGHT, WIDTH, 3)
    assert photo.rgb.dtype == np.uint8
    assert near(colour_at(photo.rgb, 0.25, 0.5), RED)
    assert near(colour_at(photo.rgb, 0.75, 0.5), BLUE)
    assert photo.sha256 == hashlib.sha256(data).hexdigest()
    assert photo.id == f"photo-{photo.sha256[:12]}"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side: rotate 90° clockwise to show
    rgb = decode_photo(saved(two_halves(), kind, exif=exif), "a").rgb
    assert rgb.shape == (WIDTH, HEIGHT, 3)
    assert near(colour_at(rgb, 0.5, 0.25), RED)
    assert near(colour_at(rgb, 0.5, 0.75), BLUE)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB", "I", "F", "LA", "RGBA"])
def test_modes_decode(mode: str) -> None:
    source = two_halves().convert("L").convert(mode) if mode in ("I", "F", "LA") else _converted(mode)
    rgb = decode_photo(saved(source, "TIFF"), "a.tif").rgb
    assert rgb.shape == (HEIGHT, WIDTH, 3)
    left, right = colour_at(rgb, 0.25, 0.5), colour_at(rgb, 0.75, 0.5)
    assert left != right, "the halves must stay different"


def _converted(mode: str) -> Image.Image:
    if mode == "LAB":
        from PIL import ImageCms

        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        transform = ImageCms.buildTransformFromOpenProfiles(srgb, lab, "RGB", "LAB")
        converted = ImageCms.applyTransform(two_halves(), transform)
        assert converted is not None
        return converted
    if mode == "1":
        return two_halves().getchannel("R").point([0] * 128 + [255] * 128).convert("1")
    return two_halves().convert(mode)


def test_cmyk_jpeg_has_its_colours() -> None:
    rgb = decode_photo(saved(two_halves().convert("CMYK"), "JPEG", quality=95), "a.jpg").rgb
    assert near(colour_at(rgb, 0.25, 0.5), RED, 20)
    assert near(colour_at(rgb, 0.75, 0.5), BLUE, 20)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    grey = np.tile(np.linspace(0, 65535, WIDTH).astype(np.uint16), (HEIGHT, 1))
    rgb = decode_photo(saved(Image.fromarray(grey), kind), "a").rgb
    expected = np.round(grey / 257.0)
    assert np.abs(rgb[:, :, 0] - expected).max() <= 1
    assert np.array_equal(rgb[:, :, 0], rgb[:, :, 2])


def test_floating_point_with_holes_is_stretched() -> None:
    values = np.full((HEIGHT, WIDTH), 3.0, np.float32)
    values[:, : WIDTH // 2] = -1.0
    values[0, 0] = np.nan
    rgb = decode_photo(saved(Image.fromarray(values), "TIFF"), "a.tif").rgb
    assert colour_at(rgb, 0.25, 0.5) == (0, 0, 0)
    assert colour_at(rgb, 0.75, 0.5) == WHITE


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    image = two_halves().convert(mode)
    image.putalpha(0)
    assert colour_at(decode_photo(saved(image, "PNG"), "a.png").rgb, 0.5, 0.5) == WHITE


def test_transparent_palette_is_laid_on_white() -> None:
    image = two_halves().convert("P")
    rgb = decode_photo(saved(image, "PNG", transparency=image.getpixel((0, 0))), "a.png").rgb
    assert colour_at(rgb, 0.25, 0.5) == WHITE
    assert near(colour_at(rgb, 0.75, 0.5), BLUE, 30)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_is_its_first_frame(kind: str) -> None:
    later = Image.new("RGB", (WIDTH, HEIGHT), (0, 255, 0))
    rgb = decode_photo(saved(two_halves(), kind, save_all=True, append_images=[later]), "a").rgb
    assert near(colour_at(rgb, 0.25, 0.5), RED, 40)


def test_large_photos_are_scaled_down_and_small_ones_kept() -> None:
    limits = PhotoLimits(long_side_px=1600)
    large = decode_photo(saved(two_halves().resize((4000, 3000)), "JPEG"), "a.jpg", limits=limits).rgb
    assert large.shape == (1200, 1600, 3)
    assert near(colour_at(large, 0.25, 0.5), RED)
    assert decode_photo(saved(two_halves(), "PNG"), "a.png", limits=limits).rgb.shape == (HEIGHT, WIDTH, 3)


def test_damaged_files_raise_photo_error_only() -> None:
    """Flip and cut bytes of every format: either a picture or one clear line."""
    rng = np.random.default_rng(7)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    noise = Image.fromarray(rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8))
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF"):
        whole = saved(noise, kind, exif=exif)
        for _ in range(60):
            data = bytearray(whole)
            for position in rng.integers(0, min(len(data), 400), 6):
                data[position] = rng.integers(0, 256)
            _one_line_or_a_picture(bytes(data[: rng.integers(1, len(data) + 1)]))


def _one_line_or_a_picture(data: bytes) -> None:
    message = ""
    try:
        assert decode_photo(data, "a").rgb.ndim == 3
    except PhotoError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 250


def test_pillow_does_not_warn(recwarn: pytest.WarningsRecorder) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    broken = bytearray(saved(two_halves(), "TIFF", exif=exif))
    broken[-30:] = b"\xff" * 30
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _one_line_or_a_picture(bytes(broken))
        huge = PhotoLimits(max_megapixels=200.0)
        decode_photo(saved(Image.new("1", (9600, 9600)), "PNG"), "a.png", limits=huge)
    assert not recwarn.list


def test_truncated_jpeg_is_refused() -> None:
    data = saved(two_halves().resize((400, 300)), "JPEG")
    with pytest.raises(PhotoError, match="is damaged and cannot be decoded"):
        decode_photo(data[: len(data) // 2], "a.jpg")


def test_names_are_made_printable() -> None:
    photo = decode_photo(saved(two_halves(), "PNG"), os.fsdecode(b"caf\xc3\xa9 \xff\x1b[31m.png"))
    assert photo.name == "café ��[31m.png"


def test_a_damaged_tiff_is_one_error_and_no_line_of_libtiff(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(saved(noise(3), "TIFF", compression="tiff_lzw"))
    data[2000:6000] = bytes(255 - byte for byte in data[2000:6000])
    with pytest.raises(PhotoError, match="damaged"):
        decode_photo(bytes(data), "a.tif")
    assert capfd.readouterr() == ("", "")
