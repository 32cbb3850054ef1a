"""Whatever name is printed, no code in it reaches the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.console import answers, messages
from apps.options import Outputs
from apps.output.files import write_table

CODES = ("\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\u202e", "\r", "\x08")


@given(st.lists(st.sampled_from([*CODES, "a", " ", "\n"]), max_size=20).map("".join))
def test_printed_texts_hold_no_codes(text: str) -> None:
    for console in (answers(), messages()):
        with console.capture() as captured:
            console.print(f"wrote {text}")
        assert not set("\x1b\x9b\u202e\r\x08\x07") & set(captured.get())


def test_the_path_of_an_output_is_printed_without_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a\x1b[31mb\u202e.csv"
    write_table([], Outputs(csv=file))
    assert file.exists()
    said = capsys.readouterr().err
    assert said.startswith("wrote ")
    assert "\x1b" not in said
    assert "\u202e" not in said
