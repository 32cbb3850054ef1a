"""Saved conversations and runs: a folder each, its owner's only, with everything it needs to go on elsewhere.

    <home>/threads/NAME/thread.json         what it was begun with, and the photos' names
                        checkpoints.sqlite  the state; no pixels
                        photos/SHA256.png   the photos' pixels, without metadata
                        history             lines typed at a terminal

Deleting the folder forgets the thread.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver

from core.closing import Closing
from core.errors import UserError
from core.files import OWNER_ONLY, lock_file, make_private_folder, tighten, write_atomic
from core.json_text import parse_json
from graphs.checkpoints import open_checkpoints

_NAME = re.compile(r"[\w][\w .-]{0,79}")


def threads_folder(home: Path) -> Path:
    """The folder of saved threads."""
    return home / "threads"


def thread_names(home: Path) -> list[str]:
    """Saved threads, by name."""
    folder = threads_folder(home)
    return sorted(part.name for part in folder.iterdir() if (part / "thread.json").is_file()) if folder.is_dir() else []


class SavedThread(Closing):
    """An open saved thread; one process at a time has it. Close it, or use it as a context manager."""

    def __init__(self, home: Path, name: str, *, must_exist: bool = False) -> None:
        """Open a thread, made if it is not there.

        Raises:
            UserError: a name that cannot be used, no such thread, in use, damaged, or a folder that cannot be written.
        """
        self.name = name
        self.folder = _thread_folder(home, name)
        self._file = self.folder / "thread.json"
        if must_exist and not self._file.is_file():
            raise _no_thread(home, name)
        self._resources = ExitStack()
        self._about = self._open()

    @property
    def photos(self) -> Path:
        """The folder of its photos' pixels."""
        return self.folder / "photos"

    @property
    def history(self) -> Path:
        """The file of lines typed at a terminal."""
        return self.folder / "history"

    @property
    def begun_with(self) -> dict[str, Any] | None:
        """The settings it was begun with; None for a new thread."""
        kept: dict[str, Any] | None = self._about.get("settings")
        return kept

    def begin(self, settings: dict[str, Any]) -> None:
        """Keep what it was begun with."""
        self._save({**self._about, "settings": settings})

    def name_photo(self, photo_id: str, name: str, settings: Mapping[str, Any] | None = None) -> None:
        """Remember what the person calls a photo; models and checkpoints never see it.

        Args:
            settings: those that it is located with, as JSON values; None: those the thread was begun with.
        """
        about = {**self._about, "names": {**self._about.get("names", {}), photo_id: name}}
        if settings is not None:
            about["located_with"] = {**self._about.get("located_with", {}), photo_id: dict(settings)}
        self._save(about)

    def located_with(self, photo_id: str) -> Mapping[str, Any]:
        """The settings that a photo was located with, as JSON values."""
        kept: Mapping[str, Any] = self._about.get("located_with", {}).get(photo_id) or self.begun_with or {}
        return kept

    def photo_name(self, photo_id: str) -> str:
        """The person's name for a photo; its id if there is none."""
        return str(self._about.get("names", {}).get(photo_id, photo_id))

    def checkpoints(self) -> SqliteSaver:
        """Its checkpointer, closed with the thread."""
        saver = open_checkpoints(self.folder / "checkpoints.sqlite")
        self._resources.callback(saver.conn.close)
        return saver

    def close(self) -> None:
        """Close its checkpoints and unlock it."""
        self._resources.close()

    def _open(self) -> dict[str, Any]:
        try:
            make_private_folder(self.folder.parent)
            make_private_folder(self.folder)
            if self.photos.is_dir():
                make_private_folder(self.photos)
            for file in (self._file, self.history, *self.photos.glob("*.png")):
                if file.exists():
                    tighten(file, OWNER_ONLY)
            self._resources.enter_context(lock_file(self.folder / ".lock", _in_use(self.name)))
            kept = parse_json(self._file.read_bytes()) if self._file.exists() else {}
            _check_thread(kept, self.folder)
        except OSError as error:
            raise UserError(f"thread {self.folder}: {error.strerror}; choose another --home") from error
        except ValueError as error:
            self._resources.close()
            raise UserError(
                f"thread {self._file}: is damaged ({error}); delete {self.folder} to forget the thread"
            ) from error
        return kept

    def _save(self, about: dict[str, Any]) -> None:
        try:
            write_atomic(self._file, json.dumps(about, indent=1), OWNER_ONLY)
        except OSError as error:
            raise UserError(f"thread {self._file}: {error.strerror}; choose another --home") from error
        self._about = about


def _check_thread(kept: Any, folder: Path) -> None:
    """Refuse what is no thread.json, and a thread that has lost one of its files.

    Raises:
        ValueError: it is one of these.
    """
    state = folder / "checkpoints.sqlite"
    has_state = state.is_file() and state.stat().st_size > 0
    kinds = (("settings", object), ("names", str), ("located_with", dict))
    if not (isinstance(kept, dict) and all(_maps_to(kept.get(key, {}), kind) for key, kind in kinds)):
        raise ValueError("not what a thread.json holds")
    if has_state and not kept:
        raise ValueError("the file is missing or empty")
    if kept.get("names") and not has_state:
        raise ValueError(f"{state.name} is missing or empty")


def _maps_to(value: Any, kind: type) -> bool:
    return isinstance(value, dict) and all(isinstance(part, kind) for part in value.values())


def _thread_folder(home: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise UserError(f"thread {name!r}: use letters, digits, spaces, dots and dashes, at most 80")
    return threads_folder(home) / name


def _no_thread(home: Path, name: str) -> UserError:
    known = ", ".join(thread_names(home)) or "none"
    return UserError(f"no thread {name!r} in {threads_folder(home)}; there are: {known}")


def _in_use(name: str) -> str:
    return f"thread {name!r} is in use by another process; wait, or choose another"


def remove_common_history(home: Path) -> None:
    """Delete the file in which earlier versions kept the lines of all chats, those without a thread too."""
    with suppress(OSError):
        (home / "chat_history").unlink()


def forget_thread(home: Path, name: str) -> None:
    """Delete a thread with its photos, a damaged one too.

    Raises:
        UserError: no such thread, or it is in use.
    """
    folder = _thread_folder(home, name)
    if not folder.is_dir():
        raise _no_thread(home, name)
    with lock_file(folder / ".lock", _in_use(name)):
        shutil.rmtree(folder)
