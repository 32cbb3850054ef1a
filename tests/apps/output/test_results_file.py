"""Records of a folder run: appended whole, read back, repaired, never somebody else's file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from apps.output.results_file import (
    PhotoResult,
    RunFile,
    RunStatus,
    settings_differences,
)
from apps.output.table import COLUMNS, csv_lines
from core.errors import UserError
from graphs.settings import NOT_OF_THE_ANSWER, Settings, answering_settings, make_settings
from tests.fakes.answers import FIJI, HOSTILE, abstained, answered, at, believed, believed_at, hostile
from tests.fakes.full_disk import full_after

ANSWERED = PhotoResult.of_answer("a.jpg", answered())
ABSTAINED = PhotoResult.of_answer("b.jpg", abstained())
FAILED = PhotoResult.of_failure("c \udcff頤.jpg", None, "cannot be read")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def as_csv(records: Iterable[PhotoResult]) -> str:
    return "".join(csv_lines(records))


def written(file: Path, *records: PhotoResult) -> Path:
    with RunFile(file) as run_file:
        for record in records:
            run_file.append(record)
    return file


def test_records_are_read_back_as_they_were(file: Path) -> None:
    written(file, ANSWERED, ABSTAINED, FAILED)
    with RunFile(file) as run_file:
        assert list(run_file.records()) == [ANSWERED, ABSTAINED, FAILED]
        assert {record.photo for record in list(run_file.records())} == {"a.jpg", "b.jpg", "c \udcff頤.jpg"}
    statuses = [record.status for record in (ANSWERED, ABSTAINED, FAILED)]
    assert statuses == [RunStatus.ANSWERED, RunStatus.ABSTAINED, RunStatus.FAILED]


def test_a_row_is_one_line_of_ascii_json(file: Path) -> None:
    lines = written(file, PhotoResult.of_answer(HOSTILE, hostile()), FAILED).read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert [set(json.loads(line)) for line in lines] == [{"photo", "sha256", "status", "error", "answer"}] * 2
    assert all(line.isascii() for line in lines)
    assert json.loads(lines[0])["photo"] == HOSTILE


@pytest.mark.parametrize("kept_bytes", [1, 10, 200, -1])
def test_a_torn_last_row_is_cut_off(file: Path, kept_bytes: int) -> None:
    whole = written(file, ANSWERED).read_bytes()
    file.write_bytes(whole + ABSTAINED.line().encode()[:kept_bytes])
    with RunFile(file) as run_file:
        assert list(run_file.records()) == [ANSWERED]
        run_file.append(ABSTAINED)
    assert file.read_bytes() == whole + ABSTAINED.line().encode()


def test_a_file_with_nothing_but_a_torn_row_starts_again(file: Path) -> None:
    file.write_bytes(ANSWERED.line().encode()[:50])
    with RunFile(file) as run_file:
        assert list(run_file.records()) == []
    assert file.read_bytes() == b""


@pytest.mark.parametrize(
    "content", [b"my diary", b"my diary\n", b'{"a": 1}\n', b'{"photo": "a"}\n[1', b"\xff\n", b"\n\n"]
)
def test_another_file_is_refused_and_left_alone(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    file.chmod(0o644)
    with pytest.raises(UserError, match="run file"):
        RunFile(file)
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (content, 0o644)


def test_a_temporary_file_that_is_full_does_not_promise_to_keep_rows(file: Path) -> None:
    with RunFile(file, is_temporary=True) as run_file, full_after(10), pytest.raises(UserError) as raised:
        run_file.append(ANSWERED)
    assert "nothing is kept without --jsonl FILE" in str(raised.value)


def test_a_damaged_row_in_the_middle_is_named(file: Path) -> None:
    file.write_bytes(ANSWERED.line().encode() + b"{}\n" + FAILED.line().encode())
    with pytest.raises(UserError, match="line 2 is not a record"):
        RunFile(file)


def test_two_runs_cannot_write_one_file(file: Path) -> None:
    with RunFile(file), pytest.raises(UserError, match="another run"):
        RunFile(file)
    with RunFile(file):
        pass


def test_answers_of_another_system_are_refused(file: Path) -> None:
    written(file, ANSWERED)
    versions = answered().versions.model_copy(update={"strategy": "clusters"})
    other = PhotoResult.of_answer("d.jpg", answered(versions=versions))
    with RunFile(file) as run_file, pytest.raises(UserError, match="strategy refine, not clusters"):
        run_file.append(other)
    with RunFile(file) as run_file:
        assert list(run_file.records()) == [ANSWERED]


def test_a_folder_is_no_run_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose another"):
        RunFile(tmp_path)


def test_a_belief_is_read_back_as_it_was(file: Path) -> None:
    record = PhotoResult.of_answer("a.jpg", believed_at(FIJI, 300.0))
    with RunFile(written(file, record)) as run_file:
        (found,) = run_file.records()
        assert found == record
        assert found.answer is not None
        assert found.answer.chance_within_km[25] == 0.48


def test_a_row_of_an_old_run_is_read_without_what_it_did_not_have(file: Path) -> None:
    row = json.loads(ANSWERED.line())
    for name in ("chance_within_km", "area_50_km2", "area_90_km2", "areas", "cost_by_model"):
        del row["answer"][name]
    file.write_text(json.dumps(row) + "\n", encoding="ascii")
    with RunFile(file) as run_file:
        assert list(run_file.records()) == [ANSWERED]


def table(*records: PhotoResult) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(records))))


def test_the_table_has_a_row_a_photo_and_a_column_a_chance() -> None:
    belief, old, none, failed = table(PhotoResult.of_answer("b.jpg", believed()), ANSWERED, ABSTAINED, FAILED)
    assert list(belief) == list(COLUMNS)
    assert (belief["photo"], belief["status"], belief["place"]) == ("b.jpg", "answered", "Beijing, China")
    assert [belief[f"chance_within_{km}_km"] for km in (1, 25, 200, 750, 2500)] == [
        "0.12",
        "0.48",
        "0.71",
        "0.88",
        "0.97",
    ]
    assert float(belief["area_90_km2"]) == pytest.approx(656_000.0, rel=0.01)
    assert (old["chance_within_25_km"], old["area_50_km2"], old["confidence"]) == ("", "", "0.62")
    assert (none["status"], none["lat"], none["level"]) == ("abstained", "", "")
    assert (failed["status"], failed["error"], failed["sha256"], failed["confidence"]) == (
        "failed",
        "cannot be read",
        "",
        "",
    )


def test_no_cell_of_the_table_is_a_formula() -> None:
    evil = answered(place=answered().place.model_copy(update={"city": "=1+1"}))  # type: ignore[union-attr]
    (row,) = table(PhotoResult.of_answer('=HYPERLINK("http://a")', evil))
    assert row["photo"].startswith("'=")
    assert row["place"].startswith("'=")
    (south,) = table(PhotoResult.of_answer("a.jpg", answered(point=at(-3.0, -4.0))))
    assert (south["lat"], south["lon"]) == ("-3.0", "-4.0")
    assert as_csv([PhotoResult.of_answer(HOSTILE, hostile())]).count("\n") == 2


def test_rows_may_be_made_coarser_but_never_finer() -> None:
    of = {name: {**answering_settings(make_settings()), "max_precision": name} for name in (None, "city", "country")}
    assert not settings_differences(of[None], of["country"])
    assert not settings_differences(of["city"], of["country"])
    assert settings_differences(of["country"], of["city"]) == "max_precision country, not city"
    assert settings_differences(of["country"], of[None]) == "max_precision country, not none"


@pytest.mark.parametrize(
    "name", sorted(set(Settings.model_fields) - NOT_OF_THE_ANSWER - {"max_precision", "mapillary_token"})
)
def test_every_setting_that_an_answer_depends_on_is_compared(name: str, file: Path) -> None:
    made_with = answering_settings(make_settings(strategy="refine"))
    written(file, replace(ANSWERED, settings=made_with))
    with RunFile(file) as run_file:
        run_file.check_settings(made_with)
        with pytest.raises(UserError, match=f"made with {name} .*, not another"):
            run_file.check_settings(made_with | {name: "another"})


def test_rows_of_earlier_versions_are_compared_by_model_and_strategy(file: Path) -> None:
    written(file, ANSWERED)
    versions = answered().versions
    known = {"model": versions.model, "strategy": versions.strategy, "read_signs": False}
    with RunFile(file) as run_file:
        run_file.check_settings(known)
        with pytest.raises(UserError, match="not another"):
            run_file.check_settings(known | {"model": "another"})
