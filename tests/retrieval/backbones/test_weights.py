"""Finding and fetching weights; the network is a server on this machine."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from core.download import https_client
from core.errors import UserError
from retrieval.backbones import weights
from retrieval.backbones.weights import (
    WEIGHT_FILES,
    WeightFile,
    cached_path,
    fetch,
    fetch_from_hub,
    find_weights,
    hub_file,
    missing_message,
)
from tests.fakes.services.file_server import FileServer, hub_of

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILE = WeightFile(
    name="net.bin", url="https://a.example/net.bin", sha256=SHA256, size_bytes=len(CONTENT), licence="MIT"
)


@pytest.fixture
def server() -> Iterator[FileServer]:
    made = FileServer()
    yield made
    made.close()


def at(server: FileServer, file: WeightFile = FILE) -> WeightFile:
    """The same file on the server of this test, which has no certificate."""
    return file.model_copy(update={"url": f"{server.url}/net.bin"})


def test_a_file_is_fetched_with_progress(server: FileServer, client: httpx.Client, tmp_path: Path) -> None:
    server.files["/net.bin"] = CONTENT
    seen: list[tuple[int, int | None]] = []
    place = fetch(at(server), tmp_path / "deep" / "net.bin", client, lambda *now: seen.append(now))
    assert place.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [one.name for one in place.parent.iterdir()] == ["net.bin"]


def test_other_content_and_larger_files_are_not_kept(server: FileServer, client: httpx.Client, tmp_path: Path) -> None:
    server.files["/net.bin"] = b"y" * len(CONTENT)
    with pytest.raises(UserError, match="sha256"):
        fetch(at(server), tmp_path / "net.bin", client)
    server.files["/net.bin"] = CONTENT + b"z"
    with pytest.raises(UserError, match="it is not fetched"):
        fetch(at(server), tmp_path / "net.bin", client)
    assert not (tmp_path / "net.bin").exists()


def test_an_address_without_encryption_is_refused(server: FileServer, tmp_path: Path) -> None:
    server.files["/net.bin"] = CONTENT
    with https_client(5.0) as client, pytest.raises(UserError, match="without encryption"):
        fetch(at(server), tmp_path / "net.bin", client)
    assert not server.asked


def test_weights_are_looked_for_in_the_folder_named_and_nowhere_else(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no net\.bin of some-net in .*https://a\.example/net\.bin"):
        find_weights(FILE, "some-net", tmp_path)
    (tmp_path / "net.bin").write_bytes(b"a version of one's own")
    assert find_weights(FILE, "some-net", tmp_path) == tmp_path / "net.bin"


def test_weights_are_found_in_the_cache_and_a_cut_off_file_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"python -m retrieval\.backbones\.weights some-net"):
        find_weights(FILE, "some-net", cache=tmp_path)
    place = cached_path(FILE, tmp_path)
    place.parent.mkdir()
    place.write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match="should have 10,240"):
        find_weights(FILE, "some-net", cache=tmp_path)
    place.write_bytes(CONTENT)
    assert find_weights(FILE, "some-net", cache=tmp_path) == place


def test_weights_are_found_in_the_hugging_face_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub", reason="comes with the train extra")
    file = hub_file("some/net", "0" * 40, SHA256, len(CONTENT), "MIT")
    snapshot = tmp_path / "models--some--net" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / file.name).write_bytes(CONTENT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert find_weights(file, "some-net", cache=tmp_path / "empty") == snapshot / file.name


REVISION = "0" * 40


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("huggingface_hub", reason="comes with the train extra")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_file_of_the_hub_is_fetched_into_its_cache_and_found_there(hub_cache: Path, tmp_path: Path) -> None:
    file = hub_file("some/net", REVISION, SHA256, len(CONTENT), "MIT")
    with hub_of({f"/some/net/resolve/{REVISION}/{file.name}": CONTENT}, REVISION) as endpoint:
        place = fetch_from_hub(file, endpoint=endpoint)
        assert place.is_relative_to(hub_cache)
        assert fetch_from_hub(file, tmp_path / "own", endpoint).read_bytes() == CONTENT
    assert find_weights(file, "some-net", cache=tmp_path / "empty") == place
    assert find_weights(file, "some-net", tmp_path / "own") == tmp_path / "own" / file.name


def test_other_content_of_the_hub_is_deleted(hub_cache: Path) -> None:
    file = hub_file("some/net", REVISION, SHA256, len(CONTENT), "MIT")
    files = {f"/some/net/resolve/{REVISION}/{file.name}": b"other"}
    with hub_of(files, REVISION) as endpoint, pytest.raises(UserError, match="SHA-256 differs"):
        fetch_from_hub(file, endpoint=endpoint)
    assert not [path for path in hub_cache.rglob(file.name) if path.exists()]


@pytest.mark.usefixtures("hub_cache")
def test_a_hub_that_refuses_is_one_clear_line() -> None:
    file = hub_file("some/net", REVISION, SHA256, len(CONTENT), "MIT")
    with hub_of({}, REVISION) as endpoint, pytest.raises(UserError, match="cannot fetch") as caught:
        fetch_from_hub(file, endpoint=endpoint)
    assert "\n" not in str(caught.value)
    with hub_of({}, REVISION, gated=True) as endpoint, pytest.raises(UserError, match="ask for access at") as caught:
        fetch_from_hub(file, endpoint=endpoint)
    assert "\n" not in str(caught.value)


def test_without_the_client_of_the_hub_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'geosleuth\[train\]'"):
        fetch_from_hub(WEIGHT_FILES["siglip2"])


def test_a_gated_file_says_whom_to_ask() -> None:
    told = missing_message(WEIGHT_FILES["dinov3"], "dinov3", Path("/cache/model.safetensors"))
    assert "ask for access at https://huggingface.co/facebook/dinov3-vitb16-pretrain-lvd1689m" in told
    assert "343 MB" in told
    assert "\n" not in told


def test_weights_come_over_https_only() -> None:
    with pytest.raises(ValidationError, match="https only"):
        WeightFile(name="x", url="http://a.example/x", sha256=SHA256, size_bytes=1, licence="MIT")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """What the command refuses with."""
    monkeypatch.setattr(sys, "argv", ["retrieval.backbones.weights", *arguments])
    with pytest.raises(SystemExit) as caught:
        weights.main()
    return str(caught.value)


def test_the_command_lists_everything_and_refuses_the_unknown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["retrieval.backbones.weights"])
    weights.main()
    listed = capsys.readouterr().out
    assert all(name in listed for name in WEIGHT_FILES)
    unknown = run(monkeypatch, "no-such-net")
    assert unknown.startswith("error: no weights named 'no-such-net': use one of clip-vit-l14")
    assert "https only" in run(monkeypatch, "dinov3", "--url", "http://a.example/x")
    assert "64 hex digits" in run(monkeypatch, "dinov3", "--sha256", "abc")


def test_the_command_is_run_as_the_messages_say() -> None:
    command = [sys.executable, "-m", "retrieval.backbones.weights", "no-such-net"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert found.stderr.startswith("error: no weights named 'no-such-net'")
