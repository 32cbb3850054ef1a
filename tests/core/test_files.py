"""Files replaced whole, locked against other processes that may be killed, hashed, and read as models."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pydantic import BaseModel

from core.errors import UserError
from core.files import (
    OWNER_ONLY,
    lock_file,
    make_private_database,
    read_model,
    replacing,
    sha256_if_readable,
    sha256_of_file,
    write_atomic,
)

ROOT = Path(__file__).parents[2]


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_atomic(file, "old é")
    write_atomic(file, (piece for piece in (b"new ", b"content")))
    assert file.read_bytes() == b"new content"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("many_writers", [False, True])
def test_an_error_halfway_leaves_the_old_content(tmp_path: Path, many_writers: bool) -> None:
    file = tmp_path / "a.json"
    write_atomic(file, b"old")
    with pytest.raises(ZeroDivisionError):
        write_atomic(file, (b"%d" % (1 // number) for number in (1, 0)), many_writers=many_writers)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_full_disk_leaves_the_old_content(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_atomic(file, b"old")
    (tmp_path / "a.json.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="space"), replacing(file) as part:
        part.write_bytes(b"x" * 100_000)
    assert file.read_bytes() == b"old"


def test_a_killed_writer_leaves_the_old_content_and_the_next_one_writes(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_atomic(file, b"old")
    program = (
        "import os, sys, signal, pathlib; from core.files import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as part:\n"
        "    part.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(file)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert file.read_bytes() == b"old"
    write_atomic(file, b"new")
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_only_its_owner_may_read_an_owner_only_file(tmp_path: Path) -> None:
    write_atomic(tmp_path / "secret", b"x", OWNER_ONLY)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_many_writers_of_one_file_leave_one_whole_content(tmp_path: Path) -> None:
    contents = [bytes([number]) * 300_000 for number in range(8)]
    file = tmp_path / "tile"
    threads = [
        threading.Thread(target=write_atomic, args=(file, content), kwargs={"many_writers": True})
        for content in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [file]


HOLD = (
    "import sys, pathlib; from core.files import lock_file\n"
    "with lock_file(pathlib.Path(sys.argv[1]), 'in use'):\n"
    "    print('held', flush=True); sys.stdin.read()"
)


def holder(lock: Path) -> subprocess.Popen[str]:
    """A process that holds the lock until its input ends."""
    command = [sys.executable, "-c", HOLD, str(lock)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lock_keeps_another_process_out_until_it_is_given_back(tmp_path: Path) -> None:
    lock = tmp_path / ".data.lock"
    process = holder(lock)
    with pytest.raises(UserError, match="somebody has it"), lock_file(lock, "somebody has it"):
        pass
    process.communicate()
    with lock_file(lock, "somebody has it"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_killed_lets_go_of_its_lock(tmp_path: Path) -> None:
    lock = tmp_path / ".data.lock"
    process = holder(lock)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with lock_file(lock, "somebody has it"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_one_process_cannot_hold_a_lock_twice(tmp_path: Path) -> None:
    lock = tmp_path / ".data.lock"
    with lock_file(lock, "in use"), pytest.raises(UserError, match="in use"), lock_file(lock, "in use"):
        pass


def test_a_hash_is_of_the_content_as_it_is_now(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"content" * 1000)
    assert sha256_of_file(path) == hashlib.sha256(b"content" * 1000).hexdigest()
    path.write_bytes(b"longer or shorter, it is another")
    assert sha256_of_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_cannot_be_read_has_no_hash(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "missing", Path("a\0b")):
        assert sha256_if_readable(path) is None
    (tmp_path / "x").write_bytes(b"x")
    assert sha256_if_readable(tmp_path / "x") == hashlib.sha256(b"x").hexdigest()


class Fitted(BaseModel):
    a: int


def test_a_model_is_read_or_the_message_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "fitted.json"
    write_atomic(file, '{"a": 3}')
    assert read_model(file, Fitted, "calibration", "make it again") == Fitted(a=3)
    write_atomic(file, '{"a": "x"}')
    with pytest.raises(UserError, match=r"is not a calibration \(a: .*\): make it again"):
        read_model(file, Fitted, "calibration", "make it again")
    with pytest.raises(UserError, match=r"cannot read the calibration .*check the path"):
        read_model(tmp_path / "missing.json", Fitted, "calibration", "make it again")


def test_only_a_database_is_made_private_for_sqlite(tmp_path: Path) -> None:
    strange, database = tmp_path / "photo.jpg", tmp_path / "a.sqlite"
    strange.write_bytes(b"a photo")
    sqlite3.connect(database).execute("CREATE TABLE a (b)").connection.close()
    for file in (strange, database):
        file.chmod(0o644)
        make_private_database(file)
    assert [file.stat().st_mode & 0o777 for file in (strange, database)] == [0o644, 0o600]
