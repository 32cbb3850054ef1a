"""Metadata is read, kept apart, and never stops a photo."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from retrieval.photos.photo import Photo, PhotoMetadata, decode_photo
from retrieval.photos.store import PhotoStore

PARIS = {1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 40.0)}


def photo_with(gps: dict[int, Any], detail: dict[int, Any] | None = None, top: dict[int, Any] | None = None) -> Photo:
    exif = Image.Exif()
    exif.get_ifd(0x8825).update(gps)
    exif.get_ifd(0x8769).update(detail or {})
    exif.update(top or {})
    stream = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stream, "JPEG", exif=exif)
    return decode_photo(stream.getvalue(), "a.jpg")


def metadata_of(gps: dict[int, Any]) -> PhotoMetadata | None:
    return photo_with(gps).metadata


@pytest.mark.parametrize(
    ("north_south", "east_west", "signs"),
    [("N", "E", (1, 1)), ("S", "E", (-1, 1)), ("N", "W", (1, -1)), ("S", "W", (-1, -1))],
)
def test_references_give_the_sign(north_south: str, east_west: str, signs: tuple[int, int]) -> None:
    found = metadata_of({**PARIS, 1: north_south, 3: east_west})
    assert found is not None
    assert found.position is not None
    assert found.position.lat == pytest.approx(signs[0] * 48.858333)
    assert found.position.lon == pytest.approx(signs[1] * 2.294444)


@pytest.mark.parametrize(
    "gps",
    [
        {**PARIS, 2: (IFDRational(48, 0), 51.0, 30.0)},
        {**PARIS, 2: (91.0, 0.0, 0.0)},
        {**PARIS, 4: (180.0, 0.0, 1.0)},
        {**PARIS, 2: (48.0, 51.0)},
        {key: value for key, value in PARIS.items() if key != 1},
        {**PARIS, 3: "X"},
        {**PARIS, 9: "V"},
        {},
    ],
    ids=[
        "zero denominator",
        "beyond the pole",
        "beyond 180",
        "two parts",
        "no reference",
        "bad reference",
        "no fix",
        "none",
    ],
)
def test_a_position_that_is_not_one_is_missing(gps: dict[int, Any]) -> None:
    assert metadata_of(gps) is None


def test_zero_zero_is_a_place() -> None:
    found = metadata_of({**PARIS, 2: (0.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)})
    assert found is not None
    assert found.position is not None
    assert (found.position.lat, found.position.lon) == (0.0, 0.0)


def test_time_and_camera() -> None:
    detail = {36867: "2019:07:14 09:05:06", 36881: "+02:00"}
    found = photo_with({}, detail, {271: "Canon\0 ", 272: "Canon EOS R5"}).metadata
    assert found == PhotoMetadata(None, "2019-07-14T09:05:06+02:00", "Canon EOS R5")
    assert photo_with({}, {36867: "0000:00:00 00:00:00"}).metadata is None


def test_metadata_is_kept_apart() -> None:
    photo = photo_with(PARIS)
    assert "48" not in repr(photo)
    bare = photo.without_metadata()
    assert bare.metadata is None
    assert bare.id == photo.id
    assert photo.crop(0.0, 0.0, 0.5, 0.5).metadata is None


def test_the_shelf_hands_out_photos_without_metadata_and_forgets_the_oldest() -> None:
    photo_store = PhotoStore(capacity=2)
    photos = [photo_with({**PARIS, 2: (float(i), 0.0, 0.0)}) for i in range(3)]
    first, second = (photo_store.add(photo) for photo in photos[:2])
    assert photo_store.get(first).metadata is None
    third = photo_store.add(photos[2])
    assert photo_store.ids() == (first, third), "the second was used least recently"
    with pytest.raises(KeyError):
        photo_store.get(second)
    photo_store.discard(first)
    photo_store.discard(first)
    assert photo_store.ids() == (third,)
