"""Whatever a person types into a chat is answered by a line, and the chat goes on."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from apps.chat.loop import HELP
from apps.cli import run
from tests.fakes.photo_files import jpeg

NO_PLACES = (
    *("~", "~nouser/x", "a\0b", ".", "..", "/", "missing/x.html", "photo.jpg", "photo.jpg/x", "loop", "notes.txt"),
    *("x" * 300, "x" * 100_000, "/dev/full"),
)
"""Where no map can be written, and no photo is."""
ODD = (
    *(
        "",
        "0",
        "1",
        "2",
        "-1",
        "²",
        "٣",
        "9" * 400,
        "9" * 5_000,
        "\x1b[31m",
        "\u2028",
        "\udc80",
        "é",
        '"',
        "'",
        "--help",
    ),
    *("$(touch x)", "/dev/null", *NO_PLACES),
)
WORDS = ("/photos", "/why", "/table", "/cost", "/resume", "/help", "/nothing")


@pytest.mark.parametrize("shows_photo", [False, True])
def test_every_line_is_answered_and_the_chat_goes_on(
    shows_photo: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = jpeg(tmp_path / "photo.jpg")
    before = photo.read_bytes()
    (tmp_path / "notes.txt").write_text("a letter")
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GEOSLEUTH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    maps, photos = [f"/map {name}" for name in NO_PLACES[1::3]], [f"/photo {odd}" for odd in ODD if odd != "photo.jpg"]
    lines = [*(maps if shows_photo else photos), *(f"{word} ²" for word in WORDS)]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join([*lines, "/help", "/quit"])))
    shown = [str(photo)] if shows_photo else []
    assert run(["chat", *shown, "--no-signs", "--home", str(tmp_path / "data")]) == 0
    said = capsys.readouterr()
    assert said.out.rstrip().endswith(HELP.splitlines()[-1].strip())
    assert "Traceback" not in said.err
    assert photo.read_bytes() == before
    assert (tmp_path / "notes.txt").read_text() == "a letter"


def test_photos_of_one_place_are_shown_added_and_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate(("a.jpg", "b b.jpg", "c.jpg")):
        jpeg(tmp_path / name, seed=seed)
    monkeypatch.chdir(tmp_path)
    lines = ["/add a.jpg", "/photo a.jpg 'b b.jpg'", "/add c.jpg", "/add a.jpg", "/photos", "/undo", "/photos"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join([*lines, "/photo b b.jpg", "/quit"])))
    assert run(["chat", "--no-signs", "--home", str(tmp_path / "data"), "--thread", "trip"]) == 0
    said = capsys.readouterr()
    assert "no photo yet: show one" in said.err
    assert "a.jpg is the same file as" in said.err
    listed = [line for line in said.out.splitlines() if line.startswith("* 1  ")]
    assert [line[5:].partition("  ")[0] for line in listed] == ["a.jpg + b b.jpg + c.jpg", "a.jpg + b b.jpg"]
    assert "took back the last photo; 1 photo(s) in this conversation" in said.err
    assert "b b.jpg" in said.out
    assert len(list((tmp_path / "data" / "threads" / "trip" / "photos").iterdir())) == 3
    assert run(["chat", "--forget", "trip", "--home", str(tmp_path / "data")]) == 0
    assert not list((tmp_path / "data").rglob("*.png"))
