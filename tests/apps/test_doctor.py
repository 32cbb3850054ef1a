"""`geosleuth doctor`: true, complete, and silent about secrets."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.doctor import checks
from apps.doctor.checks import diagnose
from apps.doctor.data_flow import leaving, models
from apps.doctor.report import Finding, State, installed, print_findings
from belief.parameters import Parameters, RetrievalRecord, default_parameters
from belief.records import Record
from graphs.settings import make_settings
from tests.apps.conftest import Run, command, environment
from tools.services.tesseract import Tesseract


def test_it_says_what_is_there_and_what_is_missing(geosleuth: Run) -> None:
    run = geosleuth("doctor")
    assert run.returncode == 0
    for wanted in ("Python", "gazetteer", "rapidocr", "compact", "small", "not built", "offline", "--online"):
        assert wanted in run.stdout
    found = json.loads(geosleuth("doctor", "--json").stdout)
    atlases = {item["name"]: item["state"] for item in found if item["area"] == "atlases"}
    # The home is shared with tests that build atlases of their own.
    assert (atlases["small"], atlases["world"]) == ("ok", "missing")
    assert all(item["adds"] for item in found if item["state"] == "missing")


def test_keys_are_named_and_never_shown(home: Path) -> None:
    secret = "sk-very-secret"  # noqa: S105 - made up
    with_keys = environment(home) | {"OPENAI_API_KEY": secret, "GEOSLEUTH_SEED": "7", "LANGSMITH_TRACING": "true"}
    for options in ((), ("--json",)):
        run = subprocess.run(command("doctor", *options), env=with_keys, capture_output=True, text=True, check=True)
        assert "OPENAI_API_KEY" in run.stdout
        assert "GEOSLEUTH_SEED" in run.stdout
        assert "LangSmith" in run.stdout
        assert secret not in run.stdout + run.stderr


def test_damaged_and_half_built_atlases_are_problems(tmp_path: Path) -> None:
    for name, text in (("broken", "{"), ("world", "")):
        (tmp_path / "atlases" / name).mkdir(parents=True)
        (tmp_path / "atlases" / name / "atlas.json").write_text(text)
    found = {item.name: item for item in diagnose(make_settings(home=tmp_path)) if item.area == "atlases"}
    assert {name: item.state for name, item in found.items()} == {"broken": State.PROBLEM, "world": State.PROBLEM}
    assert "damaged" in found["broken"].detail


def test_nothing_is_contacted_unless_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(name: str, url: str, adds: str) -> Finding:
        asked.append(url)
        return Finding(name, State.OK, adds=adds)

    monkeypatch.setattr(checks, "ask", ask)
    diagnose(make_settings(home=tmp_path))
    assert asked == []
    diagnose(make_settings(home=tmp_path), online=True)
    assert any("nominatim" in url for url in asked)
    assert any("6333" in url for url in asked)


class Answers(http.server.BaseHTTPRequestHandler):
    """A service that works, or fails at `/ill`."""

    def do_GET(self) -> None:
        self.send_response(503 if self.path == "/ill" else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def service() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_service_that_answers_is_reached(service: str) -> None:
    assert checks.ask("a", service, "x").state is State.OK
    assert checks.ask("a", f"{service}/ill", "x").state is State.MISSING
    nobody = checks.ask("a", "http://127.0.0.1:9/", "x")
    assert (nobody.state, "no answer from 127.0.0.1" in nobody.detail) == (State.MISSING, True)


def test_a_home_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    findings = diagnose(make_settings(home=tmp_path / "file" / "home"))
    assert [item.state for item in findings if item.area == "home"] == [State.PROBLEM]


def test_packages_that_are_not_installed_are_none() -> None:
    assert installed("geosleuth")
    assert installed("no-such-distribution-at-all") is None


def test_findings_print_on_any_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_findings(diagnose(make_settings(home=tmp_path)))
    printed = " ".join(capsys.readouterr().out.split())
    assert "get it: geosleuth locate PHOTO --atlas world, which builds it" in printed


def test_it_says_what_models_and_atlases_are_worth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = default_parameters()
    useful = known.retrieval["photo"].model_copy(update={"record": Record(shares=(0.1, 0.1, 0.1, 0.1, 0.1, 0.5))})
    changed = {**known.retrieval, "gps": _worthless(known), "photo@mine": useful}
    monkeypatch.setattr(checks, "open_parameters", lambda _: known.model_copy(update={"retrieval": changed}))
    said = {i.name: i.detail for i in diagnose(make_settings(home=tmp_path)) if i.area == "what witnesses are worth"}
    assert "worth nothing by itself" in said["gps atlas"]
    assert "tells something: as from anywhere in 50% of photos" in said["photo atlas of mine"]
    count = len([name for name in known.records.models if name != "any"])
    assert said["models"].startswith(f"{count} have records")


def _worthless(known: Parameters) -> RetrievalRecord:
    nowhere = Record(shares=(0.0, 0.0, 0.0, 0.0, 0.0, 1.0), photos=400)
    return known.retrieval["gps"].model_copy(update={"record": nowhere})


def left(environment: dict[str, str], **settings: str) -> dict[str, Finding]:
    return {item.name: item for item in leaving(make_settings(**settings), environment)}


def test_by_default_nothing_leaves_the_machine() -> None:
    assert all(item.detail == "nothing: stays on this machine" for item in left({}).values())


def test_what_leaves_is_said_with_where_it_goes() -> None:
    found = left(
        {"LANGSMITH_TRACING": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"},
        model="openai:gpt-4o",
        geocoder="https://nominatim.example.org",
        satellite_source="https://tiles.example.org/{z}/{x}/{y}.png?key=secret",
        street_map_source="OpenStreetMap.Mapnik",
        overpass="https://overpass.example.org/api/interpreter",
        mapillary_token="MLY|secret",  # noqa: S106 - made up
        web_search="http://127.0.0.1:8888",
        image_search="https://pictures.example.org/search",
        weather="https://archive-api.open-meteo.com/v1/archive",
    )
    goes = {name: item.detail.partition(" GO TO ")[2] for name, item in found.items()}
    assert goes == {
        "model": "api.openai.com",
        "satellite views": "tiles.example.org",
        "street maps": "tile.openstreetmap.org (OpenStreetMap.Mapnik)",
        "geocoder": "nominatim.example.org",
        "map_features": "overpass.example.org",
        "street_view": "graph.mapillary.com and the picture hosts it names (*.fbcdn.net)",
        "web_search": "127.0.0.1:8888",
        "reverse_image_search": "pictures.example.org",
        "weather": "archive-api.open-meteo.com",
        "LangSmith": "api.smith.langchain.com",
        "OpenTelemetry": "http://collector:4318",
    }
    assert found["LangSmith"].state is State.PROBLEM
    assert "THE PHOTO'S PIXELS" in found["reverse_image_search"].detail
    assert "secret" not in str(found)
    hidden = {"LANGSMITH_TRACING": "true", "LANGSMITH_HIDE_INPUTS": "true", "LANGSMITH_HIDE_OUTPUTS": "true"}
    assert "hidden" in left(hidden)["LangSmith"].detail


def test_a_source_of_views_that_cannot_be_used_is_a_problem() -> None:
    found = left({}, satellite_source="Spy.Satellite")["satellite views"]
    assert found.state is State.PROBLEM
    assert "unknown tile source" in found.detail


def test_a_model_on_this_machine_leaves_nothing() -> None:
    assert "nothing" in left({}, model="vllm:some/model@http://127.0.0.1:8000/v1")["model"].detail
    assert left({}, model="vllm:some/model@http://gpu.example.org:8000/v1")["model"].detail.endswith("gpu.example.org")


def test_every_model_of_a_jury_is_listed_with_where_photos_go() -> None:
    settings = make_settings(model="openai:gpt-4o,offline,vllm:m@http://gpu.example.org/v1")
    details = [item.detail for item in leaving(settings, {}) if item.name == "model"]
    assert details == [
        "openai:gpt-4o: photos and questions GO TO api.openai.com",
        "nothing: stays on this machine",
        "vllm:m@http://gpu.example.org/v1: photos and questions GO TO gpu.example.org",
    ]


def test_each_kind_of_model_says_what_it_needs() -> None:
    without = {item.name.partition(":")[0]: item for item in models({})}
    with_key = {item.name.partition(":")[0]: item for item in models({"OPENAI_API_KEY": "sk-secret"})}
    assert without["offline"].state is State.OK
    assert without["openai"].state is State.MISSING
    assert without["openai"].get in ("set OPENAI_API_KEY", "pip install 'geosleuth[openai]'")
    assert "sk-secret" not in str(with_key)
    if installed("langchain-openai"):
        assert with_key["openai"].state is State.OK
        assert without["vllm"].state is State.OK  # a server of one's own needs no key


def test_tesseract_is_missing_works_or_fails(tmp_path: Path) -> None:
    program = tmp_path / "tesseract"
    missing = checks.tesseract_finding(Tesseract(str(program)))
    assert (missing.state, missing.detail) == (State.MISSING, "not installed")
    assert "apt-get install tesseract-ocr" in missing.get
    for listed, state, said in (
        ("echo Languages:; echo eng; echo Thai; echo rus", State.OK, "Cyrillic (rus), Thai (Thai); no library"),
        ("echo Languages:; echo eng", State.MISSING, "no pack"),
        ("echo cannot load >&2; exit 1", State.PROBLEM, "cannot load"),
    ):
        program.write_text(f"#!/bin/sh\n{listed}\n")
        program.chmod(0o755)
        found = checks.tesseract_finding(Tesseract(str(program)))
        assert found.state is state
        assert said in found.detail
