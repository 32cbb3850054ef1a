"""Fetching benchmarks from a real server on this machine: ranges, kills, checksums, hostile archives."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.progress import Progress

from core.errors import UserError
from evals import fetch
from evals.benchmarks.archives import unpack
from evals.benchmarks.registry import BENCHMARKS, Benchmark, SourceFile
from tests.fakes.services.file_server import FileServer

CONTENT = bytes(range(256)) * 4096  # 1 MiB that differs everywhere


@pytest.fixture
def server() -> Iterator[FileServer]:
    made = FileServer()
    yield made
    made.close()


HOSTILE = ("../outside.jpg", "/outside.jpg", "a/../../outside.jpg", "run.sh", "__MACOSX/a.jpg", "..\\outside.jpg")


def as_zip(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        for name, data in files.items():
            made.writestr(name, data)
    return stream.getvalue()


def as_tar(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as made:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        made.addfile(link)
    return stream.getvalue()


@pytest.mark.parametrize("pack", [as_zip, as_tar])
def test_only_photos_and_tables_leave_an_archive_and_only_inwards(
    tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    archive, folder = tmp_path / "a.archive", tmp_path / "in" / "photos"
    archive.write_bytes(pack({"set/a.jpg": b"photo", "set/b.csv": b"table", **dict.fromkeys(HOSTILE, b"x")}))
    assert unpack(archive, folder) == 2
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"a.archive", "in/photos/set/a.jpg", "in/photos/set/b.csv"}
    assert unpack(archive, folder) == 2, "again changes nothing"


def test_a_damaged_archive_is_reported(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(as_zip({f"{i}.jpg": CONTENT for i in range(3)})[:-200])
    with pytest.raises(UserError, match="fetch it again"):
        unpack(archive, tmp_path / "photos")


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(["", "gz", "xz", "bz2"]), at=st.floats(0.0, 1.0, exclude_max=True), flip=st.integers(1, 255)
)
def test_a_tar_with_a_flipped_byte_is_refused_or_read_whole(kind: str, at: float, flip: int) -> None:
    photos = {f"{number}.jpg": bytes([number]) * 3000 + CONTENT for number in range(5)}
    ways: dict[str, Callable[[bytes], bytes]] = {
        "": bytes,
        "gz": gzip.compress,
        "xz": lzma.compress,
        "bz2": bz2.compress,
    }
    damaged = bytearray(ways[kind](as_tar(photos)))
    damaged[int(at * len(damaged))] ^= flip
    with TemporaryDirectory() as made:
        archive, folder = Path(made) / "a.tar", Path(made) / "photos"
        archive.write_bytes(damaged)
        try:
            taken = unpack(archive, folder)
        except UserError:
            return
        if kind:  # a plain tar has no checksum of its members' bytes
            assert taken == len(photos)
            assert {name: (folder / name).read_bytes() for name in photos} == photos


def small_benchmark(server: FileServer, urls: tuple[str, ...]) -> Benchmark:
    common = {"page": "https://example.org/photos", "megabytes": 0.1, "origin": "made up"}
    photos = SourceFile(file="photos.zip", urls=urls, unpack_to="images", md5_url=f"{server.url}/md5.txt", **common)
    table = SourceFile(file="truth.csv", urls=(f"{server.url}/truth.csv",), **common)
    return Benchmark(name="small", summary="", expected=2, files=(photos, table), licence="none", citation="none")


def test_fetching_ends_with_a_complete_benchmark(server: FileServer, client: httpx.Client, tmp_path: Path) -> None:
    archive = as_zip({"a_1.jpg": b"1", "b_2.jpg": b"2"})
    server.files = {
        "/photos.zip": archive,
        "/md5.txt": f"{hashlib.md5(archive, usedforsecurity=False).hexdigest()}  photos.zip\n".encode(),
        "/truth.csv": b"IMG_ID,LAT,LON\n1.jpg,1.5,2.5\n2.jpg,3,4\n",
    }
    benchmark = small_benchmark(server, (f"{server.url}/gone.zip", f"{server.url}/photos.zip"))
    with Progress(disable=True) as bars:
        to_do = fetch.fetch(benchmark, tmp_path / "small", client, bars, pause_s=0.0)
        assert to_do == []
        asked = len(server.asked)
        assert fetch.fetch(benchmark, tmp_path / "small", client, bars) == []
    assert len(server.asked) == asked, "what is there is not fetched again"
    text, complete = fetch.report(benchmark, tmp_path / "small", to_do)
    assert complete
    assert "2 of 2 photos" in text


def test_what_cannot_be_fetched_is_named_with_its_place(
    server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    server.files["/truth.csv"] = b"IMG_ID,LAT,LON\n1.jpg,1.5,2.5\n2.jpg,3,4\n"
    benchmark = small_benchmark(server, ())
    with Progress(disable=True) as bars:
        to_do = fetch.fetch(benchmark, tmp_path, client, bars)
    text, complete = fetch.report(benchmark, tmp_path, to_do)
    assert not complete
    assert f"at {tmp_path / 'photos.zip'}" in text
    assert "https://example.org/photos" in text
    (tmp_path / "photos.zip").write_bytes(as_zip({"1.jpg": b"1", "2.jpg": b"2"}))
    with Progress(disable=True) as bars:
        to_do = fetch.fetch(benchmark, tmp_path, client, bars)
    assert fetch.report(benchmark, tmp_path, to_do)[1], "put there by hand, it is unpacked"


def test_every_file_of_the_registry_says_where_it_is_from() -> None:
    for benchmark in BENCHMARKS.values():
        assert benchmark.citation
        assert benchmark.licence
        for source in benchmark.files:
            assert source.page.startswith("http")
            assert all(url.startswith(("http://", "https://")) for url in source.urls)
