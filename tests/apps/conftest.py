"""A small real system for the command line: a tiny encoder and an atlas of 500 places."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

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
