"""Recorded answers without their photos, and juries, through `python -m evals.run`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from evals import run as evals_run
from evals.runs.records import RecordStatus, read_info, read_records
from retrieval.atlas.build import build_gps_atlas
from retrieval.encoders.registry import load_encoder
from tests.evals.clean.test_protocol import jpeg, scene
from tests.fakes.proxy import Misbehaving, misbehaving

TRUTH = {
    "a.jpg": ("ann", 38.72, -9.13),
    "b.jpg": ("bob", 48.86, 2.35),
    "c.jpg": ("cem", 35.69, 139.69),
    "d.jpg": ("ann", 50.09, 14.42),
}


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    rows = [f"{name},{author},{lat},{lon}" for name, (author, lat, lon) in TRUTH.items()]
    (tmp_path / "truth.csv").write_text("\n".join(["IMG_ID,AUTHOR,LAT,LON", *rows]) + "\n")
    return tmp_path / "truth.csv"


def answers(file: Path, *names: str, off_deg: float = 0.0, **said: str) -> str:
    """The spec of a model that was right about the named photos, but for so many degrees, and said this of others."""
    rows = []
    for name in names:
        _, lat, lon = TRUTH[name]
        right = {"name": "here", "lat": lat + off_deg, "lon": lon, "radius_km": 5.0, "confidence": 0.8}
        wrong = {"name": "there", "lat": -10.0, "lon": 20.0, "radius_km": 300.0, "confidence": 0.1}
        rows.append({"photo": name, "response": json.dumps({"clues": "a tower", "hypotheses": [wrong, right]})})
    rows += [{"photo": f"{name}.jpg", "response": text} for name, text in said.items()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"recorded:{file}"


def run(truth: Path, out: Path, *more: str) -> int:
    return evals_run.main(
        ["answers", "--data", str(truth), "--home", str(out.parent / "home"), "--out", str(out), *more]
    )


def test_a_recorded_jury_is_scored_without_photos(
    truth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = answers(tmp_path / "first.jsonl", "a.jpg", "b.jpg", c="I'm sorry, but I can't help with that.")
    second = answers(tmp_path / "second.jsonl", "a.jpg", "c.jpg", off_deg=0.01)
    out = tmp_path / "run"
    assert run(truth, out, "--model", f"{first},{second}", "--strategy", "jury") == 0
    records = {record.photo: record for record in read_records(out)}
    assert [record.author for record in records.values()] == ["ann", "bob", "cem", "ann"]
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        assert records[name].status is RecordStatus.ANSWERED
        assert records[name].distance_km == pytest.approx(0.0, abs=5.0)
        assert {(h.name, h.radius_km) for h in records[name].hypotheses} >= {("here", 5.0), ("there", 300.0)}
    assert records["d.jpg"].chance_within_km[25] < 0.05, "nobody said anything about it: the prior is answered"
    assert "gave nothing to use (failed)" in records["d.jpg"].reasoning
    assert f"the first reading of {first} is missing (refused" in records["c.jpg"].reasoning
    assert f"the first reading of {second} is missing (failed" in records["b.jpg"].reasoning
    assert list(records["a.jpg"].cost_by_model) == [first, second]
    info = read_info(out)
    assert (info.model, info.photos, info.atlases) == (f"{first},{second}", 4, ())
    assert "jury (recorded first + recorded second)" in capsys.readouterr().out
    assert run(truth, tmp_path / "part", "--model", first, "--only", "train") == 2, "refine looks at pixels"


def test_strategies_that_only_ask_run_without_photos(truth: Path, tmp_path: Path) -> None:
    model = answers(tmp_path / "first.jsonl", *TRUTH)
    out = tmp_path / "run"
    assert run(truth, out, "--model", model, "--strategy", "jury,zero_shot,chain_of_thought,self_consistency") == 0
    records = read_records(out)
    assert len(records) == 16
    assert all(record.distance_km == pytest.approx(0.0, abs=5.0) for record in records)


@pytest.mark.parametrize(
    ("model", "strategy", "problem"),
    [
        ("recorded:first.jsonl", "jury,rag", "has no photos, and rag looks at their pixels"),
        ("offline", "jury", "has no photos to show to offline: name recorded models"),
        ("recorded:first.jsonl,offline", "jury", "has no photos to show to offline"),
        ("recorded:first.jsonl,recorded:second.jsonl", "jury,zero_shot", "the strategy zero_shot asks one model"),
    ],
)
def test_what_needs_pixels_is_refused_at_once(
    model: str,
    strategy: str,
    problem: str,
    truth: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        answers(tmp_path / f"{name}.jsonl", *TRUTH)
    assert run(truth, tmp_path / "run", "--model", model, "--strategy", strategy) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_missing_table_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = answers(tmp_path / "first.jsonl", *TRUTH)
    assert run(tmp_path / "nowhere.csv", tmp_path / "run", "--model", model, "--strategy", "jury") == 2
    assert "name a CSV with IMG_ID, LAT, LON" in capsys.readouterr().err


@pytest.fixture
def servers() -> Iterator[tuple[Misbehaving, Misbehaving]]:
    """Two servers that propose the same."""
    pytest.importorskip("langchain_openai")
    with ExitStack() as stack:
        first, second = (stack.enter_context(misbehaving("http://127.0.0.1:9", "proposes*")) for _ in range(2))
        yield first, second


def test_a_served_jury_shares_one_limit_of_money(
    servers: tuple[Misbehaving, Misbehaving], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dear, cheap = (
        f"openai_compatible:{name}@{server.url}" for name, server in zip(("dear", "cheap"), servers, strict=True)
    )
    prices = {
        "openai_compatible:dear": {"input": 500, "output": 0},
        "openai_compatible:cheap": {"input": 1, "output": 0},
    }
    (tmp_path / "prices.json").write_text(json.dumps(prices))
    build_gps_atlas(
        tmp_path / "atlases" / "small", load_encoder("compact", 1), [(38.72, -9.13)], ["lisbon"], source="a test"
    )
    images = tmp_path / "data" / "images"
    images.mkdir(parents=True)
    rows = ["IMG_ID,AUTHOR,LAT,LON"]
    for seed, (name, (author, lat, lon)) in enumerate(TRUTH.items()):
        (images / name).write_bytes(jpeg(scene(seed)))
        rows.append(f"{name},{author},{lat},{lon}")
    (tmp_path / "data" / "truth.csv").write_text("\n".join(rows))
    out, options = tmp_path / "run", ["--model", f"{dear},{cheap}", "--strategy", "jury", "--concurrency", "1"]
    options += ["--prices", str(tmp_path / "prices.json"), "--cache", str(tmp_path / "cache"), "--home", str(tmp_path)]
    command = ["folder", "--data", str(tmp_path / "data"), "--out", str(out), "--atlas", "small", *options]
    assert evals_run.main([*command, "--max-usd", "1.8"]) == 1
    assert "jury: 4 photos × 2.0 calls" in capsys.readouterr().err
    spent = read_info(out).spent_usd
    assert 0.5 < spent <= 1.8
    assert 0 < len(read_records(out)) < 4
    assert evals_run.main([*command, "--max-usd", "100"]) == 0
    assert read_info(out).spent_usd == pytest.approx(4 * 0.501)
    asked = [server.asked for server in servers]
    for record in read_records(out):
        assert record.cost.usd == pytest.approx(0.501)
        assert {name: cost.usd for name, cost in record.cost_by_model.items()} == {
            dear: pytest.approx(0.5),
            cheap: pytest.approx(0.001),
        }
        assert len(record.raw_replies) == 2
    again = ["folder", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "again"), "--atlas", "small", *options]
    assert evals_run.main(again) == 0
    assert read_info(tmp_path / "again").spent_usd == 0.0, "all replies came from the cache"
    assert [server.asked - before for server, before in zip(servers, asked, strict=True)] == [2, 2], "only probes"
    first, second = ([one.untimed().line() for one in read_records(tmp_path / name)] for name in ("run", "again"))
    assert first == second
