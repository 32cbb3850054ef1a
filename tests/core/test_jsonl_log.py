"""An append-only file of JSON lines: whole after kills, shared between threads, never somebody else's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from core.errors import UserError
from core.files import OWNER_ONLY
from core.jsonl_log import JsonlLog, append_line, whole_lines
from tests.fakes.full_disk import full_after

ROOT = Path(__file__).parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def opened(file: Path, *, exclusive: bool = False) -> JsonlLog:
    return JsonlLog(file, "test log", "choose another with --log", exclusive=exclusive)


def test_lines_are_read_back_and_more_are_added(file: Path) -> None:
    with opened(file) as log:
        assert log.is_empty
        log.write_line(b'{"a": 1}\n')
    with opened(file) as log:
        assert list(log.lines()) == [b'{"a": 1}\n']
        log.write_line(b'{"a": 2}\n')
    assert list(whole_lines(file)) == [b'{"a": 1}\n', b'{"a": 2}\n']


def test_a_line_may_hold_what_python_takes_for_the_end_of_one(file: Path) -> None:
    line = (json.dumps("a\u2028b\u0085c\x0bd", ensure_ascii=False) + "\n").encode()
    with opened(file) as log:
        log.write_line(line)
        log.write_line(line)
        assert list(log.lines()) == [line, line]


@pytest.mark.parametrize("torn", [b"{", b'{"a": 2}', b'{"a": 2, "b'])
def test_a_torn_line_is_cut_off_once_the_others_are_read(file: Path, torn: bytes) -> None:
    file.write_bytes(b'{"a": 1}\n' + torn)
    assert list(whole_lines(file)) == [b'{"a": 1}\n']
    with opened(file) as log:
        assert list(log.lines()) == [b'{"a": 1}\n']
        log.write_line(b'{"a": 3}\n')
    assert file.read_bytes() == b'{"a": 1}\n{"a": 3}\n'


def test_a_reader_who_refuses_a_line_leaves_the_file_alone(file: Path) -> None:
    content = b"a letter\nwithout an end"
    file.write_bytes(content)
    with opened(file) as log:
        assert next(log.lines()) == b"a letter\n"
    assert file.read_bytes() == content


def test_something_else_without_a_whole_line_is_no_torn_line(file: Path) -> None:
    file.write_bytes(b"a letter")
    with opened(file) as log, pytest.raises(UserError, match="holds something else; choose another with --log"):
        list(log.lines())
    assert file.read_bytes() == b"a letter"


def test_lines_of_many_threads_do_not_mix(file: Path) -> None:
    lines = [b'{"n": "' + b"%03d" % number * 300 + b'"}\n' for number in range(200)]
    with opened(file) as log:

        def write(part: list[bytes]) -> None:
            for line in part:
                log.write_line(line)

        threads = [threading.Thread(target=write, args=(lines[start::8],)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(whole_lines(file)) == lines


WRITER = """
import itertools, pathlib, sys
from core.jsonl_log import JsonlLog
with JsonlLog(pathlib.Path(sys.argv[1]), "log", "wait", exclusive=True) as log:
    done = len(list(log.lines()))
    for number in itertools.count(done):
        log.write_line(b'{"n": %d, "text": "%s"}\\n' % (number, b"x" * 100_000))
        print(number, flush=True)
"""


APPENDER = """
import json, pathlib, sys
from core.jsonl_log import append_line
for number in range(1000):
    line = {"by": sys.argv[2], "number": number, "text": "x" * (500 + number * 37 % 9000)}
    append_line(pathlib.Path(sys.argv[1]), json.dumps(line).encode() + b"\\n")
"""


def test_lines_that_processes_append_at_once_stay_whole_and_none_is_empty(file: Path) -> None:
    command = [sys.executable, "-c", APPENDER, str(file)]
    processes = [subprocess.Popen([*command, name], cwd=ROOT) for name in "abc"]
    try:
        assert [process.wait(60.0) for process in processes] == [0, 0, 0]
    finally:
        for process in processes:
            process.kill()
    found = [json.loads(line) for line in file.read_bytes().splitlines()]
    for name in "abc":
        assert [line["number"] for line in found if line["by"] == name] == list(range(1000))


def test_killed_at_any_moment_and_resumed_no_line_is_lost_doubled_or_half(file: Path) -> None:
    for _ in range(4):
        command = [sys.executable, "-c", WRITER, str(file)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            written = [int(process.stdout.readline()) for _ in range(20)]
            os.kill(process.pid, signal.SIGKILL)
        numbers = [json.loads(line)["n"] for line in whole_lines(file)]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > written[-1], "what was reported as written is there"


def test_an_exclusive_log_is_one_process_s_and_leaves_a_clean_folder(file: Path) -> None:
    with opened(file, exclusive=True), pytest.raises(UserError, match="another run is writing it; wait, or choose"):
        opened(file, exclusive=True)
    opened(file, exclusive=True).close()
    assert list(file.parent.iterdir()) == [file]


def test_lines_are_replaced_while_the_log_is_open(file: Path) -> None:
    with opened(file, exclusive=True) as log:
        log.write_line(b'{"a": 1}\n')
        log.write_line(b'{"a": 2}\n')
        log.replace_lines(reversed(list(log.lines())))
        log.write_line(b'{"a": 3}\n')
    assert list(whole_lines(file)) == [b'{"a": 2}\n', b'{"a": 1}\n', b'{"a": 3}\n']


def test_a_full_disk_and_a_wrong_place_are_user_errors(tmp_path: Path) -> None:
    with opened(Path("/dev/full")) as log, pytest.raises(UserError, match=r"No space left .* make room"):
        log.write_line(b"{}\n")
    for wrong in (tmp_path, tmp_path / "nowhere" / "log.jsonl"):
        with pytest.raises(UserError, match=r"test log .*choose another with --log"):
            opened(wrong)


def test_half_a_line_on_a_full_disk_is_taken_back(file: Path) -> None:
    with opened(file, exclusive=True) as log:
        log.write_line(b'{"a": 1}\n')
        with full_after(12), pytest.raises(UserError, match="make room"):
            log.write_line(b'{"a": 2}\n')
        log.write_line(b'{"a": 3}\n')
    assert file.read_bytes() == b'{"a": 1}\n{"a": 3}\n'


def test_a_single_line_is_not_glued_to_half_of_another(file: Path) -> None:
    append_line(file, b'{"a": 1}\n')
    with full_after(12), pytest.raises(OSError, match="too large"):
        append_line(file, b'{"a": 2}\n')
    append_line(file, b'{"a": 3}\n')
    assert file.read_bytes().splitlines() == [b'{"a": 1}', b'{"a', b'{"a": 3}']


def test_lines_are_replaced_behind_a_link(file: Path, tmp_path: Path) -> None:
    (tmp_path / "link.jsonl").symlink_to(file)
    with opened(tmp_path / "link.jsonl", exclusive=True) as log:
        log.write_line(b'{"fine": 1}\n')
        log.replace_lines([b'{"coarse": 1}\n'])
    assert (tmp_path / "link.jsonl").is_symlink()
    assert file.read_bytes() == b'{"coarse": 1}\n'


def test_a_device_is_no_place_for_locks(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to("/dev/null")
    with opened(tmp_path / "null", exclusive=True) as log:
        assert list(log.lines()) == []
        log.write_line(b"{}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["null"]


def test_single_lines_are_appended_for_the_owner_only(file: Path) -> None:
    append_line(file, b"{}\n", OWNER_ONLY)
    append_line(file, b"{}\n", OWNER_ONLY)
    assert file.read_bytes() == b"{}\n{}\n"
    assert file.stat().st_mode & 0o077 == 0
