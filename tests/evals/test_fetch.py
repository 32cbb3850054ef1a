"""Fetching benchmarks from a real server on this machine: ranges, kills, checksums, hostile archives."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from rich.progress import Progress

from evals import fetch
from evals.benchmarks.description import Benchmark, SourceFile
from evals.benchmarks.registry import BENCHMARKS
from evals.downloads import DownloadError, download, unpack

CONTENT = bytes(range(256)) * 4096  # 1 MiB that differs everywhere


class FileServer:
    """Serves files with ranges and validators; can break off, change a file, or refuse."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.break_after: list[int] = []
        self.refuse: list[int] = []
        self.pause_s = 0.0
        self.kind = "application/octet-stream"
        self.asked: list[tuple[str, str | None]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.answer(self)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append((request.path, wanted))
        body = self.files.get(request.path)
        if body is None or self.refuse:
            request.send_error(self.refuse.pop(0) if self.refuse else 404)
            return
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        start = 0
        if wanted and request.headers.get("If-Range") == tag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(body) and start:
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(body)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        request.send_header("ETag", tag)
        request.send_header("Content-Type", self.kind)
        request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        self._send(request, body[start:])

    def _send(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        limit = self.break_after.pop(0) if self.break_after else len(body)
        try:
            for at in range(0, min(limit, len(body)), 1 << 16):
                request.wfile.write(body[at : min(at + (1 << 16), limit)])
                time.sleep(self.pause_s)
        except OSError:
            return  # the client was killed
        if limit < len(body):
            request.close_connection = True

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[FileServer]:
    made = FileServer()
    yield made
    made.close()


def test_a_file_arrives_whole_with_progress(server: FileServer, client: httpx.Client, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    seen: list[tuple[int, int | None]] = []
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    download(f"{server.url}/a.bin", tmp_path / "a.bin", client, lambda *now: seen.append(now), sha256=sha256)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_connection_that_breaks_is_taken_up_where_it_broke(
    server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    server.files["/a.bin"] = CONTENT
    server.break_after = [300_000, 200_000]
    download(f"{server.url}/a.bin", tmp_path / "a.bin", client, pause_s=0.0)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=300000-", "bytes=500000-"]


def test_a_server_that_is_busy_is_asked_again(server: FileServer, client: httpx.Client, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    server.refuse = [503, 429]
    download(f"{server.url}/a.bin", tmp_path / "a.bin", client, pause_s=0.0)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_fetched_anew(
    server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    server.files["/a.bin"] = CONTENT
    server.break_after = [300_000] * 5
    server.files["/a.bin"] = CONTENT[::-1]
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:100_000])
    (tmp_path / "a.bin.part.json").write_text(f'{{"url": "{server.url}/a.bin", "version": "\\"old\\""}}')
    server.break_after = []
    download(f"{server.url}/a.bin", tmp_path / "a.bin", client)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[::-1]


def test_a_part_that_is_already_whole_is_accepted(server: FileServer, client: httpx.Client, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    tag = hashlib.sha256(CONTENT).hexdigest()[:16]
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    (tmp_path / "a.bin.part.json").write_text(f'{{"url": "{server.url}/a.bin", "version": "\\"{tag}\\""}}')
    download(f"{server.url}/a.bin", tmp_path / "a.bin", client)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_killed_process_goes_on_where_it_was(server: FileServer, client: httpx.Client, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    server.pause_s = 0.05
    program = (
        "import httpx, sys, pathlib; from evals.downloads import download;"
        "download(sys.argv[1], pathlib.Path(sys.argv[2]), httpx.Client(trust_env=False))"
    )
    arguments = [sys.executable, "-c", program, f"{server.url}/a.bin", str(tmp_path / "a.bin")]
    process = subprocess.Popen(arguments, cwd=Path(__file__).parents[2])
    part = tmp_path / "a.bin.part"
    while not (part.exists() and part.stat().st_size):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = part.stat().st_size
    assert 0 < kept < len(CONTENT)
    server.pause_s = 0.0
    download(f"{server.url}/a.bin", tmp_path / "a.bin", client)
    assert server.asked[-1][1] == f"bytes={kept}-"
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_wrong_checksum_is_told_and_nothing_is_kept(server: FileServer, client: httpx.Client, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    with pytest.raises(DownloadError, match="md5"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", client, md5="0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_a_page_instead_of_a_file_is_refused(server: FileServer, client: httpx.Client, tmp_path: Path) -> None:
    server.files["/a.zip"] = b"<html>click here</html>"
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(DownloadError, match="browser"):
        download(f"{server.url}/a.zip", tmp_path / "a.zip", client)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_never_stops_breaking_is_given_up(
    server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    server.files["/a.bin"] = CONTENT
    server.break_after = [1000] * 10
    with pytest.raises(DownloadError, match="run the same command"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", client, pause_s=0.0)
    assert (tmp_path / "a.bin.part").stat().st_size == 5000


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
    with pytest.raises(DownloadError, match="fetch it again"):
        unpack(archive, tmp_path / "photos")


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
