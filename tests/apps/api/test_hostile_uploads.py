"""Uploads that mean harm: each gets its status, nothing of it is opened or kept, and the server goes on."""

from __future__ import annotations

import io
import socket
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image

from apps.api.app import create_app
from apps.service.access import ApiKeys
from tests.fakes.photo_files import BAD, ODD_BUT_GOOD, jpeg, png_header_of
from tests.fakes.services import listening, service

PHOTO_BYTES = 300_000

NO_PHOTOS: dict[str, bytes] = {
    "nothing of a photo": b"This is not a photo.\n" * 50,
    "zeros": b"\0" * 5000,
    "an SVG that names a file": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "an SVG with entities": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>',
    "HTML": b"<html><script>alert(1)</script></html>",
    "PDF": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n%%EOF",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n(/etc/passwd) (r) file\n",
    "a URL": b"http://169.254.169.254/latest/meta-data/",
    "a path": b"/etc/passwd",
    "an ImageMagick script": b"push graphic-context\nimage over 0,0 0,0 'https://127.0.0.1/x'\npop graphic-context",
    "pickle": b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    "ELF": b"\x7fELF\x02\x01\x01" + b"\0" * 200,
    "zip": b"PK\x03\x04" + b"\0" * 200,
    "gzip": b"\x1f\x8b\x08" + b"\0" * 200,
    "BMP, which is not taken": b"BM" + b"\0" * 200,
    "ICO, which is not taken": b"\0\0\1\0\1\0" + b"\0" * 200,
    "PPM, which is not taken": b"P6 64 64 255\n" + b"\0" * (64 * 64 * 3),
    "an MP4 film": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + b"\0" * 200,
    "only JPEG's first bytes": b"\xff\xd8\xff",
    "only PNG's first bytes": b"\x89PNG\r\n\x1a\n",
    "only GIF's first bytes": b"GIF89a",
    "only WebP's first bytes": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    "only TIFF's first bytes": b"II*\0\x08\0\0\0",
    "only HEIC's first bytes": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "only AVIF's first bytes": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf",
}

NAMES = (
    *("../../../../etc/passwd", "/etc/passwd", "C:\\Windows\\win.ini", "http://127.0.0.1/x.jpg", "file:///etc/passwd"),
    *("a\0b.jpg", "\u202egpj.exe", "<script>alert(1)</script>.jpg", "a" * 5000 + ".jpg", "'; DROP TABLE threads; --"),
    *("$(touch x).jpg", "|touch x", "%00.jpg", "con.jpg", ".", "..", " "),
)


def tiff_loop() -> bytes:
    """A TIFF whose directory names itself as the next."""
    return b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 256, 4, 1, 64) + struct.pack("<I", 8)


def png_bomb_in_text() -> bytes:
    """A PNG with a text chunk that unpacks to 40 MB."""
    out = io.BytesIO()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(out, "PNG")
    data = out.getvalue()
    body = b"zTXtcomment\0\0" + zlib.compress(b"\0" * 40_000_000)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    limits: dict[str, Any] = {
        "photo_bytes": PHOTO_BYTES,
        "place_bytes": PHOTO_BYTES,
        "photo_megapixels": 20.0,
        "requests_per_minute": 10_000,
    }
    with (
        service(tmp_path_factory.mktemp("home"), **limits) as opened,
        listening(create_app(opened, ApiKeys({}))) as url,
    ):
        yield url


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server}/v1", trust_env=False, timeout=120) as one:
        yield one


@pytest.fixture(autouse=True)
def _goes_on(server: str) -> Iterator[None]:
    yield
    assert httpx.get(f"{server}/readyz", trust_env=False, timeout=60).status_code == 200


def status(response: httpx.Response) -> int:
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        assert "Traceback" not in response.text
        assert "/root" not in response.text
    return response.status_code


def sent(client: httpx.Client, data: bytes, name: str = "a.jpg") -> int:
    return status(client.post("/locate", files={"photo": (name, data, "image/jpeg")}))


@pytest.mark.parametrize("kind", NO_PHOTOS)
def test_what_is_no_photo_is_told_so(client: httpx.Client, kind: str) -> None:
    assert sent(client, NO_PHOTOS[kind]) in (415, 422)


def test_damaged_and_oversized_photos(client: httpx.Client, tmp_path: Path) -> None:
    statuses = {kind: sent(client, make(tmp_path / name).read_bytes(), name) for kind, (name, make) in BAD.items()}
    assert statuses == {
        "empty file": 422,
        "truncated JPEG": 422,
        "text named .jpg": 415,
        "decompression bomb": 413,
        "20,000 x 20,000": 413,
        "1 x 1": 422,
    }
    assert sent(client, png_header_of(20_000, 20, tmp_path / "wide.png").read_bytes()) == 422
    assert sent(client, tiff_loop()) in (415, 422)
    assert sent(client, png_bomb_in_text()) in (200, 422)


def test_flipped_bytes_in_every_format(client: httpx.Client, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF"):
        file = tmp_path / "photo"
        Image.open(jpeg(tmp_path / "a.jpg")).save(file, kind)
        data = bytearray(file.read_bytes())
        for at in random.integers(0, len(data), 30):
            data[at] = random.integers(0, 256)
        assert sent(client, bytes(data)) in (200, 413, 415, 422), kind


def test_odd_photos_are_taken(client: httpx.Client, tmp_path: Path) -> None:
    for kind, (name, make) in list(ODD_BUT_GOOD.items())[:3]:
        assert sent(client, make(tmp_path / name).read_bytes(), name) == 200, kind


@pytest.mark.parametrize("name", NAMES)
def test_a_name_opens_nothing(client: httpx.Client, name: str) -> None:
    answer = client.post("/locate", files={"photo": (name, b"no photo")})
    assert status(answer) in (400, 415, 422)
    assert "root:" not in answer.text


def test_a_field_that_names_a_file_or_a_site_is_no_photo(client: httpx.Client) -> None:
    for text in ("/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:1/x.jpg", "@/etc/passwd"):
        assert status(client.post("/locate", data={"photo": text})) == 422
        assert status(client.post("/locate", json={"photo": text})) == 422


def test_bodies_that_are_too_large_or_no_forms(client: httpx.Client) -> None:
    assert sent(client, b"\xff\xd8\xff" + b"\0" * (PHOTO_BYTES + 1)) == 413
    assert sent(client, b"\xff\xd8\xff" + b"\0" * (PHOTO_BYTES + 2_000_000)) == 413

    def chunks() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'
        for _ in range(300):
            yield b"\0" * 10_000

    form = {"content-type": "multipart/form-data; boundary=x"}
    assert status(client.post("/locate", content=chunks(), headers=form)) == 413
    for body, kind in (
        (b"--x\r\nnonsense", form),
        (b"", {"content-type": "multipart/form-data"}),
        (b"\xff\xfe{", {"content-type": "application/json"}),
        (b"--x--\r\n" * 1000, form),
        (b"--x\r\n" + b"A: b\r\n" * 5000 + b"\r\n", form),
    ):
        assert status(client.post("/locate", content=body, headers=kind)) in (400, 422)
    many = [("photo", ("a.jpg", b"x")) for _ in range(1100)]
    assert status(client.post("/locate", files=many)) in (400, 422)
    deep = client.post("/threads", content=b"[" * 100_000, headers={"content-type": "application/json"})
    assert status(deep) in (400, 422)


def test_zips_that_mean_harm(client: httpx.Client) -> None:
    def packed(write: Callable[[zipfile.ZipFile], None]) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            write(archive)
        return out.getvalue()

    def job(data: bytes) -> int:
        return status(client.post("/jobs", files={"files": ("photos.zip", data)}))

    assert job(packed(lambda archive: archive.writestr("bomb.jpg", b"\0" * 50_000_000))) == 413
    assert job(packed(lambda archive: archive.writestr("notes.txt", b"x"))) == 422
    assert job(b"PK\x03\x04" + b"\0" * 1000) == 422
    assert job(packed(lambda archive: archive.writestr("../../../etc/cron.d/x.jpg", b"no photo"))) == 202
    assert not client.get("/jobs").json()[1:]


def hostile_upload(number: int, photos: list[bytes], pixel_bomb: bytes, packed_bomb: bytes) -> tuple[bytes, set[int]]:
    """A form's body and the statuses that are right for it: another kind, file and name for each number."""
    random = np.random.default_rng(number)
    kind, name = number % 6, NAMES[number % len(NAMES)].encode("utf-8", "replace")
    data = bytearray(photos[number // 6 % len(photos)])
    statuses = {200, 413, 415, 422}
    match kind:
        case 0:  # bytes flipped, the header's among them
            for at in random.integers(0, len(data), 40):
                data[at] = random.integers(0, 256)
        case 1:  # cut off
            data, statuses = data[: int(random.integers(1, len(data) // 2))], {200, 415, 422}
        case 2:  # another format's first bytes before noise
            first = NO_PHOTOS[list(NO_PHOTOS)[number % len(NO_PHOTOS)]][:12]
            data, statuses = bytearray(first + random.bytes(3000)), {415, 422}
        case 3:
            data, statuses = bytearray(pixel_bomb), {413}
        case 4:
            data, statuses = bytearray(packed_bomb), {415}
    head = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="' + name + b'"\r\n'
    body = head + b"Content-Type: image/jpeg\r\n\r\n" + bytes(data) + b"\r\n--x--\r\n"
    if kind == 5:  # the form itself breaks off
        body, statuses = body[: int(random.integers(1, len(body) - 8))], {400, 422}
    return body, statuses | {400} if b"\0" in name or len(name) > 1000 else statuses


def test_two_hundred_hostile_uploads_get_their_statuses(client: httpx.Client, tmp_path: Path) -> None:
    bombs = png_header_of(20_000, 20_000, tmp_path / "bomb.png").read_bytes(), zip_bomb()
    photos = []
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF"):
        out = io.BytesIO()
        Image.open(jpeg(tmp_path / "a.jpg")).save(out, kind)
        photos.append(out.getvalue())
    got: Counter[int] = Counter()
    for number in range(200):
        body, statuses = hostile_upload(number, photos, *bombs)
        form = {"content-type": "multipart/form-data; boundary=x"}
        answer = client.post("/locate", content=body, headers=form)
        assert status(answer) in statuses, (number, answer.text[:300])
        got[answer.status_code] += 1
    print(f"200 hostile uploads: {dict(sorted(got.items()))}")
    assert sent(client, photos[0]) == 200


def zip_bomb() -> bytes:
    """A zip that unpacks to 50 MB."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.jpg", b"\0" * 50_000_000)
    return out.getvalue()


def test_a_request_that_stops_halfway_holds_up_nobody(server: str, client: httpx.Client, tmp_path: Path) -> None:
    at = urlsplit(server)
    begun = b"POST /v1/locate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    sockets = [socket.create_connection((str(at.hostname), at.port or 0)) for _ in range(20)]
    try:
        for number, one in enumerate(sockets):
            one.sendall(begun[: 20 + number * 5] if number % 2 else begun + b"Content-Length: 1000\r\n\r\n--x\r\n")
        assert sent(client, jpeg(tmp_path / "a.jpg").read_bytes()) == 200
    finally:
        for one in sockets:
            one.close()
