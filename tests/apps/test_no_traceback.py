"""Command lines that cannot work: each is one clear line and an exit status, never a traceback or a hang."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.apps.conftest import command, environment
from tests.fakes.photo_files import jpeg

LONG = "x" * 300


class Place(NamedTuple):
    """A folder of the test with two photos, and a home."""

    folder: Path
    photo: Path
    home: Path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    photos = tmp_path / "photos"
    photos.mkdir()
    jpeg(photos / "b.jpg")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("a file")
    (tmp_path / "home").mkdir()
    return Place(tmp_path, jpeg(photos / "a.jpg"), tmp_path / "home")


def run(arguments: list[object], home: Path, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        env=environment(home) | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def assert_one_line(done: subprocess.CompletedProcess[str], words: str) -> None:
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("geosleuth: error: ")
    assert words in lines[0]


Arguments = Callable[[Place], list[object]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        *(
            (lambda at, name=name: ["locate", at.photo, "--jsonl", name], "is no file")
            for name in ("/dev/null", "/dev/stdout", "/dev/full", "pipe", "-")
        ),
        (lambda at: ["locate", at.photo, "--jsonl", LONG], "name too long"),
        (lambda at: ["locate", at.photo, "--map", f"{LONG}.html"], "name too long"),
        (lambda _: ["locate", LONG], "too long"),
        (lambda at: ["locate", at.photo, "--thread", LONG], "at most 80"),
        (lambda at: ["locate", at.photo, "--thread", "~/x"], "use letters"),
        (lambda at: ["locate", at.photo, "--home", at.folder / "file"], "is a file: give a folder"),
        (lambda at: ["locate", at.photo, "--home", at.folder / "file" / "below"], "file"),
        (lambda at: ["locate", at.photo, "--home", at.folder / LONG], "too long"),
        (lambda at: ["locate", at.photo, "--home", ""], "an empty name is no folder"),
        (lambda at: ["locate", at.photo, "--home", "~nouser/x"], "no such user"),
        (lambda at: ["locate", at.photo, "--threads", "100000"], "1024"),
        (lambda at: ["locate", at.photo, "--threads", "0"], "threads"),
        (lambda at: ["locate", at.photo, "--retry-failed"], "--jsonl"),
        (lambda _: ["answer", "somebody", "  "], "an empty line is no answer"),
        (lambda at: ["atlas", "search", "none", at.photo, "--limit", "-1"], "limit"),
        (lambda _: ["atlas", "delete", "none", "--yes"], "no atlas at"),
        (lambda _: ["atlas", "delete", "../none", "--yes"], "no name for an atlas"),
        (lambda _: ["atlas", "build", LONG, "--gps", "5"], "no name for an atlas"),
    ],
)
def test_a_command_line_that_cannot_work_is_one_line(place: Place, arguments: Arguments, words: str) -> None:
    assert_one_line(run(arguments(place), place.home, place.folder), words)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("GEOSLEUTH_ATLASES", "nowhere", "no atlas at"),
        ("GEOSLEUTH_ATLASES", "[nowhere", "atlases"),
        ("GEOSLEUTH_BUDGETS", "many", "budgets"),
        ("GEOSLEUTH_HOME", "", "an empty name is no file or folder"),
        ("GEOSLEUTH_HOME", "~nouser", "no such user"),
        ("GEOSLEUTH_THREADS", "100000", "threads"),
    ],
)
def test_an_environment_that_cannot_work_is_one_line(place: Place, variable: str, value: str, words: str) -> None:
    assert_one_line(run(["locate", place.photo], place.home, place.folder, **{variable: value}), words)


@pytest.mark.parametrize("name", ["--limit=-1", "--concurrency=0", "--max-usd=nan", "--threads=100000000"])
def test_numbers_of_an_evaluation_that_cannot_be_are_refused(name: str, place: Place) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "evals.run", "im2gps3k", name],
        env=environment(place.home),
        cwd=place.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert name.split("=")[0] in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.fixture
def thread(place: Place) -> Path:
    """The folder of a thread as `geosleuth locate --thread t` leaves it."""
    folder = place.home / "threads" / "t"
    folder.mkdir(parents=True)
    (folder / "thread.json").write_text(json.dumps({"settings": {}, "names": {"p": "a.jpg"}}))
    with sqlite3.connect(folder / "checkpoints.sqlite") as database:
        database.execute("CREATE TABLE x(y)")
        database.executemany("INSERT INTO x VALUES(?)", [(text * 500,) for text in "abcdefghij" * 20])
    database.close()
    return folder


@pytest.mark.parametrize(
    ("file", "content"),
    [
        *(("thread.json", content) for content in (b"", b"{", b"[]", b'{"names": 5}', b'{"settings": [1]}', b"\xff")),
        ("thread.json", None),
        ("checkpoints.sqlite", b""),
        ("checkpoints.sqlite", None),
        ("checkpoints.sqlite", b"no database" * 100),
    ],
)
def test_a_damaged_thread_is_one_line(thread: Path, place: Place, file: str, content: bytes | None) -> None:
    if content is None:
        (thread / file).unlink()
    else:
        (thread / file).write_bytes(content)
    assert_one_line(run(["locate", place.photo, "--thread", "t"], place.home, place.folder), file)


def test_a_database_with_damaged_pages_is_one_line(thread: Path, place: Place) -> None:
    with (thread / "checkpoints.sqlite").open("r+b") as stream:
        stream.seek(5000)
        stream.write(os.urandom(30_000))
    assert_one_line(run(["locate", place.photo, "--thread", "t"], place.home, place.folder), "checkpoints")


@pytest.mark.parametrize("limit_kb", [200_000, 1_000_000, 2_900_000])
def test_too_little_address_space_is_one_line(place: Place, limit_kb: int) -> None:
    if not hasattr(pytest.importorskip("resource"), "RLIMIT_AS") or sys.platform == "darwin":
        pytest.skip("no limit of address space here")
    shell = ["sh", "-c", f'ulimit -v {limit_kb} && exec "$@"', "sh"]
    locate = [*shell, *command("locate", place.photo)]
    done = subprocess.run(locate, env=environment(place.home), capture_output=True, text=True, timeout=60, check=False)
    assert_one_line(done, "raise the limit")


def test_the_version_is_printed(place: Place) -> None:
    done = run(["--version"], place.home, place.folder)
    assert (done.returncode, done.stdout.split()[0], done.stderr) == (0, "geosleuth", "")


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.3])
def test_an_interruption_at_the_start_is_one_line(after_s: float, place: Place) -> None:
    pipe = subprocess.PIPE
    started = "from geosleuth.__main__ import main; print('.', end='', flush=True); main()"
    arguments = [sys.executable, "-c", started, "locate", str(place.photo)]
    with subprocess.Popen(arguments, env=environment(place.home), stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == "."
        time.sleep(0.05 + after_s)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.strip().splitlines()[-1] == "geosleuth: interrupted"
    assert "Traceback" not in errors


def test_an_interruption_is_not_lost_in_a_library_that_is_being_imported(tmp_path: Path) -> None:
    swallow = "import os, signal\ntry: os.kill(os.getpid(), signal.SIGINT)\nexcept KeyboardInterrupt: pass\n"
    (tmp_path / "swallows.py").write_text(swallow)
    handled = "import signal; from geosleuth.__main__ import _interrupt; signal.signal(signal.SIGINT, _interrupt)\n"
    for then, status, said in (("import swallows", 130, "interrupted"), (f"{swallow}print('went on')", 0, "")):
        program, path = f"{handled}{then}", os.pathsep.join([str(Path(__file__).parents[2]), str(tmp_path)])
        done = subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
        )
        assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (status, True, False)


def test_an_interruption_is_not_lost_where_an_object_is_let_go_of() -> None:
    program = """
import os, signal, sys, time
from geosleuth.__main__ import _interrupt, _interrupt_again
signal.signal(signal.SIGINT, _interrupt)
sys.unraisablehook = _interrupt_again
class Loses:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)
try:
    thing = Loses()
    del thing
    time.sleep(300)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


def test_a_terminal_without_width_gets_an_answer(home: Path, place: Place) -> None:
    done = run(["locate", place.photo, "--no-signs"], home, place.folder, COLUMNS="0")
    assert done.returncode == 0, done.stderr
    assert "a.jpg" in done.stdout


def test_events_into_a_closed_pipe_print_nothing_else(home: Path, place: Place) -> None:
    pipe, locate = subprocess.PIPE, command("locate", place.photo, "--no-signs", "--events", "-")
    with subprocess.Popen(locate, env=environment(home), stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) in (0, 1)


def test_a_chat_without_a_photo_says_so(home: Path) -> None:
    lines = "where is this?\n/photo ~nouser/x\n/map ~nouser/x\n/quit\n"
    done = subprocess.run(
        command("chat", "--no-signs"),
        env=environment(home),
        input=lines,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "no photo yet: /photo PATH shows one" in done.stderr
    assert "no such user" in done.stderr
    assert "base64" not in done.stdout + done.stderr


def test_failures_are_named_and_tried_again(home: Path, place: Place) -> None:
    """A failed photo is tried again when that is said, or when its file is another one now."""
    broken, rows = place.folder / "photos" / "c.jpg", place.folder / "run.jsonl"
    broken.write_text("no photo")
    many = ["locate", place.photo.parent, "--jsonl", "run.jsonl", "--no-signs"]
    first = run(many, home, place.folder)
    assert first.returncode == 1, first.stderr
    assert "failed: c.jpg: " in first.stderr
    broken.unlink()
    failed = {"status": "failed", "error": "the server was away", "answer": None}
    kept = [json.loads(line) for line in rows.read_text().splitlines()]
    rows.write_text("".join(json.dumps(row | (failed if row["photo"] == "b.jpg" else {})) + "\n" for row in kept))
    assert run(many, home, place.folder).returncode == 1
    again = run([*many, "--retry-failed"], home, place.folder)
    assert again.returncode == 0, again.stderr
    found = {row["photo"]: row["status"] for row in map(json.loads, rows.read_text().splitlines())}
    assert found == {"a.jpg": "answered", "b.jpg": "answered", "c.jpg": "failed"}, "c.jpg is in no command any more"


def test_an_atlas_is_deleted_when_that_is_said(home: Path, place: Place) -> None:
    own = Path(shutil.copytree(home, place.folder / "own"))
    assert_one_line(run(["atlas", "delete", "small"], own, place.folder), "--yes")
    done = run(["atlas", "delete", "small", "--yes"], own, place.folder)
    assert (done.returncode, done.stderr) == (0, "deleted the atlas small\n")
    assert not (own / "atlases" / "small").exists()


def test_an_atlas_of_no_photo_is_none(encoder: Path, place: Place) -> None:
    """The photos say nothing of where they were taken."""
    build: list[Any] = ["atlas", "build", "mine", "--photos", place.photo.parent, "--encoder", encoder]
    done = run(build, place.home, place.folder)
    assert done.returncode == 2
    assert "none of 2 photos could be used" in done.stderr.splitlines()[-1]
    assert "a.jpg does not say where it was taken" in done.stderr.splitlines()[-1]
    assert not (place.home / "atlases" / "mine").exists()
