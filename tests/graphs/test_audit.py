"""The audit log: whole lines, its owner's only, and a clear error where it cannot be written."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from core.errors import UserError
from graphs.audit import audit_entry, write_audit_line


def test_lines_of_many_threads_do_not_mix(tmp_path: Path) -> None:
    file = tmp_path / "new" / "audit.jsonl"
    lines = [f'{{"time": "{number:03d}"{" " * 600}}}' for number in range(40)]
    threads = [threading.Thread(target=write_audit_line, args=(file, line)) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(file.read_text().splitlines()) == lines


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    write_audit_line(tmp_path / "audit.jsonl", "{}")
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["a letter without an end", '{"a letter": 1}', "\n"])
def test_nothing_is_added_to_a_file_that_is_no_log(content: str, tmp_path: Path) -> None:
    (tmp_path / "letter").write_text(content)
    with pytest.raises(UserError, match="holds something else"):
        write_audit_line(tmp_path / "letter", "{}")
    assert (tmp_path / "letter").read_text() == content


def test_a_question_of_broken_text_is_noted(tmp_path: Path) -> None:
    write_audit_line(tmp_path / "audit.jsonl", audit_entry(None, "where is \udc80?", []))
    assert "where is ??" in (tmp_path / "audit.jsonl").read_text()


def test_a_log_that_cannot_be_written_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder is needed")
    with pytest.raises(UserError, match="GEOSLEUTH_AUDIT_LOG"):
        write_audit_line(tmp_path / "taken" / "audit.jsonl", "{}")
