"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = (
    "geo.basemap",
    "geo.nearest",
    "geo.places.continents",
    "geo.places.country_facts",
    "geo.places.country_names",
    "geo.places.names",
    "geo.point",
    "geo.sphere",
    "geo.sun",
    "geo.tiles",
    "retrieval.diversify",
    "tools.base",
    "tools.untrusted_text",
)
"""Modules with examples; one without any would test nothing, and fails."""


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried > 0
    assert failed == 0
