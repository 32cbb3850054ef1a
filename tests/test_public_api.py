"""`import geosleuth`: the public names, and the check that our packages are ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import geosleuth
from geosleuth.conflicts import PACKAGES, package_conflict

ROOT = Path(__file__).parents[1]


def python(*arguments: str, path: list[Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run([sys.executable, *arguments], env=env, cwd=cwd, capture_output=True, text=True, check=False)


def test_every_public_name_can_be_used() -> None:
    for name in geosleuth.__all__:
        assert getattr(geosleuth, name)
    assert geosleuth.__version__ == version("geosleuth")
    assert geosleuth.Point(lat=1.0, lon=2.0).lon == 2.0
    assert set(dir(geosleuth)) >= {"GeoSleuth", "load_photo"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="geosleuth"):
        _ = geosleuth.GeoSleut  # type: ignore[attr-defined]


def test_a_name_loads_no_more_than_it_needs(tmp_path: Path) -> None:
    code = "import sys; from geosleuth import Point, UserError; print('langgraph' in sys.modules, 'PIL' in sys.modules)"
    assert python("-c", code, path=[ROOT], cwd=tmp_path).stdout.split() == ["False", "False"]


def test_all_is_well_here() -> None:
    assert package_conflict() is None


@pytest.mark.parametrize("foreign", ["agents/__init__.py", "tools/__init__.py", "core.py"])
def test_a_foreign_package_in_front_of_ours_is_named(foreign: str, tmp_path: Path) -> None:
    file = tmp_path / "other" / foreign
    file.parent.mkdir(parents=True)
    file.write_text("")
    path = [tmp_path / "other", ROOT]
    ran = python("-m", "geosleuth", "--help", path=path, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    (line,) = ran.stderr.splitlines()
    name = Path(foreign).parts[0].removesuffix(".py")
    assert f"the package {name} of geosleuth is hidden by another one at {tmp_path}" in line
    assert "pipx install geosleuth" in line
    imported = python("-c", "from geosleuth import GeoSleuth", path=path, cwd=tmp_path)
    assert imported.stderr.splitlines()[-1] == f"ImportError: {line.removeprefix('geosleuth: error: ')}"


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "geosleuth", tmp_path / "geosleuth")
    ran = python("-S", "-m", "geosleuth", path=[tmp_path], cwd=tmp_path)
    assert ran.returncode == 2
    assert f"the package core of geosleuth is missing from {tmp_path}" in ran.stderr


def test_a_package_that_was_overwritten_is_named(tmp_path: Path) -> None:
    """As `pip install openai-agents` after ours leaves it: both have a folder `agents` in site-packages."""
    shutil.copytree(ROOT / "geosleuth", tmp_path / "geosleuth")
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    record = tmp_path / "geosleuth-0.1.0.dist-info" / "RECORD"
    record.parent.mkdir()
    record.with_name("METADATA").write_text("Metadata-Version: 2.1\nName: geosleuth\nVersion: 0.1.0\n")
    # A size that is not recorded says nothing.
    record.write_text("".join(f"{name}/__init__.py,,{'' if name == 'tools' else 0}\n" for name in PACKAGES))
    code = "from geosleuth.conflicts import package_conflict; print(package_conflict())"
    assert python("-S", "-c", code, path=[tmp_path], cwd=tmp_path).stdout == "None\n"
    (tmp_path / "agents" / "__init__.py").write_text("from .agent import Agent\n")
    said = python("-S", "-c", code, path=[tmp_path], cwd=tmp_path).stdout
    assert f"agents of geosleuth was overwritten by another one at {tmp_path / 'agents'}" in said
