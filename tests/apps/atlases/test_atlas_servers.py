"""A server that only an atlas's manifest names is contacted after the user has allowed it, and named wherever it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apps.doctor.data_flow import leaving
from core.errors import UserError
from graphs.online_services import atlas_servers
from graphs.settings import make_settings
from retrieval.atlas.manifest import MANIFEST_FILE, AtlasError, AtlasManifest, read_manifest
from retrieval.atlas.servers import ALLOWED_FILE, check_server, remembered_servers
from retrieval.candidate import AtlasKind
from retrieval.encoders.base import EncoderIdentity
from retrieval.stores.base import ServerSettings
from tests.apps.conftest import command, environment
from tests.fakes.people.terminal import Terminal
from tests.fakes.photo_files import jpeg


def _sent_by_somebody(home: Path, url: str) -> AtlasManifest:
    folder = home / "atlases" / "gift"
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {
        "name": "another name",
        "kind": AtlasKind.PHOTO.value,
        "encoder": EncoderIdentity(name="tiny", revision="1", dim=8).model_dump(),
        "store": ServerSettings(url=url).model_dump(),
        "state": "complete",
        "source": "a friend",
        "source_sha256": "0" * 64,
        "total": 1,
        "count": 1,
    }
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    return read_manifest(folder)


@pytest.mark.parametrize(
    "url", ["http://example.org:6333", "https://anna:pass@example.org:6333", "http://example.org:6333/x"]
)
def test_another_machine_is_contacted_only_if_it_is_allowed_for_this_atlas(url: str, tmp_path: Path) -> None:
    manifest, folder = _sent_by_somebody(tmp_path, url), tmp_path / "atlases" / "gift"
    for allowed in ((), ("another name@example.org:6333",), ("gift@example.org",), ("gift@other.example:6333",)):
        with pytest.raises(AtlasError, match=r"example\.org:6333.*GEOSLEUTH_ATLAS_SERVERS") as caught:
            check_server(folder, manifest, allowed)
        assert "pass@" not in str(caught.value)
    check_server(folder, manifest, ["gift@example.org:6333"])


@pytest.mark.parametrize("url", ["http://localhost:6333", "http://127.0.0.1:6333", "http://[::1]:6333"])
def test_this_machine_needs_no_permission(url: str, tmp_path: Path) -> None:
    check_server(tmp_path / "atlases" / "gift", _sent_by_somebody(tmp_path, url), ())


def test_doctor_names_the_host_and_that_the_vector_leaves(tmp_path: Path) -> None:
    _sent_by_somebody(tmp_path, "http://example.org:6333")
    settings = make_settings(home=tmp_path, atlases=("gift",))
    assert atlas_servers(settings) == ["gift@example.org:6333"]
    [found] = [finding for finding in leaving(settings, {}) if finding.name.startswith("atlas")]
    assert "vector GO TO the Qdrant server example.org:6333, once" in found.detail


def test_at_a_terminal_it_is_asked_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _sent_by_somebody(home, "http://qdrant.invalid:6333")
    photo, env = jpeg(tmp_path / "a.jpg"), environment(home)

    def locate(answer: str | None) -> str:
        terminal = Terminal(command("locate", photo, "--atlas", "gift", "--no-signs"), env, tmp_path)
        try:
            if answer is not None:
                terminal.until("sent the vector of each photo. Allow it?")
                terminal.type(answer)
            terminal.until("error: ")
            terminal.process.wait(60)
            return terminal.rest()
        finally:
            terminal.close()

    locate("n")
    assert remembered_servers(home) == ()
    locate("y")
    assert remembered_servers(home) == ("gift@qdrant.invalid:6333",)
    assert (home / ALLOWED_FILE).stat().st_mode & 0o077 == 0
    assert "Allow it?" not in locate(None)
    [found] = [
        finding for finding in leaving(make_settings(home=home, atlases=("gift",)), {}) if "atlas" in finding.name
    ]
    assert "once GEOSLEUTH_ATLAS_SERVERS" not in found.detail


def test_a_damaged_list_of_servers_is_named(tmp_path: Path) -> None:
    (tmp_path / ALLOWED_FILE).write_text("{")
    with pytest.raises(UserError, match="list of allowed servers"):
        remembered_servers(tmp_path)
