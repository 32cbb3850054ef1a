"""A disk that fills during a conversation: one clear error, nothing of it lost, and it goes on once there is room."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.errors import UserError
from graphs.chat.photo_archive import FolderPhotoArchive
from graphs.chat.session import Conversation
from graphs.chat.threads import SavedThread
from tests.fakes.conversations import ended, shot, talk
from tests.fakes.full_disk import full_after
from tests.fakes.machine import context

pytest.importorskip("resource", reason="no limits of a process here")


def words(chat: Conversation) -> list[str]:
    return [message.text for message in chat.messages]


def opened(thread: SavedThread) -> Conversation:
    work = context(("Lisbon",))
    return talk(work, saver=thread.checkpoints(), photos=FolderPhotoArchive(thread.photos, work.photo_store))


def largest(folder: Path) -> int:
    return max(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def until_it_fails(chat: Conversation) -> tuple[list[str], str]:
    """Ask until a turn fails: the words before that turn, and the error."""
    for _ in range(20):
        before = words(chat)
        try:
            ended(chat.ask("compare with Osaka"))
        except UserError as error:
            return before, str(error)
    raise AssertionError("the disk is not full")


@pytest.mark.parametrize("room_kb", [0, 12, 60, 200])
def test_a_turn_for_which_there_is_no_room_takes_nothing_with_it(tmp_path: Path, room_kb: int) -> None:
    with SavedThread(tmp_path, "trip") as thread:
        thread.begin({})
        chat = opened(thread)
        ended(chat.show(shot(), "where?"))
        thread.checkpoints().conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with full_after(largest(thread.folder) + 1000 * room_kb):
            before, error = until_it_fails(chat)
        assert re.search("make room.*/undo", error)
        assert words(chat)[: len(before)] == before
    with SavedThread(tmp_path, "trip") as thread:  # as another process finds it
        chat = opened(thread)
        assert words(chat)[: len(before)] == before
        reply = ended(chat.go_on() if chat.is_unfinished else chat.ask("compare with Osaka"))
        assert "Osaka" in reply.text
        assert words(chat) == [*before, "compare with Osaka", reply.text]
        assert chat.undo() == "compare with Osaka"
        assert words(chat) == before


def test_a_photo_for_which_there_is_no_room_is_not_shown(tmp_path: Path) -> None:
    with SavedThread(tmp_path, "trip") as thread:
        thread.begin({})
        chat = opened(thread)
        ended(chat.show(shot(77), "where?"))
        before = words(chat)
        with full_after(10):
            with pytest.raises(UserError, match=r"photos of the conversation .*too large"):
                ended(chat.show(shot(200), "and this?"))
            with pytest.raises(UserError, match=r"thread\.json: .*too large"):
                thread.name_photo(shot(200).id, "beach.jpg")
            assert thread.photo_name(shot(200).id) == shot(200).id
        assert [shown.photo_id for shown in chat.shown] == [shot(77).id]
        assert words(chat) == before
        assert [file.name for file in thread.photos.iterdir()] == [f"{shot(77).sha256}.png"]
        assert not list(thread.folder.glob("*.part"))
        assert ended(chat.show(shot(200), "and this?")).answer is not None
