"""Downloads from a real server on this machine: ranges, kills, checksums, limits."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core import download as downloads
from core.download import DownloadError, download, https_client
from tests.fakes.services.file_server import FileServer

CONTENT = bytes(range(256)) * 4096  # 1 MiB that differs everywhere


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
        "import httpx, sys, pathlib; from core.download import download;"
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


def test_a_wrong_checksum_is_reported_and_nothing_is_kept(
    server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
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


def test_a_file_larger_than_expected_is_refused_or_stopped(
    server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    server.files["/a.bin"] = CONTENT
    with pytest.raises(DownloadError, match="has 1,048,576 bytes where at most 1,000 were expected"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", client, max_bytes=1000)
    silent = httpx.MockTransport(lambda _: httpx.Response(200, content=iter([CONTENT, b"and more"])))
    with httpx.Client(transport=silent) as unannounced, pytest.raises(DownloadError, match="sends more than"):
        download("https://a.example/a.bin", tmp_path / "b.bin", unannounced, max_bytes=len(CONTENT))
    assert not (tmp_path / "a.bin").exists()
    assert not (tmp_path / "b.bin").exists()


@pytest.mark.parametrize(("status", "message"), [(404, "answers 404"), (403, "get access rights")])
def test_a_server_that_refuses_is_one_clear_line(
    server: FileServer, client: httpx.Client, tmp_path: Path, status: int, message: str
) -> None:
    server.refuse = [status]
    with pytest.raises(DownloadError, match=message) as caught:
        download(f"{server.url}/a.bin", tmp_path / "a.bin", client)
    assert "\n" not in str(caught.value)


def test_no_network_and_no_space_are_one_clear_line(
    server: FileServer, client: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/a.bin"] = CONTENT
    monkeypatch.setattr(downloads, "SPARE_BYTES", 10**18)
    with pytest.raises(DownloadError, match="space left"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", client)
    server.close()
    with pytest.raises(DownloadError, match=r"run the same command to go on"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", client, pause_s=0.0)


def leading_to(address: str) -> httpx.MockTransport:
    """A server that sends everybody on to an address, and answers there."""

    def answer(request: httpx.Request) -> httpx.Response:
        if str(request.url) == address and request.url.host != "a.example":
            return httpx.Response(200, content=iter([CONTENT]))
        return httpx.Response(302, headers={"location": address})

    return httpx.MockTransport(answer)


def test_redirects_are_followed_on_https_and_nowhere_else(tmp_path: Path) -> None:
    with https_client(5.0, leading_to("https://b.example/x")) as client:
        download("https://a.example/x", tmp_path / "a.bin", client)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    plain, endless = leading_to("http://b.example/x"), leading_to("https://a.example/x")
    with https_client(5.0, plain) as client, pytest.raises(DownloadError, match=r"b\.example without encryption"):
        download("https://a.example/x", tmp_path / "b.bin", client)
    with https_client(5.0, endless) as client, pytest.raises(DownloadError, match="redirects"):
        download("https://a.example/x", tmp_path / "b.bin", client)
