"""Recorded answers: found by the photo's hash, read like any reply, silent on everything else."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

from agents.chat_models.recorded import read_rows
from agents.chat_models.registry import LoadedModel, load_model
from agents.chat_models.spec import ModelOptions
from agents.messages import request
from agents.reply_schemas import GivePosition, ProposeHypotheses, ReviseHypotheses
from agents.structured_output.ask import ask, ask_structured
from agents.structured_output.position import ReplyStatus
from benchmarks.accuracy.recorded_models import loose, ours, result
from core.errors import UserError
from retrieval.photos.photo import Photo, name_sha256, photo_id_of

PARIS = json.dumps({"latitude": "48.8584", "longitude": "2.2945", "city": "Paris", "country": "France"})
NAMED = json.dumps({"city": "Porto", "country": "Portugal"})


@tool
def reverse_geocode(lat: float, lon: float) -> str:
    """Name a position."""
    return f"{lat} {lon}"


def question(sha256: str) -> list[HumanMessage]:
    return [request("Where?", {"photo_id": photo_id_of(sha256)})]


def write(path: Path, *rows: dict[str, str | None]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def by_hash(tmp_path: Path, *said: str | None) -> tuple[LoadedModel, list[str]]:
    hashes = [f"{number:064x}" for number in range(1, len(said) + 1)]
    hashes = [sha256[::-1] for sha256 in hashes]  # the first characters tell photos apart
    rows = [{"photo_sha256": sha, "response": text} for sha, text in zip(hashes, said, strict=True)]
    return load_model(f"recorded:{write(tmp_path / 'answers.jsonl', *rows)}"), hashes


def test_each_photo_gets_its_own_answer(tmp_path: Path) -> None:
    model, hashes = by_hash(tmp_path, PARIS, "I’m sorry, but I can’t help with that.", "", None, NAMED)
    replies = [ask_structured(model, question(sha), GivePosition) for sha in hashes]
    refused, lost = ReplyStatus.REFUSED, ReplyStatus.UNPARSABLE
    assert [reply.status for reply in replies] == [ReplyStatus.OK, refused, lost, lost, ReplyStatus.OK]
    first, last = replies[0].value, replies[4].value
    assert first is not None
    assert last is not None
    assert (first.lat, first.lon, first.name) == (48.8584, 2.2945, "Paris, France")
    assert (last.lat, last.lon, last.name) == (None, None, "Porto, Portugal")  # a name, for the gazetteer; no guess
    assert all(reply.cost.usd == 0.0 and reply.cost.tokens == 0 for reply in replies)


def test_it_proposes_its_answer_and_says_nothing_more(tmp_path: Path) -> None:
    model, (sha, *_) = by_hash(tmp_path, PARIS)
    proposed = ask_structured(model, question(sha), ProposeHypotheses).value
    assert proposed is not None
    assert [(h.lat, h.lon) for h in proposed.hypotheses] == [(48.8584, 2.2945)]
    assert ask_structured(model, question(sha), ReviseHypotheses).value == ReviseHypotheses()
    investigated = ask(model, question(sha), [reverse_geocode]).value
    assert investigated is not None
    assert (investigated.text, investigated.tool_calls) == ("", [])


def several(*places: tuple[str, float, float, float, float], **more: object) -> str:
    rows = [
        {"name": name, "lat": lat, "lon": lon, "radius_km": km, "confidence": share}
        for name, lat, lon, km, share in places
    ]
    return json.dumps({"clues": "tiles on the walls", "hypotheses": rows, **more})


LIST = several(("Madrid", 40.4, -3.7, 200.0, 0.2), ("Lisbon", 38.7, -9.1, 5.0, 0.7))


def test_all_places_of_a_list_are_proposed_and_the_most_confident_is_the_position(tmp_path: Path) -> None:
    model, (sha, *_) = by_hash(tmp_path, LIST)
    proposed = ask_structured(model, question(sha), ProposeHypotheses).value
    assert proposed is not None
    assert [(h.name, h.radius_km, h.confidence, h.why) for h in proposed.hypotheses] == [
        ("Madrid", 200.0, 0.2, "tiles on the walls"),
        ("Lisbon", 5.0, 0.7, "tiles on the walls"),
    ]
    position = ask_structured(model, question(sha), GivePosition).value
    assert position is not None
    assert (position.name, position.lat, position.radius_km, position.confidence) == ("Lisbon", 38.7, 5.0, 0.7)


def test_every_place_of_the_recorded_frontier_model_is_read(shared_data: Path) -> None:
    file = shared_data / "recorded" / "frontier-2026-11.jsonl"
    model = load_model(f"recorded:{file}", ModelOptions(has_photos=False))
    for row in read_rows(file):
        said = json.loads(row.response or "")["hypotheses"]
        asked = question(name_sha256(row.photo or ""))
        reply = ask_structured(model, asked, ProposeHypotheses)
        assert reply.value is not None, reply.problem
        read = [(h.lat, h.lon, h.radius_km, h.confidence) for h in reply.value.hypotheses]
        assert read == [(h["lat"], h["lon"], h["radius_km"], h["confidence"]) for h in said]


def test_without_photos_answers_are_found_by_the_photos_name(tmp_path: Path) -> None:
    answers = write(tmp_path / "answers.jsonl", {"photo": "a.jpg", "response": PARIS})
    model = load_model(f"recorded:{answers}", ModelOptions(has_photos=False))
    photo = Photo.by_name("a.jpg")
    assert not photo.has_pixels
    assert ask_structured(model, [request("Where?", {"photo_id": photo.id})], GivePosition).status is ReplyStatus.OK
    other = [request("Where?", {"photo_id": Photo.by_name("b.jpg").id})]
    assert ask_structured(model, other, GivePosition).status is ReplyStatus.FAILED


def test_a_photo_without_an_answer_is_a_failure_that_says_so(tmp_path: Path) -> None:
    model, _ = by_hash(tmp_path, PARIS)
    reply = ask_structured(model, question("f" * 64), GivePosition)
    assert reply.status is ReplyStatus.FAILED
    assert "was recorded" in reply.problem


def test_names_are_found_in_the_folder_of_photos(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"pixels")
    answers = write(
        tmp_path / "answers.jsonl", {"photo": "a.jpg", "response": PARIS}, {"photo": "b.jpg", "response": ""}
    )
    model = load_model(f"recorded:{answers}@{photos}")
    sha256 = hashlib.sha256(b"pixels").hexdigest()
    assert ask_structured(model, question(sha256), GivePosition).status is ReplyStatus.OK
    with pytest.raises(UserError, match="say where they are"):
        load_model(f"recorded:{answers}")
    with pytest.raises(UserError, match="is no folder"):
        load_model(f"recorded:{answers}@{tmp_path / 'nowhere'}")
    with pytest.raises(UserError, match="none of its 2 names"):
        load_model(f"recorded:{answers}@{tmp_path}")


@pytest.mark.parametrize(("line", "problem"), [("{", "line 1, is not"), ('{"response": "x"}', "names no photo")])
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(UserError, match=problem):
        load_model(f"recorded:{path}")
    with pytest.raises(UserError, match="cannot be read"):
        load_model(f"recorded:{tmp_path / 'missing.jsonl'}")


def test_real_answers_are_read_at_least_as_well_as_by_a_loose_expression(shared_data: Path) -> None:
    with (shared_data / "im2gps3k_dev" / "im2gps3k_dev.csv").open(newline="") as stream:
        truth = {row["IMG_ID"]: (float(row["LAT"]), float(row["LON"])) for row in csv.DictReader(stream)}
    expected = {
        "o4-mini": Counter(ok=536, refused=790, unparsable=9),
        "gpt-4-turbo": Counter(ok=366),
        "idefics-80b-instruct": Counter(unparsable=241, refused=192, ok=4),
    }
    for name, counts in expected.items():
        rows = read_rows(shared_data / "recorded" / f"{name}.jsonl")
        careful, careless = result(rows, truth, ours), result(rows, truth, loose)
        assert careful.counts == counts
        assert all((careful.km <= limit).mean() >= (careless.km <= limit).mean() for limit in (1.0, 25.0, 200.0, 750.0))
