"""Records: byte-stable lines, torn files, files of something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.schemas import Cost, EvidenceKind
from evals.runs.records import (
    RECORDS_FILE,
    CandidateNote,
    EvalRecord,
    EvidenceNote,
    HypothesisNote,
    Partial,
    Protocol,
    RecordError,
    RecordStatus,
    read_info,
    read_records,
    read_scores,
    write_records,
)
from retrieval.candidate import AtlasKind
from tests.fakes.records import as_earlier_version


def record(photo: str = "a.jpg", strategy: str = "refine", **changed: object) -> EvalRecord:
    fields: dict[str, object] = {
        "benchmark": "folder",
        "protocol": Protocol.CLEAN,
        "strategy": strategy,
        "model": "offline",
        "encoder": "compact@1",
        "photo": photo,
        "photo_sha256": "ab" * 32,
        "author": "somebody",
        "truth": (0.1 + 0.2, -180.0),
        "truth_place": None,
        "status": RecordStatus.ANSWERED,
        "point": (1 / 3, 2.0),
        "distance_km": 12.3456789,
        "radius_50_km": 1.0,
        "radius_90_km": 2.0,
        "confidence": 0.5,
        "level": None,
        "place": None,
        "hypotheses": (HypothesisNote(name="Šibenik\u2028", point=(1.0, 2.0), radius_km=3.0, probability=0.5),),
        "evidence": (EvidenceNote(kind=EvidenceKind.SIGN, claim="x", tool="read_signs", nats=0.5),),
        "candidates": (
            CandidateNote(atlas="w", kind=AtlasKind.GPS, rank=0, similarity=0.5, point=(1.0, 2.0), item_id="7"),
        ),
        "excluded": 0,
        "flags": (),
        "strata": {"scene": "urban", "prob_urban": 0.7},
        "reasoning": "because\nof the tram",
        "raw_replies": ("{}",),
        "error": None,
        "cost": Cost(seconds=1.5),
    }
    return EvalRecord.model_validate(fields | changed)


def test_a_record_is_one_line_and_reads_back_the_same(tmp_path: Path) -> None:
    first, second = record("a.jpg"), record("b.jpg", status=RecordStatus.ERROR, point=None, distance_km=None, error="x")
    write_records(tmp_path / RECORDS_FILE, [first, second])
    assert (tmp_path / RECORDS_FILE).read_bytes().count(b"\n") == 2
    read = read_records(tmp_path)
    assert read == [first, second]
    assert [one.line() for one in read] == [first.line(), second.line()]


def test_only_the_seconds_depend_on_the_clock() -> None:
    slow, fast = (record(cost=spent, cost_by_model={"m": spent}) for spent in (Cost(seconds=9.0), Cost(seconds=0.1)))
    assert slow.line() != fast.line()
    assert slow.untimed().line() == fast.untimed().line()


def test_the_scored_part_is_that_of_the_whole(tmp_path: Path) -> None:
    whole = record()
    write_records(tmp_path / RECORDS_FILE, [whole])
    (thin,) = read_scores(tmp_path)
    assert thin.model_dump() == whole.model_dump(include=set(type(thin).model_fields))
    assert thin.key == ("a.jpg", "refine")


def test_a_record_of_an_earlier_version_is_read_and_says_nothing_of_what_it_does_not_know(tmp_path: Path) -> None:
    (tmp_path / RECORDS_FILE).write_bytes(as_earlier_version(record()))
    for (read,) in (read_records(tmp_path), read_scores(tmp_path)):
        assert (read.chance_within_km, read.cost_by_model) == ({}, {})
        assert (read.area_50_km2, read.is_in_area_90, read.log_density, read.information_nats) == (None,) * 4
    assert read_records(tmp_path)[0].evidence[0].information_nats is None


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / RECORDS_FILE
    write_records(file, [record("a.jpg"), record("b.jpg")])
    file.write_bytes(file.read_bytes()[:-20])
    assert [one.photo for one in read_records(tmp_path)] == ["a.jpg"]


@pytest.mark.parametrize("line", [b"{}\n", b"not json\n", b'{"photo": 1}\n', b"\xff\n"])
def test_a_line_of_something_else_is_reported_with_its_number(tmp_path: Path, line: bytes) -> None:
    (tmp_path / RECORDS_FILE).write_bytes(record().line() + line)
    with pytest.raises(RecordError, match="line 2"):
        read_records(tmp_path)


@pytest.mark.parametrize("position", [(91.0, 0.0), (0.0, 181.0), (float("nan"), 0.0)])
def test_a_record_holds_positions_on_the_earth_only(position: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="point"):
        record(point=position)


def test_no_run_folder_is_reported(tmp_path: Path) -> None:
    for read in (read_records, read_scores, read_info):
        with pytest.raises(RecordError, match="folder of a run"):
            read(tmp_path / "nothing")


def test_a_partial_run_says_so() -> None:
    text = str(Partial(expected=2997, on_disk=1335, run=334, why="--only validation"))
    assert text == "PARTIAL: 334 of 2997 photos (--only validation)"
