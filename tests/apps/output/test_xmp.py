"""A copy of a photo that says where it may have been taken, and that this is an estimate."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from PIL import Image

from apps.output.xmp import METHOD, jpeg_with_estimate, xmp_packet
from core.errors import UserError
from tests.fakes.answers import abstained, answered, at, hostile
from tests.fakes.photo_files import noise


def png() -> bytes:
    out = io.BytesIO()
    noise(1).save(out, "PNG")
    return out.getvalue()


def fields(packet: bytes) -> dict[str, Any]:
    root = ET.fromstring(packet.split(b"?>", 1)[1].rsplit(b"<?xpacket", 1)[0])  # noqa: S314 - our own
    return {node.tag.split("}")[-1]: node.text for node in root.iter()}


def test_position_radius_and_place_are_marked_as_an_estimate() -> None:
    found = fields(xmp_packet(answered(point=at(-33.8568, 151.2153), radius_50_km=2.0, radius_90_km=9.5)))
    assert found["GPSLatitude"] == "33,51.4080S"
    assert found["GPSLongitude"] == "151,12.9180E"
    assert found["GPSProcessingMethod"] == METHOD
    assert found["GPSHPositioningError"] == "9500"
    assert found["status"] == "estimate"
    assert found["radius50Km"] == "2"
    assert found["City"]
    assert found["CountryName"] == "China"


def test_the_copy_has_the_packet_and_no_other_metadata() -> None:
    with Image.open(io.BytesIO(jpeg_with_estimate(png(), answered()))) as copy:
        assert copy.format == "JPEG"
        assert copy.size == (96, 64)
        assert METHOD.encode() in copy.info["xmp"]
        assert not copy.getexif()


def test_hostile_names_stay_text() -> None:
    packet = xmp_packet(hostile())
    assert b"<img" not in packet
    assert fields(packet)["status"] == "estimate"


def test_an_abstention_has_nothing_to_write() -> None:
    with pytest.raises(UserError, match="no position"):
        jpeg_with_estimate(png(), abstained())
