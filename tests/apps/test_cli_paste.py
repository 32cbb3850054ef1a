"""`--model paste` as a person uses it: the prompt on the screen, the reply pasted at a terminal."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from PIL import Image

from tests.apps.conftest import Run, command, environment
from tests.fakes.people.colleague import BRNO
from tests.fakes.people.terminal import Terminal
from tests.fakes.photo_files import jpeg

LONG = {**BRNO, "why": "it looks so; " * 60}
READY = "or give the path of a file with the reply ===="


def at_terminal(home: Path, tmp_path: Path, word: str, *more: str) -> Terminal:
    photo = jpeg(tmp_path / "a.jpg")
    arguments = command(word, photo, "--model", "paste", "--no-signs", *more)
    return Terminal(arguments, environment(home) | {"TERM": "dumb", "COLUMNS": "200"}, tmp_path)


def test_a_reply_is_pasted_and_a_wrong_one_sent_back(home: Path, tmp_path: Path) -> None:
    terminal = at_terminal(home, tmp_path, "locate", "--strategy", "zero_shot")
    try:
        terminal.until("with the picture ")
        terminal.until("Where on Earth was photo")
        terminal.until(READY)
        terminal.type("I would rather talk about the weather.\n.")
        terminal.until("could not be used")
        terminal.until(READY)
        # One line, longer than a terminal's own line editing lets through.
        terminal.type(json.dumps({**LONG, "filler": "x" * 6000}) + "\n.")
        terminal.until("49.2000° N")
        assert terminal.process.wait(60) == 0
    finally:
        terminal.close()


def test_the_picture_lies_where_the_prompt_says_and_goes_with_the_process(home: Path, tmp_path: Path) -> None:
    terminal = at_terminal(home, tmp_path, "locate", "--strategy", "zero_shot")
    try:
        terminal.until("with the picture ")
        shown = Path(terminal.until(" ===="))
        with Image.open(shown) as picture:
            assert (picture.format, picture.info) == ("PNG", {})
        (tmp_path / "reply.txt").write_text(json.dumps(BRNO))
        terminal.until(READY)
        terminal.type(str(tmp_path / "reply.txt"))
        terminal.until("49.2000° N")
        assert terminal.process.wait(60) == 0
        assert not shown.exists()
    finally:
        terminal.close()


def test_chat_goes_on_with_pasted_replies_and_ctrl_c_stops_a_wait(home: Path, tmp_path: Path) -> None:
    terminal = at_terminal(home, tmp_path, "chat", "--no-ask")
    try:
        terminal.until(READY)
        terminal.type(json.dumps({"hypotheses": [BRNO]}) + "\n.")
        terminal.until(READY)
        terminal.type('{"calls": []}\n.')
        terminal.until("> ")
        terminal.type("what do the trams say?")
        terminal.until(READY)
        terminal.process.send_signal(signal.SIGINT)
        terminal.until("stopped; /resume")
        terminal.until("> ")
        terminal.type("/undo")
        terminal.until("took back")
        terminal.until("> ")
        terminal.type("what do the trams say?")
        terminal.until(READY)
        terminal.type("They are red, as Brno's are.\n.")
        terminal.until("\nThey are red, as Brno's are.")
        terminal.until("\nThey are red, as Brno's are.")
        terminal.until("> ")
        terminal.type("/quit")
        assert terminal.process.wait(60) == 0
    finally:
        terminal.close()


def test_without_a_terminal_paste_is_one_error(geosleuth: Run, tmp_path: Path) -> None:
    refused = geosleuth("locate", jpeg(tmp_path / "a.jpg"), "--model", "paste", "--no-signs")
    assert refused.returncode == 2
    assert refused.stderr.strip().splitlines()[-1].endswith("use mailbox:FOLDER elsewhere")
