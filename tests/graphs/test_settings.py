"""Settings: explicit beats environment beats default; what cannot be used is said in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.schemas import Level
from belief.decision import Aim
from belief.parameters import default_parameters
from core.errors import UserError
from graphs.audit import write_audit_line
from graphs.settings import SHARED_PATHS, Settings, answering_settings, is_same_setting, make_settings
from graphs.system import GeoSleuth


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AIM", "HOME", "MODEL", "STRATEGY", "BUDGETS__ROUNDS", "MAX_PRECISION"):
        monkeypatch.delenv(f"GEOSLEUTH_{name}", raising=False)


def test_defaults_need_nothing() -> None:
    settings = make_settings()
    assert (settings.model, settings.strategy, settings.encoder) == ("offline", "refine", "compact")
    assert settings.atlases == ()
    assert settings.allow_metadata is False
    assert settings.audit_path == settings.home / "audit.jsonl"


def test_explicit_beats_environment_beats_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOSLEUTH_STRATEGY", "clusters")
    monkeypatch.setenv("GEOSLEUTH_BUDGETS__ROUNDS", "2")
    assert make_settings().strategy == "clusters"
    assert make_settings().budgets.rounds == 2
    assert make_settings(strategy="refine").strategy == "refine"
    assert make_settings(strategy=None).strategy == "clusters"


def test_the_aim_is_a_distance_or_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_settings().aim is Aim.GEOSCORE
    monkeypatch.setenv("GEOSLEUTH_AIM", "25")
    assert make_settings().aim is Aim.CITY
    assert make_settings(aim="2500").aim.wanted_km == 2500
    with pytest.raises(UserError, match="aim"):
        make_settings(aim="30")


def test_every_aim_has_a_utility() -> None:
    assert set(default_parameters().utility) == {aim.value for aim in Aim}


def test_values_are_cast(tmp_path: Path) -> None:
    settings = make_settings(home=str(tmp_path), max_precision="city", atlases=["a", "b"])
    assert (settings.home, settings.max_precision, settings.atlases) == (tmp_path, Level.CITY, ("a", "b"))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"model": "gpt-9"}, "unknown model 'gpt-9': choose one of offline"),
        (
            {"model": "offline,openai:x", "strategy": "zero_shot"},
            "the strategy zero_shot asks one model, and 2 are named",
        ),
        ({"strategy": "guess"}, "unknown strategy 'guess': choose one of chain_of_thought, cluster_rag, clusters"),
        ({"max_precision": "house"}, "max_precision"),
        ({"min_confidence": 2}, "min_confidence"),
        ({"budgets": {"seconds": 0}}, "budgets.seconds"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(chosen: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        make_settings(**chosen)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


ODD_VALUES = (
    *("", " ", "~", "~/x", "~nouser/x", ".", "..", "/", "/dev/null", "missing/below", "../../etc"),
    *("file", "file/below", "folder", "loop", "loop/below", "x" * 300, "x" * 100_000),
    *("0", "-1", "nan", "inf", "-inf", "1e999", "9" * 400, "9" * 5_000, "١", "²", "1,5", "true", "null", "None"),
    *("[]", "{}", '["a"', "[" * 50_000, '{"a": NaN}', ",", ",,", "a,,b", "offline,offline", "é\u2028\x85", "\udc80"),
    *("http://", "http://[::1", "file:///etc/passwd", "http://a:b@c/", "@:", "\x1b[31m", "mailbox:", "recorded:"),
    *("recorded:file@folder", "openai_compatible:m@http://["),
)
"""None of them is what a setting wants; a few are what some setting takes."""


@pytest.mark.parametrize(
    "name", [*Settings.model_fields, "budgets__seconds", "budgets__rounds", "budgets__usd", "nonsense"]
)
def test_every_setting_takes_or_refuses_an_odd_environment(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values that are no settings, and files where folders are meant: what opens, opens; the rest is one line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "file").write_text("a file")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for value in ODD_VALUES:
        monkeypatch.setenv(f"GEOSLEUTH_{name.upper()}", value)
        assert len(_opened({} if name == "home" else {"home": tmp_path / "data"}, tmp_path).splitlines()) < 2, value
    assert (tmp_path / "file").read_text() == "a file"


def _opened(chosen: dict[str, Path], below: Path) -> str:
    """What is said where a system cannot be opened, or its audit log not be written; empty if all went well."""
    try:
        settings = make_settings(**chosen)
        with GeoSleuth.open(settings):
            if settings.audit_path.resolve().is_relative_to(below):
                write_audit_line(settings.audit_path, '{"time": "now"}')
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_path_in_the_environment_is_of_its_kind_and_may_begin_with_the_home_folder(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    wrong, right = ("atlas_photos", "calibration") if kind == "file" else ("calibration", "atlas_photos")
    assert getattr(make_settings(**{right: f"~/{kind}"}), right) == tmp_path / kind
    with pytest.raises(UserError, match=f"{wrong}.* is a {kind}: give a"):
        make_settings(**{wrong: f"~/{kind}"})


def test_files_that_others_may_get_name_no_folder_of_this_machine(tmp_path: Path) -> None:
    """Every setting that is a path, and those of models and encoders: names alone, and what tells two files apart."""
    files = {name: tmp_path / "anna" / name for name in SHARED_PATHS}
    folders = ("atlas_photos", "satellite_encoder", "satellite_pictures", "strategies_folder")
    for name, file in files.items():
        file.parent.mkdir(exist_ok=True)
        file.mkdir() if name in folders else file.write_text(name)
    replies = tmp_path / "anna" / "said.jsonl"
    more = {
        "encoder": str(tmp_path / "tiny"),
        "model": f"recorded:{replies}@{tmp_path},openai_compatible:m@http://gpu:8000/v1",
    }
    settings = make_settings(home=tmp_path, **files, **more)
    shared = answering_settings(settings)
    assert str(tmp_path) not in json.dumps(shared)
    assert (shared["encoder"], shared["model"]) == (
        "tiny",
        "recorded:said.jsonl,openai_compatible:m@http://gpu:8000/v1",
    )
    files["calibration"].write_text("another")
    again = answering_settings(settings)
    assert [name for name in shared if not is_same_setting(name, shared[name], again[name])] == ["calibration"]
    whole = settings.model_dump(mode="json")  # as earlier versions saved them
    assert all(is_same_setting(name, whole[name], again[name]) for name in again)
    assert not is_same_setting("model", "no such kind:x", again["model"])
