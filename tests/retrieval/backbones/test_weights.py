"""Finding and fetching weights; the network is a function in this file."""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from core.errors import UserError
from retrieval.backbones import weights
from retrieval.backbones.weights import (
    WEIGHT_FILES,
    WeightFile,
    cached_path,
    fetch,
    find_weights,
    hub_file,
    missing_message,
)

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILE = WeightFile(
    name="net.bin", url="https://a.example/net.bin", sha256=SHA256, size_bytes=len(CONTENT), licence="MIT"
)

Answer = Callable[[httpx.Request], httpx.Response]


def client(answer: Answer) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(answer))


def serve(request: httpx.Request) -> httpx.Response:
    """A server that resumes."""
    start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    return httpx.Response(206 if start else 200, content=CONTENT[start:])


def test_a_file_is_fetched_with_progress(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    place = fetch(FILE, tmp_path / "deep" / "net.bin", lambda done, total: seen.append((done, total)), client(serve))
    assert place.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [one.name for one in place.parent.iterdir()] == ["net.bin"]


def test_a_download_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("range"))
        return serve(request)

    (tmp_path / "net.bin.part").write_bytes(CONTENT[:1000])
    assert fetch(FILE, tmp_path / "net.bin", None, client(answer)).read_bytes() == CONTENT
    assert asked == ["bytes=1000-"]


def test_a_server_that_does_not_resume_starts_again(tmp_path: Path) -> None:
    (tmp_path / "net.bin.part").write_bytes(b"x" * 1000)
    found = fetch(FILE, tmp_path / "net.bin", None, client(lambda _: httpx.Response(200, content=CONTENT)))
    assert found.read_bytes() == CONTENT


def test_a_part_that_is_whole_already_needs_no_server(tmp_path: Path) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise AssertionError("nothing is left to ask for")

    (tmp_path / "net.bin.part").write_bytes(CONTENT)
    assert fetch(FILE, tmp_path / "net.bin", None, client(refuse)).read_bytes() == CONTENT


def test_a_redirect_is_followed_on_https_and_refused_elsewhere(tmp_path: Path) -> None:
    def lead(to: str) -> Answer:
        return lambda request: (
            httpx.Response(302, headers={"location": to}) if request.url.host == "a.example" else serve(request)
        )

    assert fetch(FILE, tmp_path / "net.bin", None, client(lead("https://b.example/x"))).read_bytes() == CONTENT
    with pytest.raises(UserError, match="without encryption"):
        fetch(FILE, tmp_path / "other.bin", None, client(lead("http://b.example/x")))


def test_other_content_is_deleted(tmp_path: Path) -> None:
    wrong = b"y" * len(CONTENT)
    with pytest.raises(UserError, match="SHA-256 differs"):
        fetch(FILE, tmp_path / "net.bin", None, client(lambda _: httpx.Response(200, content=wrong)))
    assert not list(tmp_path.iterdir())


def stream(_: httpx.Request) -> httpx.Response:
    """More than was expected, without saying how much."""
    return httpx.Response(200, content=iter([CONTENT, b"and more"]))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda _: httpx.Response(200, content=CONTENT + b"z"), "it is not fetched"),
        (stream, "sends more than"),
        (lambda _: httpx.Response(404), "answers 404"),
        (lambda _: httpx.Response(403), "access rights"),
        (lambda _: httpx.Response(302, headers={"location": "https://a.example/net.bin"}), "redirects more than"),
    ],
)
def test_what_a_server_may_do_wrong_is_one_clear_line(tmp_path: Path, answer: Answer, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        fetch(FILE, tmp_path / "net.bin", None, client(answer))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "net.bin").exists()


def test_no_network_and_no_space_are_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    with pytest.raises(UserError, match=r"no route.*go on"):
        fetch(FILE, tmp_path / "net.bin", None, client(unreachable))
    monkeypatch.setattr(weights, "SPARE_BYTES", 10**18)
    with pytest.raises(UserError, match="space left"):
        fetch(FILE, tmp_path / "net.bin", None, client(serve))


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
