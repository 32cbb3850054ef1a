"""The audit log: whole lines, its owner's only, and a clear error where it cannot be written."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from core.errors import UserError
from graphs.audit import write_audit_line


def test_lines_of_many_threads_do_not_mix(tmp_path: Path) -> None:
    file = tmp_path / "new" / "audit.jsonl"
    lines = [f"{number:03d}" * 200 for number in range(40)]
    threads = [threading.Thread(target=write_audit_line, args=(file, line)) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(file.read_text().splitlines()) == lines


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    write_audit_line(tmp_path / "audit.jsonl", "{}")
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


def test_a_log_that_cannot_be_written_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder is needed")
    with pytest.raises(UserError, match="GEOSLEUTH_AUDIT_LOG"):
        write_audit_line(tmp_path / "taken" / "audit.jsonl", "{}")
