"""Files that hold what users showed and asked are their owner's only; questions are kept with their thread or not."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from evals.runs.reply_cache import _connect
from tests.apps.conftest import command, environment
from tests.fakes.people.terminal import Terminal
from tests.fakes.photo_files import jpeg

QUESTION = "why not Portugal, of all places?"


def _open_to_others(folder: Path) -> list[str]:
    paths = [Path(parent) / name for parent, folders, names in os.walk(folder) for name in [*folders, *names]]
    return [str(path.relative_to(folder)) for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o077]


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_content_of_users_is_their_owners_only_also_what_was_there(tmp_path: Path) -> None:
    photo, home = jpeg(tmp_path / "photo.jpg"), tmp_path / "home"
    kept = tmp_path / "kept"
    kept.mkdir()
    env = environment(home) | {"GEOSLEUTH_READ_SIGNS": "false", "GEOSLEUTH_CHECKPOINTS": str(kept / "runs.sqlite")}

    def locate() -> None:
        of_each: tuple[tuple[Any, ...], ...] = (("--thread", "trip", "--events", kept / "events.jsonl"), ())
        for options in of_each:
            subprocess.run(
                command("locate", photo, *options), env=env, capture_output=True, check=True, timeout=120, umask=0
            )
        _connect(kept / "replies.sqlite").close()

    locate()
    made = sorted(path.name for folder in (home, kept) for path in folder.rglob("*"))
    assert {"audit.jsonl", "checkpoints.sqlite", "runs.sqlite", "events.jsonl", "thread.json", "trip"} <= set(made)
    assert _open_to_others(home) + _open_to_others(kept) == []
    for folder in (home, kept):
        for path in folder.rglob("*"):
            path.chmod(0o777 if path.is_dir() else 0o666)
    locate()
    assert _open_to_others(home) + _open_to_others(kept) == []
    assert sqlite3.connect(kept / "runs.sqlite").execute("SELECT count(*) FROM checkpoints").fetchone()[0] > 0


def test_questions_are_kept_with_a_thread_only_and_forgotten_with_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    env = environment(home) | {"GEOSLEUTH_READ_SIGNS": "false", "TERM": "dumb"}

    def chat(*options: str) -> list[str]:
        """The files that hold the question afterwards."""
        terminal = Terminal(command("chat", *options), env, tmp_path)
        try:
            terminal.until("> ")
            terminal.type(QUESTION)
            terminal.until("no photo yet")
            terminal.until("> ")
            terminal.type("/quit")
            terminal.process.wait(120)
        finally:
            terminal.close()
        return [path.name for path in home.rglob("*") if path.is_file() and QUESTION.encode() in path.read_bytes()]

    assert chat() == []
    assert chat("--thread", "trip") == ["history"]
    (home / "chat_history").write_text(QUESTION)  # of an earlier version
    subprocess.run(command("chat", "--forget", "trip"), env=env, check=True, capture_output=True, timeout=60)
    assert [path.name for path in home.rglob("*") if path.is_file()] == []
