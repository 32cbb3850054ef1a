from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.mcp.photos import PhotoFolders
from apps.mcp.tools import McpTools
from tests.fakes.photo_files import jpeg
from tests.fakes.services import service


class Steps:
    """A progress callback that keeps what it is told."""

    def __init__(self) -> None:
        self.numbers: list[float] = []
        self.messages: list[str] = []

    async def note(self, progress: float, total: float | None, message: str | None) -> None:
        assert total is None
        self.numbers.append(progress)
        self.messages.append(message or "")


@pytest.fixture(scope="session")
def holiday(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An allowed folder with two photos and what is none; outside of it lies another photo."""
    folder = tmp_path_factory.mktemp("photos") / "holiday"
    jpeg(folder / "beach.jpg", seed=1)
    jpeg(folder / "trip" / "hill.jpg", seed=2)
    (folder / "notes.txt").write_text("not a photo")
    jpeg(folder.parent / "private.jpg", seed=3)
    return folder


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory, holiday: Path) -> Iterator[McpTools]:
    with service(tmp_path_factory.mktemp("home"), photo_bytes=100_000, place_bytes=200_000) as opened:
        yield McpTools(opened, PhotoFolders.of([holiday]))
