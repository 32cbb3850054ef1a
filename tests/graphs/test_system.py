"""The whole system over the real encoder, gazetteer, store and tools, with a small atlas."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from agents.chat_models.spec import find_jury
from agents.schemas import AnswerStatus, EvidenceKind, Level
from belief.posterior import THRESHOLDS_KM
from core.errors import UserError
from geo.places.gazetteer import Gazetteer
from geo.point import Point
from graphs import components, online_services
from graphs.assessment.calibration import subject_of
from graphs.coarsening import Units
from graphs.events.steps import Answered, StepDone
from graphs.nodes.explain import what_would_help
from graphs.settings import WORLD_ATLAS, Settings, make_settings
from graphs.state import CaptureClues
from graphs.system import GeoSleuth
from retrieval.atlas.manifest import AtlasError, read_manifest, write_manifest
from retrieval.candidate import AtlasKind
from retrieval.photos.photo import Photo, PhotoMetadata
from tests.fakes.tool_calls import Answering, Reply, Server
from tests.graphs.assessment.test_calibration import MADE

ATLAS_SIZE = 400


def photo(seed: int = 0) -> Photo:
    rgb = np.random.default_rng(seed).integers(0, 255, (120, 160, 3), np.uint8)
    # A photo's id is the start of its hash.
    return Photo(rgb, f"{seed:012x}".ljust(64, "0"), "holiday.jpg", PhotoMetadata(position=Point(lat=10.0, lon=20.0)))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "WORLD_ATLAS_SIZE", ATLAS_SIZE)


def over_the_world(home: Path, **chosen: Any) -> Settings:
    """Settings with the atlas of the world, and without signs."""
    return make_settings(**{"home": home, "read_signs": False, "atlases": (WORLD_ATLAS,), **chosen})


@pytest.fixture
def sleuth(home: Path) -> Iterator[GeoSleuth]:
    with GeoSleuth.open(over_the_world(home)) as opened:
        yield opened


NEEDING_AN_ATLAS = ("retrieval", "clusters", "rag", "rag_contrast", "cluster_rag")


def test_without_an_atlas_nothing_is_built_loaded_or_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_encoder(*_: object) -> None:
        raise AssertionError("no atlas is open, so no encoder is needed")

    monkeypatch.setattr(components, "load_encoder", no_encoder)
    with GeoSleuth.open(make_settings(home=tmp_path, read_signs=False)) as opened:
        *steps, last = opened.stream(photo())
        offered = set(opened.context.tools)
    assert isinstance(last, Answered)
    assert not {"recall", "cluster"} & {step.step for step in steps if isinstance(step, StepDone)}
    assert not {"search_photos", "rank_regions"} & offered
    assert {"find_place", "reverse_geocode"} <= offered
    assert not (tmp_path / "atlases").exists()
    answer = last.answer
    assert answer.status is AnswerStatus.ANSWERED
    assert (answer.versions.encoder, answer.versions.atlases, answer.candidates) == ("", (), ())
    assert "Note:" not in answer.reasoning
    assert "What would help: a multimodal model" in answer.reasoning


@pytest.mark.parametrize("strategy", NEEDING_AN_ATLAS)
def test_a_strategy_that_retrieves_says_which_atlas_to_build(strategy: str, home: Path) -> None:
    wanted = rf"strategy {strategy} .*--atlas NAME.*geosleuth atlas build.*--atlas world"
    with pytest.raises(UserError, match=wanted):
        GeoSleuth.open(make_settings(home=home, strategy=strategy))
    with GeoSleuth.open(make_settings(home=home)) as opened, pytest.raises(UserError, match=wanted):
        opened.with_strategy(strategy)


def test_what_was_retrieved_of_the_world_helps_no_photo_atlas(sleuth: GeoSleuth) -> None:
    assert sum("atlas of your own" in text for text in what_would_help(sleuth.context)) == 1


def test_the_atlas_of_the_world_is_built_once_with_progress(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    settings = over_the_world(tmp_path)
    for _ in range(2):
        GeoSleuth.open(settings, progress=lambda done, total: seen.append((done, total))).close()
    assert seen[-1] == (ATLAS_SIZE, ATLAS_SIZE)
    assert seen.count((ATLAS_SIZE, ATLAS_SIZE)) == 1


def test_an_atlas_of_the_world_of_other_weights_is_made_again(tmp_path: Path) -> None:
    settings = over_the_world(tmp_path)
    GeoSleuth.open(settings).close()
    folder = settings.atlas_folder / WORLD_ATLAS
    found = read_manifest(folder)
    older = found.encoder.model_copy(update={"revision": "0123456789abcdef"})
    write_manifest(folder, found.model_copy(update={"encoder": older}))
    GeoSleuth.open(settings).close()
    assert read_manifest(folder).model_copy(update={"vectors": found.vectors}) == found


def test_a_users_atlas_of_other_weights_is_refused_and_kept(tmp_path: Path) -> None:
    settings = over_the_world(tmp_path)
    GeoSleuth.open(settings).close()
    folder = settings.atlas_folder / WORLD_ATLAS
    found = read_manifest(folder)
    theirs = found.model_copy(
        update={"encoder": found.encoder.model_copy(update={"revision": "0123456789abcdef"}), "source": "my own places"}
    )
    write_manifest(folder, theirs)
    with pytest.raises(AtlasError, match="was made by encoder"):
        GeoSleuth.open(settings)
    assert read_manifest(folder) == theirs


def test_a_photo_is_located(sleuth: GeoSleuth) -> None:
    answer = sleuth.locate(photo())
    assert answer.status is AnswerStatus.ANSWERED
    assert answer.place is not None
    assert len(answer.candidates) == sleuth.settings.recall_limit
    assert answer.metadata_position is None
    assert answer.versions.atlases == ("world",)
    assert answer.versions.encoder.startswith("compact@")


def test_the_same_photo_gives_the_same_answer_again(sleuth: GeoSleuth) -> None:
    first, second = (sleuth.locate(photo(3)).model_dump(exclude={"cost"}) for _ in range(2))
    assert first == second


def test_the_belief_comes_with_the_answer(sleuth: GeoSleuth) -> None:
    answer, belief = sleuth.locate_with_belief(photo())
    assert answer.model_dump(exclude={"cost"}) == sleuth.locate(photo()).model_dump(exclude={"cost"})
    assert answer.point is not None
    at = (answer.point.lat, answer.point.lon)
    chances = {km: belief.chance_within_km(at, km) for km in THRESHOLDS_KM}
    assert chances == pytest.approx(answer.chance_within_km, abs=1e-4)
    assert (round(belief.area_km2(0.5), 2), round(belief.area_km2(0.9), 2)) == (answer.area_50_km2, answer.area_90_km2)


def test_many_threads_get_the_answers_that_one_gets(sleuth: GeoSleuth) -> None:
    photos = [photo(seed) for seed in range(10, 22)]
    alone = [sleuth.locate(one).model_dump(exclude={"cost"}) for one in photos]
    with ThreadPoolExecutor(8) as pool:
        together = [answer.model_dump(exclude={"cost"}) for answer in pool.map(sleuth.locate, photos)]
    assert together == alone


def test_the_sun_is_checked_if_the_user_says_when_and_how_it_stood(sleuth: GeoSleuth) -> None:
    clues = CaptureClues(taken_at="2024-06-21T12:00Z", sun_height_deg=62.0)
    [checked] = [e for e in sleuth.locate(photo(), clues=clues).evidence if e.kind is EvidenceKind.SUN]
    assert checked.source is not None
    assert checked.source.tool == "sun_check"
    assert len(set(checked.log_likelihood_ratio.values())) > 1
    assert not [e for e in sleuth.locate(photo()).evidence if e.kind is EvidenceKind.SUN]


def test_a_system_lends_itself_to_a_strategy_with_a_contrast(sleuth: GeoSleuth) -> None:
    found = sleuth.context.dissimilar([sleuth.photo_store.add(photo())], 3)
    best = sleuth.locate(photo()).candidates
    assert len(found) == 3
    assert max(item.similarity for item in found) < min(item.similarity for item in best)
    assert sleuth.with_strategy("retrieval").locate(photo()).point == best[0].point


def test_streaming_tells_every_step_and_ends_with_the_answer(sleuth: GeoSleuth) -> None:
    *steps, last = sleuth.stream(photo(1))
    assert [step.step for step in steps if isinstance(step, StepDone)][:3] == ["look", "recall", "cluster"]
    assert isinstance(last, Answered)
    assert last.answer.point == sleuth.locate(photo(1)).point


def test_each_query_leaves_one_audit_line_without_the_file_name(sleuth: GeoSleuth) -> None:
    before = _audit(sleuth)
    answer = sleuth.locate(photo(2), question="Where is this?")
    lines = _audit(sleuth)
    assert len(lines) == len(before) + 1
    line = lines[-1]
    assert line["photo_sha256"] == photo(2).sha256
    assert line["question"] == "Where is this?"
    assert line["point"] == ([answer.point.lat, answer.point.lon] if answer.point else None)
    assert line["left_the_machine"] == []
    assert "holiday" not in json.dumps(line)


def test_the_audit_line_says_when_runs_are_traced(
    sleuth: GeoSleuth, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online_services, "tracing_is_enabled", lambda: True)
    sleuth.locate(photo())
    line = json.loads((home / "audit.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert line["left_the_machine"] == ["every step of the run, to LangSmith"]


def test_the_audit_line_names_each_model_of_a_jury_that_a_photo_went_to(sleuth: GeoSleuth) -> None:
    named = replace(sleuth, models=find_jury("openai:gpt-4o,offline,anthropic:claude-sonnet-4-5"))
    named.locate(photo())
    assert _audit(named)[-1]["left_the_machine"] == [
        "photo and question, to the model openai:gpt-4o",
        "photo and question, to the model anthropic:claude-sonnet-4-5",
    ]


def test_a_jury_locates_a_real_photo(home: Path, tmp_path: Path) -> None:
    said = {"hypotheses": [{"name": "Lisbon", "lat": 38.72, "lon": -9.13, "radius_km": 5.0, "confidence": 0.9}]}
    specs = []
    for name in ("first", "second"):
        row = {"photo_sha256": photo().sha256, "response": json.dumps(said)}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
        specs.append(f"recorded:{tmp_path / f'{name}.jsonl'}")
    settings = over_the_world(home, model=" , ".join(specs), strategy="jury")
    with GeoSleuth.open(settings) as opened:
        answer = opened.locate(photo())
        with pytest.raises(UserError, match="the strategy rag asks one model, and 2 are named"):
            opened.with_strategy("rag")
        assert opened.with_strategy("retrieval").locate(photo()).versions.model == ",".join(specs)
        alone = opened.with_strategy("zero_shot", opened.context.models[1]).locate(photo())
    assert answer.versions.model == ",".join(specs)
    assert list(answer.cost_by_model) == specs
    assert answer.hypotheses[0].name == "Lisbon"
    assert (alone.versions.model, alone.cost_by_model) == (specs[1], {})


def _audit(sleuth: GeoSleuth) -> list[dict[str, Any]]:
    path = sleuth.settings.audit_path
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_metadata_is_reported_only_if_allowed(home: Path) -> None:
    with GeoSleuth.open(over_the_world(home, allow_metadata=True)) as opened:
        assert opened.locate(photo()).metadata_position == Point(lat=10.0, lon=20.0)


def test_precision_holds_for_the_answer_the_stream_and_the_audit_log(home: Path, tmp_path: Path) -> None:
    settings = over_the_world(home, max_precision="country", audit_log=tmp_path / "audit.jsonl")
    with GeoSleuth.open(settings) as opened:
        answer = opened.locate(photo())
        events = list(opened.stream(photo()))
        assert answer.level in (Level.COUNTRY, Level.CONTINENT)
        assert answer.candidates == ()
        assert answer.place is not None
        assert answer.place.city is None
        assert all(not event.hypotheses and not event.records for event in events if isinstance(event, StepDone))
        assert _audit(opened)[-1]["point"] == ([answer.point.lat, answer.point.lon] if answer.point else None)


def test_a_run_goes_on_from_its_checkpoint(home: Path, tmp_path: Path) -> None:
    settings = over_the_world(home, checkpoints=tmp_path / "checkpoints.sqlite")
    with GeoSleuth.open(settings) as opened:
        stream = opened.stream(photo(5), thread="job")
        assert isinstance(next(stream), StepDone)
        stream.close()
    with GeoSleuth.open(settings) as opened:
        resumed = [event.step for event in opened.stream(photo(5), thread="job") if isinstance(event, StepDone)]
        assert "look" not in resumed
        assert "hypothesise" in resumed


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"encoder": "giant"}, "no encoder 'giant'"),
        ({"atlases": ("nowhere",)}, "no atlas at"),
        ({"satellite_source": "Spy.Satellite"}, "unknown tile source"),
        ({"street_map_source": "MapTiler.Basic"}, "needs a key"),
        ({"geocoder": "file:///etc/passwd"}, "The geocoder .* cannot be used"),
    ],
)
def test_what_cannot_be_opened_is_a_user_error(home: Path, chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        GeoSleuth.open(make_settings(home=home, **chosen))


def test_places_come_from_the_nominatim_service_that_the_user_names(
    home: Path, serve: Callable[[Answering], Server]
) -> None:
    def answer(path: str) -> Reply:
        asked = parse_qs(urlsplit(path).query)
        address = {"city": "Atlantis", "country": "Portugal", "country_code": "pt"}
        place = {"lat": asked["lat"][0], "lon": asked["lon"][0], "address": address}
        return Reply(200, {"Content-Type": "application/json"}, json.dumps(place).encode())

    server = serve(answer)
    settings = make_settings(home=home, geocoder=f"http://{server.host}", min_confidence=0.0)
    with GeoSleuth.open(settings) as opened:
        evidence = opened.locate(photo(4)).evidence
        assert _audit(opened)[-1]["left_the_machine"] == [
            f"positions of hypotheses and names read on signs, to {server.host}"
        ]
    assert server.asked[0].startswith("/reverse?")
    assert any("Atlantis" in item.claim for item in evidence)


def test_views_come_from_the_sources_that_the_user_names(home: Path) -> None:
    chosen = {"satellite_source": "http://127.0.0.1:9/{z}/{x}/{y}?key=secret1", "street_map_source": "OpenTopoMap"}
    with GeoSleuth.open(make_settings(home=home, **chosen)) as opened:
        assert "kind" in opened.context.tools["satellite_view"].args
        opened.locate(photo(4))
        sources = _audit(opened)[-1]["left_the_machine"]
    assert [line.split(",")[1] for line in sources] == [" to 127.0.0.1:9", " to a.tile.opentopomap.org"]
    assert "secret1" not in str(sources)
    with GeoSleuth.open(make_settings(home=home)) as opened:
        assert "kind" not in opened.context.tools["satellite_view"].args


def test_a_calibration_holds_for_other_atlases_of_its_kinds_only(home: Path, tmp_path: Path) -> None:
    with GeoSleuth.open(over_the_world(home)) as opened:
        context = opened.context
        subject = subject_of(context.versions, context.corrections.kinds, context.parameters)
    atlases = home / "atlases"
    for name, kind in (("places", AtlasKind.GPS), ("photos", AtlasKind.PHOTO)):
        shutil.copytree(atlases / WORLD_ATLAS, atlases / name)
        write_manifest(atlases / name, read_manifest(atlases / name).model_copy(update={"name": name, "kind": kind}))
    file = tmp_path / "calibration.json"
    file.write_text(MADE.model_copy(update={"subject": subject}).model_dump_json())
    settings = over_the_world(home, calibration=file)
    with GeoSleuth.open(settings, more_atlases=("places", "photos")) as fitted:

        def is_calibrated(*names: str) -> bool:
            return fitted.with_atlases(names).context.corrections.calibration is not None

        assert fitted.locate(photo()).radius_is_calibrated
        assert fitted.with_atlases(("places",)).locate(photo()).radius_is_calibrated
        assert not fitted.with_atlases(("photos",)).locate(photo()).radius_is_calibrated
        assert is_calibrated("places", WORLD_ATLAS)
        assert not is_calibrated("photos", WORLD_ATLAS)
        assert not is_calibrated()


def test_a_failed_opening_lets_go_of_what_it_had_opened(home: Path) -> None:
    with pytest.raises(UserError):
        GeoSleuth.open(make_settings(home=home, satellite_source="Spy.Satellite"))
    GeoSleuth.open(make_settings(home=home, read_signs=False)).close()


@pytest.mark.parametrize(
    ("level", "name"),
    [(Level.CITY, "Paris"), (Level.REGION, "France"), (Level.COUNTRY, "France"), (Level.CONTINENT, "Europe")],
)
def test_units_of_the_real_gazetteer(level: Level, name: str) -> None:
    unit = Units(Gazetteer()).unit(Point(lat=48.8584, lon=2.2945), level)
    assert name in unit.name
    assert (unit.place.city is None) is (level is not Level.CITY)


def test_the_langgraph_factory_names_the_graph(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphs import langgraph_app

    monkeypatch.setenv("GEOSLEUTH_HOME", str(home))
    langgraph_app.geosleuth.cache_clear()
    assert asyncio.run(langgraph_app.geolocate()).name == "geolocate"
    langgraph_app.geosleuth().close()
    named = json.loads((Path(__file__).parents[2] / "langgraph.json").read_text())["graphs"]["geolocate"]
    assert named == "./graphs/langgraph_app.py:geolocate"
