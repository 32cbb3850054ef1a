"""Matching with satellite tiles through the whole machine: an encoder of textures, an atlas of two towns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import BaseMessage, ToolMessage
from PIL import Image

pytest.importorskip("torch", reason="the cross-view encoder needs the train extra")

from agents.chat_models.registry import LoadedModel
from agents.schemas import Answer, EvidenceKind, PointSource
from belief.parameters import SatelliteRecord, satellite_record_file
from core.errors import UserError
from geo.sphere import point_distance_km
from graphs.events.steps import Answered, StepDone
from graphs.settings import make_settings
from graphs.system import GeoSleuth
from retrieval.crossview.tile_atlas import build_tile_atlas, tiles_from_table
from retrieval.encoders.registry import load_crossview_encoder
from retrieval.photos.photo import Photo, load_photo
from tests.fakes.machine import Calls, ScriptedModel, propose
from tests.retrieval.crossview.tile_world import (
    MATCHED,
    TOWNS,
    place_bounds,
    texture,
    write_crossview_encoder,
    write_tiles,
)
from tools.match_satellite import NAME

RECORD = SatelliteRecord(
    temperatures=(0.04,), edges=(4.2,), shares=((0.0, 0.0, 1.0), (0.2, 0.6, 0.2)), photos=100, source="test"
)
"""A tile that stands out is believed; otherwise nothing is."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the atlas `towns`, its pictures in `tiles`, the encoder in `encoder`."""
    home = tmp_path_factory.mktemp("world")
    write_crossview_encoder(home / "encoder")
    table = write_tiles(home / "tiles", source="Some\u202ebody", date="2021-05")
    encoder = load_crossview_encoder(home / "encoder", 1)
    build_tile_atlas(home / "atlases" / "towns", encoder, tiles_from_table(table, home / "tiles"))
    return home


def settings(home: Path, **more: Any) -> Any:
    return make_settings(
        home=home,
        satellite_atlas="towns",
        satellite_encoder=home / "encoder",
        satellite_pictures=home / "tiles",
        read_signs=False,
        threads=1,
        **more,
    )


def revision(home: Path) -> str:
    return load_crossview_encoder(home / "encoder", 1).identity.revision


@pytest.fixture(scope="module")
def unmeasured(world: Path) -> Iterator[GeoSleuth]:
    """A system over an encoder without a record."""
    with GeoSleuth.open(settings(world)) as system:
        yield system


@pytest.fixture(scope="module")
def measured(unmeasured: GeoSleuth) -> GeoSleuth:
    """The same with a record."""
    context = unmeasured.context
    known = {context.versions.satellite_encoder: RECORD}
    return with_context(unmeasured, parameters=context.parameters.model_copy(update={"satellite": known}))


def with_context(system: GeoSleuth, **changed: Any) -> GeoSleuth:
    from graphs.geolocate import build_geolocate

    context = replace(system.context, **changed)
    return replace(system, context=context, graph=build_geolocate(context))


def photo(tmp_path: Path, rgb: np.ndarray) -> Photo:
    Image.fromarray(rgb).save(tmp_path / "photo.png")
    return load_photo(tmp_path / "photo.png")


def matches_of(answer: Answer) -> list[Any]:
    return [item for item in answer.evidence if item.kind is EvidenceKind.SATELLITE]


def test_the_tile_that_stands_out_is_the_answer(measured: GeoSleuth, tmp_path: Path) -> None:
    answer = measured.locate(photo(tmp_path, texture(MATCHED, 1)))
    truth = place_bounds(MATCHED).centre
    assert answer.point is not None
    assert point_distance_km(answer.point, truth) < 0.1
    assert answer.point_source is PointSource.SATELLITE_TILE
    assert answer.chance_within_km[1] > 0.5
    [told] = matches_of(answer)
    assert told.claim.startswith("of ")
    assert f"satellite tiles compared, {MATCHED}.png (Somebody, 2021-05), " in told.claim
    assert told.information_nats > 3.0
    assert answer.hypotheses[0].radius_km < 1.0
    first = answer.matches[0]
    assert (first.tile_id, first.probability > 0.5) == (f"{MATCHED}.png", True)
    assert first.jpeg_base64
    assert not answer.matches[-1].jpeg_base64


def test_a_photo_with_nothing_to_match_moves_nothing(measured: GeoSleuth, tmp_path: Path) -> None:
    wall = np.full((96, 96, 3), 128, np.uint8)
    with_tiles, alone = (
        system.locate(photo(tmp_path, wall)) for system in (measured, with_context(measured, match=None))
    )
    [told] = matches_of(with_tiles)
    assert told.information_nats < 0.01
    assert with_tiles.chance_within_km == pytest.approx(alone.chance_within_km, abs=0.02)


def test_several_photos_of_a_place_are_matched_as_one_query(measured: GeoSleuth, tmp_path: Path) -> None:
    shown = [photo(tmp_path, texture(MATCHED, noise)) for noise in (1, 2)]
    answer = measured.locate(shown[0], more=shown[1:])
    [told] = matches_of(answer)
    assert told.source is not None
    assert told.source.arguments["photo_ids"] == [one.id for one in shown]
    assert answer.matches[0].tile_id == f"{MATCHED}.png"


def test_without_a_record_a_match_is_shown_and_moves_nothing(unmeasured: GeoSleuth, tmp_path: Path) -> None:
    answer = unmeasured.locate(photo(tmp_path, texture(MATCHED, 1)))
    alone = with_context(unmeasured, match=None).locate(photo(tmp_path, texture(MATCHED, 1)))
    [told] = matches_of(answer)
    assert f" compared, {MATCHED}.png (" in told.claim
    assert (told.information_nats, answer.chance_within_km) == (0.0, alone.chance_within_km)
    assert "python -m evals.fit_satellite" in answer.reasoning


def test_a_record_beside_the_encoder_is_found_by_its_revision(world: Path) -> None:
    file = satellite_record_file(world / "encoder", revision(world))
    file.write_text(RECORD.model_dump_json(), encoding="utf-8")
    with GeoSleuth.open(settings(world)) as system:
        assert system.context.parameters.satellite_of(system.context.versions.satellite_encoder) == RECORD
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"evals\.fit_satellite"):
        GeoSleuth.open(settings(world))
    file.unlink()


def test_the_belief_is_matched_again_where_it_has_moved_and_counts_once(measured: GeoSleuth, tmp_path: Path) -> None:
    """The model first says Barcelona, then finds Paris by its own call; its call has no weight of its own."""
    paris, barcelona = TOWNS

    def policy(messages: Sequence[BaseMessage], offered: set[str]) -> tuple[str, Calls]:
        if "ProposeHypotheses" in offered:
            return "", propose(("Barcelona", barcelona.lat, barcelona.lon))
        if offered == {"ReviseHypotheses"}:
            added = {"name": "Paris", "lat": paris.lat, "lon": paris.lon, "radius_km": 20.0, "why": "the tile fits"}
            return "", [("ReviseHypotheses", {"add": [added], "settled": True})]
        [shown] = {part for message in messages for part in _photo_ids(message)}
        call = {"photo_id": shown, "lat": paris.lat, "lon": paris.lon, "radius_km": 5.0}
        return "", [("match_satellite", call), ("match_satellite", {**call, "areas": []})]

    model = ScriptedModel(policy=policy)
    scripted = with_context(measured, models=(LoadedModel(name="fake", chat=model),))
    events = list(scripted.stream(photo(tmp_path, texture(MATCHED, 1))))
    done = [event.step for event in events if isinstance(event, StepDone)]
    assert done == ["look", "hypothesise", "match", "investigate", "tools", "revise", "match"]
    [answer] = [event.answer for event in events if isinstance(event, Answered)]
    told = matches_of(answer)
    assert [item.information_nats > 0.0 for item in told] == [False, True]
    assert "without weight" in told[0].claim
    [ok, refused] = [m for m in model.seen[-1] if isinstance(m, ToolMessage) and m.name == NAME]
    assert [block["type"] for block in ok.content] == ["text", "image"]  # type: ignore[index]  # blocks of a result
    assert f'"tile":"{MATCHED}.png"' in str(ok.content)
    assert "\u202e" not in str(ok.content)
    assert "areas" in str(refused.content)


def _photo_ids(message: BaseMessage) -> Iterator[str]:
    text = message.content if isinstance(message.content, str) else json.dumps(message.content)
    for part in text.split("photo_id")[1:]:
        yield part.strip('\\":, ').split('"')[0].rstrip("\\")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"satellite_encoder": None}, "--satellite-encoder"),
        ({"satellite_atlas": "nothing"}, "no atlas at"),
        ({"satellite_encoder": "tiles"}, "no cross-view encoder"),
        ({"satellite_pictures": "nowhere"}, "no folder of tiles' pictures"),
    ],
)
def test_what_is_missing_is_named(world: Path, changed: dict[str, Any], message: str) -> None:
    given = {key: world / value if key != "satellite_atlas" and value else value for key, value in changed.items()}
    chosen = {"home": world, "satellite_atlas": "towns", "satellite_encoder": world / "encoder", **given}
    with pytest.raises(UserError, match=message):
        GeoSleuth.open(make_settings(read_signs=False, **chosen))
