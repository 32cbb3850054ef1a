"""Saved threads: thread.json, checkpoints in SQLite, kept pixels; and checkpoints of single runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite import SqliteSaver

from apps.options import RunOptions, SystemOptions, chosen_settings
from geo.point import Point
from graphs.chat.photo_archive import FolderPhotoArchive
from graphs.chat.threads import SavedThread, thread_names
from retrieval.photos.photo import decode_photo
from retrieval.photos.store import PhotoStore
from tests.fuzz.cases import Files, Target
from tests.fuzz.readers.photos import TARGETS as PHOTOS

_AT: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


def _thread() -> Files:
    photo = decode_photo(PHOTOS[0].files["photo"], "a.jpg")
    with tempfile.TemporaryDirectory() as home:
        with SavedThread(Path(home), "t") as thread:
            thread.begin({"model": "offline", "strategy": "refine"})
            FolderPhotoArchive(thread.photos, PhotoStore()).keep(photo)
            _write_state(thread.checkpoints())
            thread.name_photo(photo.id, "a.jpg", {"strategy": "refine"})
        found = [path for path in Path(home).rglob("*") if path.is_file()]
        return {path.relative_to(home).as_posix(): path.read_bytes() for path in found}


def _write_state(saver: SqliteSaver) -> None:
    checkpoint = empty_checkpoint()
    checkpoint |= {"id": "1f1eb6f5-27d5-6ede-bffe-44af9af700bf", "ts": "2026-11-21T00:00:00+00:00"}
    checkpoint["channel_values"] = {"at": Point(lat=1.0, lon=2.0), "messages": [HumanMessage("where?")]}
    saver.put(_AT, checkpoint, {"source": "input", "step": 0, "parents": {}}, {})


def _open(folder: Path) -> object:
    """All that a chat that goes on does before it asks anything."""
    assert all(isinstance(name, str) for name in thread_names(folder))
    with SavedThread(folder, "t") as thread:
        chosen_settings(SystemOptions(), RunOptions(home=folder), saved=thread.begun_with)
        names = [thread.photo_name(file.stem) for file in sorted(thread.photos.glob("*.png"))]
        thread.located_with("photo-0")
        found = thread.checkpoints().get_tuple(_AT)
        return names, found and found.checkpoint["channel_values"]


TARGETS = (Target("thread", _thread, _open, is_text=False),)
