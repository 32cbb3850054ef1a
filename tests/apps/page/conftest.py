"""The real server over the offline reasoner, and a real browser."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.api.app import create_app
from apps.service.access import ApiKeys
from tests.fakes.photo_files import noise
from tests.fakes.services import gated, listening, service
from tests.fakes.services.browser import Visit, chromium

FREE_CALLS = 1
"""Calls of the model that need no open gate: the first reading of the first photo."""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file; until it is there, the model waits after its first call."""
    return tmp_path_factory.mktemp("gate") / "open"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, gate: Path) -> Iterator[str]:
    """A server without keys."""
    home = tmp_path_factory.mktemp("home")
    with service(home, model=gated(gate, FREE_CALLS)) as opened, listening(create_app(opened, ApiKeys({}))) as at:
        yield at


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[Visit]:
    visitor = Visit(browser, url)
    yield visitor
    visitor.context.close()


@pytest.fixture(scope="module")
def png() -> bytes:
    """A photo's file."""
    out = io.BytesIO()
    noise(3).save(out, "PNG")
    return out.getvalue()
