"""Settings: explicit beats environment beats default; what cannot be used is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.schemas import Level
from belief.decision import Aim
from belief.parameters import default_parameters
from core.errors import UserError
from graphs.settings import make_settings


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
