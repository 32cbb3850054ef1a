"""`geosleuth chat`, `locate --ask` and `answer` as a user runs them: processes of their own, also at a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from agents.schemas import Answer, EvidenceKind
from retrieval.photos.photo import load_photo
from tests.apps.conftest import Run, command, environment
from tests.fakes.people.terminal import Terminal
from tests.fakes.photo_files import jpeg, noise, torn_between_prague_and_warsaw

Talk = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def talk(home: Path, system: Any, tmp_path: Path) -> Talk:
    """Run a chat in a process of its own, lines from a pipe."""

    def run(*arguments: object, lines: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command("chat", *arguments, *system),
            input="".join(f"{line}\n" for line in lines),
            env=environment(home),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def test_a_conversation_through_a_pipe_saved_and_gone_on_with(talk: Talk, home: Path, tmp_path: Path) -> None:
    first, second = jpeg(tmp_path / "first.jpg", 1), jpeg(tmp_path / "second.jpg", 2)
    begun = talk(
        first,
        *("--thread", "trip", "--events", "events.jsonl"),
        lines=(
            "why?",
            "it is near a tram depot in Brno",
            "/table",
            "forget that",
            f"/photo {second}",
            "/photos",
            "/photo 1",
            "/map map.html",
            "/cost",
            "/nonsense",
            "/photo no.jpg",
        ),
    )
    assert begun.returncode == 0, begun.stderr
    assert "coordinates" in begun.stdout
    assert "no LMM" in begun.stdout
    assert begun.stdout.count("Noted: “it is near a tram depot in Brno”") == 1
    assert "the person says “it is near a tram depot in Brno”" in begun.stdout
    assert "Taken back." in begun.stdout
    assert "* 2  second.jpg" in begun.stdout
    assert "tool calls" in begun.stdout
    assert "recall" in begun.stderr
    assert "wrote map.html" in begun.stderr
    assert (tmp_path / "map.html").read_text().startswith("<!doctype html>")
    assert "no command /nonsense" in begun.stderr
    assert "no.jpg: cannot be read" in begun.stderr
    assert "\x1b" not in begun.stdout + begun.stderr
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert {"locate", "discuss", "search_photos"} <= {event["name"] for event in events}
    lines = [json.loads(line) for line in (home / "audit.jsonl").read_text().splitlines()][-3:]
    assert [line["question"] for line in lines] == ["it is near a tram depot in Brno", "forget that", ""]
    assert (home / "threads" / "trip").stat().st_mode & 0o077 == 0

    resumed = talk("--thread", "trip", lines=("/photos", "what would change your mind?", "/undo", "/undo", "/photos"))
    assert resumed.returncode == 0, resumed.stderr
    assert "* 1  first.jpg" in resumed.stdout
    assert "nats" in resumed.stdout
    assert "took back “what would change your mind?”" in resumed.stderr
    assert "took back the last photo" in resumed.stderr
    assert resumed.stdout.rstrip().splitlines()[-1].startswith("* 1  first.jpg")

    forgotten = talk("--forget", "trip")
    assert forgotten.returncode == 0, forgotten.stderr
    assert not (home / "threads" / "trip").exists()
    assert talk("--forget", "trip").returncode == 2


@pytest.mark.parametrize("name", ["../up", "", "a/b", "x" * 100])
def test_a_threads_name_stays_in_its_folder(name: str, home: Path) -> None:
    from core.errors import UserError
    from graphs.chat.threads import SavedThread

    with pytest.raises(UserError, match="letters, digits"):
        SavedThread(home, name)


def test_a_thread_is_one_processs_at_a_time_and_damage_is_said(tmp_path: Path) -> None:
    from core.errors import UserError
    from graphs.chat.threads import SavedThread, forget_thread, thread_names

    with SavedThread(tmp_path, "busy") as held:
        held.begin({"model": "offline"})
        with pytest.raises(UserError, match="in use"):
            SavedThread(tmp_path, "busy")
    assert thread_names(tmp_path) == ["busy"]
    (tmp_path / "threads" / "busy" / "thread.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        SavedThread(tmp_path, "busy")
    with pytest.raises(UserError, match="no thread 'none'"):
        forget_thread(tmp_path, "none")


@pytest.fixture(scope="module")
def close(home: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[object, ...]]:
    """A photo that resembles one of Prague and one of Warsaw equally, and a recorded model that names both."""
    folder = tmp_path_factory.mktemp("close")
    for name in ("prague", "warsaw"):
        noise(7).save(folder / f"{name}.png")
    (folder / "t.csv").write_text("IMG_ID,LAT,LON\nprague.png,50.08,14.43\nwarsaw.png,52.23,21.01\n")
    table = ("--photos", folder, "--table", folder / "t.csv", "--encoder", encoder)
    built = subprocess.run(command("atlas", "build", "close", *table), env=environment(home), check=False)
    assert built.returncode == 0
    model = ("--model", f"recorded:{torn_between_prague_and_warsaw(folder / 'said.jsonl', folder / 'prague.png')}")
    return folder / "prague.png", ("--encoder", encoder, "--atlas", "close", "--no-signs", *model)


def test_a_question_waits_for_an_answer_from_another_process(geosleuth: Run, close: Any) -> None:
    photo, options = close
    waits = geosleuth("locate", photo, "--ask", "--thread", "which", "--json", *options)
    assert waits.returncode == 3, waits.stderr
    assert "? Is any writing in the photo in " in waits.stderr
    assert "geosleuth answer 'which' ANSWER" in waits.stderr
    assert waits.stdout == ""
    still = geosleuth("locate", photo, "--ask", "--thread", "which", *options)
    assert still.returncode == 3, still.stderr
    answered = geosleuth("answer", "which", "it is in Poland", "--json")
    assert answered.returncode == 0, answered.stderr
    answer = Answer.model_validate_json(answered.stdout)
    assert answer.place is not None
    assert answer.place.country_code == "PL"
    assert any(item.kind is EvidenceKind.PERSON for item in answer.evidence)
    again = geosleuth("answer", "which", "no")
    assert again.returncode == 2
    assert "asks nothing" in again.stderr


def test_ctrl_d_and_an_empty_line_at_a_question_leave_it_open(home: Path, close: Any, tmp_path: Path) -> None:
    photo, options = close
    arguments = command("locate", photo, "--ask", "--thread", "ctrl-d", *options)
    terminal = Terminal(arguments, environment(home) | {"TERM": "dumb", "COLUMNS": "200"}, tmp_path)
    try:
        terminal.until("? Is any writing in the photo in ")
        terminal.until("> ")
        terminal.type("   ")
        terminal.until("> ")
        os.write(terminal.ours, b"\x04")
        terminal.until("this run waits for you: geosleuth answer 'ctrl-d' ANSWER")
        assert terminal.process.wait(60) == 3
    finally:
        terminal.close()


def test_a_threads_photos_keep_their_own_answers(geosleuth: Run, system: Any, tmp_path: Path) -> None:
    first, second = jpeg(tmp_path / "a.jpg", 1), jpeg(tmp_path / "b.jpg", 2)
    in_thread = ("--thread", "own answers", "--json", *system)
    answers = [geosleuth("locate", photo, *in_thread) for photo in (first, second, first, second)]
    assert [run.returncode for run in answers] == [0] * 4, [run.stderr for run in answers]
    of = [Answer.model_validate_json(run.stdout).photo_sha256 for run in answers]
    assert of == [load_photo(photo).sha256 for photo in (first, second)] * 2
    other = geosleuth("locate", first, *in_thread, "--strategy", "retrieval")
    assert other.returncode == 2
    assert "strategy refine, not retrieval" in other.stderr
    jpeg(first, 3)
    assert Answer.model_validate_json(geosleuth("locate", first, *in_thread).stdout).photo_sha256 not in of


def test_a_thread_that_waits_is_not_answered_about_another_photo(geosleuth: Run, close: Any, tmp_path: Path) -> None:
    photo, options = close
    assert geosleuth("locate", photo, "--ask", "--thread", "waits", *options).returncode == 3
    other = geosleuth("locate", jpeg(tmp_path / "other.jpg", 5), "--thread", "waits", *options)
    assert other.returncode == 2
    assert "waits for an answer about prague.png" in other.stderr


def test_asking_is_for_one_photo(geosleuth: Run, tmp_path: Path) -> None:
    jpeg(tmp_path / "a.jpg")
    jpeg(tmp_path / "b.jpg")
    assert "one photo" in geosleuth("locate", tmp_path, "--ask").stderr
    both = geosleuth("locate", tmp_path / "a.jpg", "--json", "--events", "-")
    assert both.returncode == 2
    assert "--events" in both.stderr


@pytest.fixture
def slow_geocoder() -> Iterator[str]:
    """A Nominatim that answers a reverse request at once, and a search never."""
    over = Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "/search" in self.path:
                over.wait(60)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    over.set()
    server.shutdown()


def test_ctrl_c_stops_a_step_and_not_the_conversation(
    home: Path, system: Any, slow_geocoder: str, tmp_path: Path
) -> None:
    env = environment(home) | {"GEOSLEUTH_GEOCODER": slow_geocoder, "TERM": "dumb"}
    terminal = Terminal(command("chat", jpeg(tmp_path / "a.jpg", 3), "--no-ask", *system), env, tmp_path)
    try:
        terminal.until("geosleuth 0")
        terminal.until("> ")
        terminal.type("compare with Porto")
        terminal.until("find_place")  # is wanted now, and never returns
        terminal.process.send_signal(signal.SIGINT)
        terminal.until("stopped; /resume")
        terminal.until("> ")
        terminal.type("why?")
        terminal.until("no LMM")
        terminal.type("/undo")
        terminal.until("took back")
        terminal.type("/quit")
        assert terminal.process.wait(120) in (0, 130)
    finally:
        terminal.close()
