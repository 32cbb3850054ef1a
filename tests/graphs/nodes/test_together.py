"""Several photos of one place as one query: one search, signs counted once, all shown to the model, one answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import BaseMessage, HumanMessage

from agents.messages import is_picture, read_data
from agents.schemas import Answer, Evidence, EvidenceKind
from core.errors import UserError
from geo.point import Point
from graphs.context import GeolocateContext
from graphs.events.steps import StepDone
from graphs.geolocate import build_geolocate
from graphs.settings import make_settings
from graphs.state import query_input
from graphs.system import GeoSleuth
from retrieval.photos.photo import Photo, PhotoMetadata
from retrieval.photos.together import MOST_TOGETHER
from tests.fakes.machine import FakeReader, FakeSearch, ScriptedModel, candidates, context, photo, propose
from tools.look_closer import look_closer_tool
from tools.read_signs import read_signs_tool
from tools.results import SignsRead

PLAIN, SIGN = photo(120), replace(photo(60), sha256="5".ljust(64, "0"))
CZECH = "Potraviny a smíšené zboží u nádraží www.obchod.cz"


class ReadsDarkPhotos:
    """Reads lines in photos that are dark, and nothing in others."""

    def __init__(self, *lines: str, everywhere: bool = False) -> None:
        self._full, self._everywhere = FakeReader(lines), everywhere

    def read(self, rgb: Any) -> SignsRead:
        return self._full.read(rgb) if self._everywhere or rgb.mean() < 100 else SignsRead(signs=(), languages=())


def world(reader: ReadsDarkPhotos | None = None, **changed: Any) -> GeolocateContext:
    """The small world with two photos in its store."""
    at = context(**changed)
    at.photo_store.add(SIGN)
    tool = read_signs_tool(at.photo_store, reader or ReadsDarkPhotos())  # type: ignore[arg-type]  # its one method
    return replace(at, tools={**at.tools, tool.name: tool})


def located(at: GeolocateContext, *photos: Photo) -> dict[str, Any]:
    given = query_input(photos, "", None, allow_metadata=False)
    return build_geolocate(at).invoke(given, output_keys=["answer", "records", "notes"])


def of_kind(answer: Answer, kind: EvidenceKind) -> list[Evidence]:
    return [item for item in answer.evidence if item.kind is kind]


def test_signs_of_every_photo_are_read_and_each_record_names_its_photo() -> None:
    final = located(world(ReadsDarkPhotos(CZECH)), PLAIN, SIGN)
    read = [record.arguments["photo_id"] for record in final["records"] if record.tool == "read_signs"]
    assert read == [PLAIN.id, SIGN.id]
    answer: Answer = final["answer"]
    assert answer.photo_sha256s == (PLAIN.sha256, SIGN.sha256)
    assert answer.place is not None
    assert answer.place.city == "Prague", "the second photo tells what the first does not"
    alone: Answer = located(world(ReadsDarkPhotos(CZECH)), PLAIN)["answer"]
    assert alone.more_photo_sha256s == ()
    assert not of_kind(alone, EvidenceKind.SIGN)


def test_a_sign_on_two_photos_counts_as_one() -> None:
    twice: Answer = located(world(ReadsDarkPhotos(CZECH, everywhere=True)), PLAIN, SIGN)["answer"]
    once: Answer = located(world(ReadsDarkPhotos(CZECH, everywhere=True)), PLAIN)["answer"]
    for kind in (EvidenceKind.SIGN, EvidenceKind.LANGUAGE):
        [two], [one] = of_kind(twice, kind), of_kind(once, kind)
        assert two.information_nats == pytest.approx(one.information_nats)


def test_all_photos_are_one_search() -> None:
    search = FakeSearch(candidates())
    final = located(world(search=search), PLAIN, SIGN)
    [searched] = [record for record in final["records"] if record.tool == "search_photos"]
    assert searched.arguments["more_photo_ids"] == [SIGN.id]
    assert search.calls == 1
    one: Answer = located(world(), PLAIN)["answer"]
    [two], [alone] = of_kind(final["answer"], EvidenceKind.RETRIEVAL), of_kind(one, EvidenceKind.RETRIEVAL)
    assert two.information_nats == pytest.approx(alone.information_nats)


def searching_again(_: Sequence[BaseMessage], offered: set[str]) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    if "ProposeHypotheses" in offered:
        return "", propose(("Madrid", 40.42, -3.7))
    if len(offered) == 1:
        return "", [("ReviseHypotheses", {"settled": True})]
    return "", [("search_photos", {"photo_id": photo_id}) for photo_id in (PLAIN.id, SIGN.id)]


def test_a_model_that_searches_with_one_of_the_photos_again_adds_no_weight() -> None:
    answer: Answer = located(world(model=ScriptedModel(policy=searching_again)), PLAIN, SIGN)["answer"]
    assert len(of_kind(answer, EvidenceKind.RETRIEVAL)) == 1
    assert [item.information_nats for item in of_kind(answer, EvidenceKind.LOOKALIKE)] == [0.0, 0.0]


def saying_madrid(_: Sequence[BaseMessage], offered: set[str]) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    return ("", propose(("Madrid", 40.42, -3.7))) if "ProposeHypotheses" in offered else ("done", [])


def test_the_model_sees_every_photo_in_one_message_with_its_id() -> None:
    model = ScriptedModel(policy=saying_madrid)
    located(world(ReadsDarkPhotos(CZECH), model=model), PLAIN, SIGN)
    assert len(model.seen) > 1
    for messages in model.seen:
        first = next(message for message in messages if isinstance(message, HumanMessage))
        content: list[Any] = [block for block in first.content if isinstance(block, dict)]
        pictures = [index for index, block in enumerate(content) if is_picture(block)]
        assert [content[index - 1]["text"] for index in pictures] == [f"{PLAIN.id}:", f"{SIGN.id}:"]
        assert content[pictures[0]]["base64"] != content[pictures[1]]["base64"]
    asked = model.seen[0][-1]
    assert f"{PLAIN.id} (and {SIGN.id}, of the same place)" in asked.text
    assert read_data(asked)["more_photo_ids"] == [SIGN.id]
    assert not any("signs" in read_data(message) for message in model.seen[0]), "its first reading is its own"
    signs = [sign for message in model.seen[1] for sign in read_data(message).get("signs", [])]
    assert {sign["photo_id"] for sign in signs} == {SIGN.id}


def test_a_part_to_enlarge_names_its_photo() -> None:
    parts = [[0.1, 0.1, 0.5, 0.5], {"left": 0.5, "top": 0.5, "right": 1, "bottom": 1, "photo_id": SIGN.id}]

    def policy(_: Sequence[BaseMessage], offered: set[str]) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
        [(name, proposed)] = propose(("Madrid", 40.42, -3.7))
        return ("", [(name, {**proposed, "look_closer": parts})]) if "ProposeHypotheses" in offered else ("done", [])

    at = world(model=ScriptedModel(policy=policy), strategy="look_closer", found=())
    tool = look_closer_tool(at.photo_store, None)
    final = located(replace(at, tools={**at.tools, tool.name: tool}), PLAIN, SIGN)
    closer = [record for record in final["records"] if record.tool == "look_closer"]
    assert [(record.arguments["photo_id"], record.error) for record in closer] == [(PLAIN.id, None), (SIGN.id, None)]
    assert len({record.call_id for record in closer}) == 2


# --- the system


def shown(seed: int, lat: float | None = None) -> Photo:
    rgb = np.random.default_rng(seed).integers(0, 255, (120, 160, 3), np.uint8)
    claimed = None if lat is None else PhotoMetadata(position=Point(lat=lat, lon=20.0), taken_at="2024-06-21T12:00Z")
    return Photo(rgb, f"{seed:012x}".ljust(64, "0"), f"photo {seed}.jpg", claimed)


@pytest.fixture
def sleuth(tmp_path: Path) -> Iterator[GeoSleuth]:
    settings = make_settings(home=tmp_path, read_signs=False, checkpoints=tmp_path / "checkpoints.sqlite")
    with GeoSleuth.open(settings) as opened:
        yield opened


def test_the_answer_and_the_audit_line_name_every_photo(sleuth: GeoSleuth) -> None:
    answer = sleuth.locate(shown(1), more=[shown(2), shown(3)])
    [line] = map(json.loads, sleuth.settings.audit_path.read_text().splitlines())
    assert [line["photo_sha256"], *line["more_photo_sha256s"]] == list(answer.photo_sha256s)
    assert answer.photo_sha256s == tuple(shown(seed).sha256 for seed in (1, 2, 3))


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ([shown(1)], "photo 1.jpg is the same file as photo 1.jpg"),
        ([shown(seed) for seed in range(2, 2 + MOST_TOGETHER)], "9 photos of one place: at most 8"),
    ],
)
def test_photos_that_are_no_set_are_refused(sleuth: GeoSleuth, more: list[Photo], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        sleuth.locate(shown(1), more=more)


def test_answers_recorded_about_one_photo_are_no_answers_about_several(tmp_path: Path) -> None:
    row = {"photo_sha256": shown(1).sha256, "response": '{"lat": 1, "lon": 2}'}
    (tmp_path / "said.jsonl").write_text(json.dumps(row) + "\n")
    settings = make_settings(home=tmp_path, model=f"recorded:{tmp_path / 'said.jsonl'}", strategy="zero_shot")
    with GeoSleuth.open(settings) as opened, pytest.raises(UserError, match="answers about one photo each"):
        opened.locate(shown(1), more=[shown(2)])


def test_a_run_that_died_goes_on_with_the_same_photos_only(sleuth: GeoSleuth) -> None:
    stream = sleuth.stream(shown(1), thread="job", more=[shown(2)])
    assert isinstance(next(stream), StepDone)
    stream.close()
    for others in ([], [shown(3)], [shown(2), shown(3)]):
        with pytest.raises(UserError, match="'job' that died is of another photo"):
            sleuth.locate(shown(1), thread="job", more=others)
    answer = sleuth.locate(shown(2), thread="job", more=[shown(1)])
    assert answer.photo_sha256s == (shown(1).sha256, shown(2).sha256), "the same set, in the order it was begun with"
    assert sleuth.locate(shown(1), thread="job").more_photo_sha256s == (), "a finished run's photos are not kept"


def test_metadata_of_any_of_the_photos_is_used_only_if_allowed() -> None:
    photos = (shown(1), shown(2, lat=10.0), shown(3, lat=50.0))
    hidden = query_input(photos, "", None, allow_metadata=False)
    assert (hidden["metadata_position"], hidden.get("clues")) == (None, None)
    used = query_input(photos, "", None, allow_metadata=True)
    assert used["metadata_position"] == Point(lat=10.0, lon=20.0)
    assert used["metadata_sha256"] == shown(2).sha256
    clues = used.get("clues")
    assert clues is not None
    assert clues.taken_at == "2024-06-21T12:00Z"
