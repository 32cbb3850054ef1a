"""Tables to paste: what is escaped, what is said, and the published numbers' sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals import leaderboard
from evals.benchmarks.registry import BENCHMARKS
from evals.scores.arrays import load_systems
from evals.scores.score_tables import accuracy_table, all_tables, uncertainty_tables
from evals.scores.scoring import score
from evals.scores.tables import Table, latex, markdown
from tests.fakes.records import calibrated_records, made_record, random_records, write_run

HOSTILE = Table("50 % & more", ["a_b", "x|y"], [["<script>alert(1)</script>", "c:\\d | $e$ {f} ~^#"]])


def test_markdown_cells_cannot_break_the_table() -> None:
    lines = markdown(HOSTILE).splitlines()
    assert lines[2] == r"| a_b | x\|y |"
    assert lines[3] == "| --- | ---: |"
    assert lines[4] == r"| &lt;script>alert(1)&lt;/script> | c:\\d \| $e$ {f} ~^# |"


def test_latex_escapes_every_special_character() -> None:
    text = latex(HOSTILE)
    assert r"\caption{50 \% \& more}" in text
    assert r"a\_b & x|y \\" in text
    assert r"c:\textbackslash{}d | \$e\$ \{f\} \textasciitilde{}\textasciicircum{}\#" in text
    assert r"\begin{tabular}{lr}" in text
    assert "$<$script$>$" in text


def test_the_accuracy_table_counts_failures_by_kind(tmp_path: Path) -> None:
    records = [made_record("a"), made_record("b", status="refused"), made_record("c", status="failed")]
    table = accuracy_table([score(load_systems([write_run(tmp_path / "run", records)])[0])])
    assert table.rows[0][0] == "refine (offline)"
    assert table.rows[0][1].startswith("33.3 (")
    assert table.rows[0][-1] == "1 failed, 1 refused"
    assert table.rows[0][-4] == "–"


def test_every_table_is_as_wide_as_its_head(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", random_records(40, seed=0, typical_km=100.0))
    for table in all_tables([score(system) for system in load_systems([run])]):
        assert {len(row) for row in table.rows} == {len(table.head)}, table.title


def test_what_records_do_not_say_is_not_available_rather_than_zero(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", random_records(40, seed=0, typical_km=100.0))
    tables = uncertainty_tables([score(load_systems([run])[0])])
    coverage, reliability, selective, information = [table.rows for table in tables]
    assert coverage[0][1] == "36 of 40"
    assert coverage[0][-5:] == ["n/a"] * 5
    assert reliability[0][1:] == ["within each distance", *["n/a"] * 5]
    assert reliability[1][1:3] == ["in the committed hypothesis (confidence)", "36 of 40"]
    assert selective[0][1] == "confidence"
    assert information == [["refine (offline)", "n/a", "n/a", "n/a"]]


def test_what_records_say_is_in_the_tables(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", calibrated_records(40, seed=0, typical_km=100.0))
    tables = {table.title: table.rows for table in all_tables([score(load_systems([run])[0])])}
    assert not any("n/a" in row for rows in tables.values() for row in rows)
    assert [row[1:3] for row in tables["Cost of a photo by model"]] == [["large", "0.9"], ["small", "0.9"]]
    kinds = [row[1] for row in tables["Information by kind of evidence, over all photos"]]
    assert kinds == ["sight", "sign", "retrieval"]


def test_published_rows_have_a_source_and_make_sense() -> None:
    rows = leaderboard.published()
    assert {row.benchmark for row in rows} <= set(BENCHMARKS)
    assert len({(row.benchmark, row.system) for row in rows}) == len(rows)
    for row in rows:
        given = [value for value in row.accuracy.values() if value is not None]
        recall = [value for value in row.retrieval[:-1] if value is not None]
        assert row.source
        assert (given, recall) == (sorted(given), sorted(recall))
        assert given or recall
        assert all(0.0 < value < 100.0 for value in given + recall)


def test_published_retrieval_stands_in_a_table_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert leaderboard.main(["mmlandmarks"]) == 0
    accuracy, retrieval = capsys.readouterr().out.split("**Published retrieval of tiles")
    assert "| GeoCLIP zero-shot, gallery without them | 6.67 | 28.79 |" in accuracy
    assert "| MML-CLIP, photo to tile | 19.4 | 43.77 | 56.45 | – | 24.88 |" in retrieval
    assert "photo to tile" not in accuracy


def test_our_runs_stand_beside_the_published_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", random_records(40, seed=0, typical_km=10.0), benchmark="im2gps3k")
    assert leaderboard.main(["im2gps3k", str(run)]) == 0
    said = capsys.readouterr().out
    assert "run here: im2gps3k, clean protocol" in said
    assert "| GeoCLIP | 14.1 |" in said
    assert "**Selective answers" in said
    assert leaderboard.main(["yfcc4k", str(run)]) == 2
    assert "runs of yfcc4k" in capsys.readouterr().err
