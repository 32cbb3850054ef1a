"""The examples in docstrings give what they say: every module that has any is found and run."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("core", "geo", "retrieval", "tools", "belief", "agents", "graphs", "evals", "apps")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for floor in FLOORS
    for path in (ROOT / floor).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


def test_there_are_examples() -> None:
    arithmetic = {
        "belief.decision",
        "belief.hypotheses",
        "belief.kernels",
        "belief.posterior",
        "belief.prior",
        "belief.records",
        "belief.support",
        "belief.witnesses.areas",
        "belief.witnesses.countries",
        "belief.witnesses.place_names",
        "belief.witnesses.reports",
        "belief.witnesses.retrieval",
        "evals.fitting.belief_samples",
        "evals.fitting.belief_worth",
        "evals.fitting.judgements",
        "evals.fitting.mixtures",
        "evals.fitting.published",
        "evals.scores.distance",
        "evals.scores.reliability",
        "geo.sphere",
        "geo.tiles",
        "retrieval.atlas.plan",
        "retrieval.regions",
    }
    assert arithmetic <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried > 0, "the examples are not in a docstring that doctest finds"
    assert failed == 0
