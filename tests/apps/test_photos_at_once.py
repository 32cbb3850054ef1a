"""Several photos of a folder at once: their order, their number, interrupts, and calls that do not return."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from apps.commands import folder
from apps.commands.folder import AHEAD_PER_PHOTO, photos_at_once, run_folder
from apps.commands.locate import parsed_workers
from apps.commands.photo_files import PhotoFile
from apps.output.results_file import RunStatus
from core.errors import UserError
from graphs.settings import make_settings
from tests.apps.conftest import Run, environment
from tests.apps.test_cli_folder import rows
from tests.fakes.answers import answered
from tests.fakes.photo_files import BAD, jpeg


def test_photos_keep_their_order_and_closing_early_is_clean(tmp_path: Path) -> None:
    files = [PhotoFile(jpeg(tmp_path / f"{n}.jpg", seed=n), str(n)) for n in range(30)]
    assert [record.photo for record in run_folder(files, lambda _: answered())] == [str(n) for n in range(30)]
    started = run_folder(files, lambda _: answered())
    assert next(started).status is RunStatus.ANSWERED
    started.close()


def timeless(row: dict[str, Any]) -> dict[str, Any]:
    """A row without when it was written and how long that took."""
    if row["answer"]:
        row["answer"]["cost"]["seconds"] = 0.0
    return row | {"made_at": None}


def test_photos_at_once_change_no_row(geosleuth: Run, system: Any, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    jpeg(photos / "0.jpg")
    BAD["truncated JPEG"][1](photos / "cut.jpg")
    for text in ("BAR PRAHA", "HOTEL"):
        sign = Image.new("RGB", (640, 480), (240, 240, 240))
        ImageDraw.Draw(sign).text((80, 180), text, font=ImageFont.load_default(size=60), fill=(10, 10, 10))
        sign.save(photos / f"{text}.png")
    with_signs = [option for option in system if option != "--no-signs"]
    found = []
    for workers in (1, 3):
        file = tmp_path / f"{workers}.jsonl"
        assert geosleuth("locate", photos, "--jsonl", file, *with_signs, "--workers", workers).returncode == 1
        found.append(list(map(timeless, rows(file))))
    assert found[0] == found[1]
    assert len(found[0]) == 4
    assert any("PRAHA" in json.dumps(row) for row in found[0])


def test_so_many_photos_are_located_at_once_and_no_more_are_ahead(tmp_path: Path) -> None:
    files = [PhotoFile(jpeg(tmp_path / f"{n}.jpg", seed=n), str(n)) for n in range(24)]
    barrier, begun = threading.Barrier(3), list[int]()

    def locate(_: object) -> Any:
        begun.append(1)
        barrier.wait(60.0)
        return answered()

    for count, record in enumerate(run_folder(files, locate, 3), 1):
        assert record.photo == str(count - 1)
        assert len(begun) <= count + AHEAD_PER_PHOTO * 3
    assert len(begun) == 24


def test_an_interrupted_run_waits_for_photos_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [PhotoFile(jpeg(tmp_path / f"{n}.jpg", seed=n), str(n)) for n in range(8)]
    begun, go_on, ended = threading.Semaphore(0), threading.Event(), list[int]()

    def locate(_: object) -> Any:
        begun.release()
        assert go_on.wait(60.0)
        ended.append(1)
        return answered()

    def interrupt() -> None:
        begun.acquire()
        begun.acquire()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    wait_for_photos = folder._wait_for_photos

    def interrupted(started: Any) -> None:
        go_on.set()
        wait_for_photos(started)

    monkeypatch.setattr(folder, "_wait_for_photos", interrupted)
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        list(run_folder(files, locate, 2))
    assert len(ended) == 2


STUCK = r"""
import os, sys, threading
from pathlib import Path
from apps.commands import folder
from apps.commands.photo_files import PhotoFile
from apps.options import Outputs
from graphs.settings import make_settings
from graphs.system import GeoSleuth
folder.PATIENCE_S = 0.5
def locate(self, photo, **_):
    os.write(1, b"begun\n")  # one write a line: print() of several threads may mix lines and their ends
    threading.Event().wait()
GeoSleuth.locate = locate
settings = make_settings(model="offline", atlases=(), read_signs=False)
files = [PhotoFile(path, path.name) for path in Path(sys.argv[1]).rglob("*.jpg")]
folder.locate_many(files, lambda: settings, Outputs(), None, False, int(sys.argv[2]))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_call_that_does_not_return_is_left_and_no_temporary_row_stays(
    workers: int, home: Path, tmp_path: Path
) -> None:
    for number in range(4):
        jpeg(tmp_path / "photos" / f"{number}.jpg", seed=number)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    code = [sys.executable, "-c", STUCK, str(tmp_path / "photos"), str(workers)]
    with subprocess.Popen(
        code, env=environment(home) | {"TMPDIR": str(temporary)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in range(workers)] == [b"begun\n"] * workers
            assert list(temporary.iterdir())
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert b"a call did not return; leaving without it" in errors
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "photos", "model", "expected"),
    [
        (None, 1_000, "offline", 6),
        (None, 2, "offline", 2),
        (5, 1_000, "offline", 5),
        (None, 1_000, "openai:gpt-4o", 4),
        (None, 1_000, "paste", 1),
        (1, 1_000, "paste", 1),
        (None, 1_000, "mailbox:replies", 1),
    ],
)
def test_photos_at_once_go_by_the_cores_or_the_model(
    asked: int | None, photos: int, model: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 3)
    strategy = {} if model == "offline" else {"strategy": "zero_shot"}
    assert photos_at_once(asked, make_settings(model=model, **strategy), photos) == expected


def test_a_person_in_the_terminal_is_asked_about_one_photo_at_a_time() -> None:
    with pytest.raises(UserError, match="one photo at a time"):
        photos_at_once(2, make_settings(model="paste", strategy="zero_shot"), 10)


@pytest.mark.parametrize("text", ["0", "-1", "many", "", "²", "257"])
def test_a_wrong_number_of_workers_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--workers: .* neither auto nor a number"):
        parsed_workers(text)
    assert (parsed_workers("auto"), parsed_workers("3")) == (None, 3)


def test_a_bug_ends_the_run_and_is_not_recorded_as_a_failure(tmp_path: Path) -> None:
    def broken(_: object) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(run_folder([PhotoFile(jpeg(tmp_path / "a.jpg"), "a.jpg")], broken))
