"""Settings and data shared by all tests. The network is blocked (see pyproject.toml) but for loopback."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# Machines differ in speed: a test must never fail for being slow.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real development data beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no ../shared/data beside the checkout: real photos, tiles and nets are not part of the project")
    return SHARED_DATA
