"""Several photos of one place in a conversation: shown at once, added later, taken back, found again."""

from __future__ import annotations

from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from agents.messages import count_pictures
from agents.schemas import Answer
from core.errors import UserError
from graphs.chat.events import TurnEnded
from graphs.chat.photo_archive import FolderPhotoArchive, MissingPhotoError
from graphs.chat.session import Conversation
from graphs.checkpoints import open_checkpoints
from retrieval.photos.store import PhotoStore
from tests.fakes.conversations import answering, ended, jpeg_base64, shot, talk
from tests.fakes.machine import context

FIRST, SECOND, THIRD = shot(1), shot(2), shot(3)


def about(chat: Conversation) -> tuple[str, ...]:
    """Hashes of the photos that the present answer is about."""
    answer = chat.answers[chat.photo_id or ""]
    return answer.photo_sha256s


def hashes(answer: Answer | None) -> tuple[str, ...]:
    assert answer is not None
    return answer.photo_sha256s


def test_photos_shown_together_are_one_place_with_one_answer() -> None:
    chat = talk()
    answer = ended(chat.show(FIRST, more=[SECOND])).answer
    assert hashes(answer) == (FIRST.sha256, SECOND.sha256)
    assert [shown.photo_id for shown in chat.shown] == [FIRST.id]
    assert isinstance(ended(chat.show(FIRST, "why?")), TurnEnded)
    assert about(chat) == (FIRST.sha256, SECOND.sha256), "a photo that is shown again stays with the others"


def test_an_added_photo_locates_the_place_again_and_undo_takes_it_back() -> None:
    chat = talk()
    alone = ended(chat.show(FIRST)).answer
    ended(chat.ask("compare with Osaka"))
    added = ended(chat.add([SECOND])).answer
    assert hashes(added) == (FIRST.sha256, SECOND.sha256)
    assert len(chat.shown) == 1
    assert chat.undo() == ""
    assert hashes(alone) == about(chat) == (FIRST.sha256,)
    assert chat.shown[0].more == ()
    ended(chat.add([THIRD, SECOND]))
    assert about(chat) == (FIRST.sha256, THIRD.sha256, SECOND.sha256)


def test_an_addition_that_was_stopped_leaves_no_answer_about_fewer_photos() -> None:
    chat = talk()
    ended(chat.show(FIRST))
    events = chat.add([SECOND])
    next(events)
    events.close()  # type: ignore[attr-defined]  # a generator, though not by its type
    assert chat.finish(10.0)
    assert (chat.is_unfinished, dict(chat.answers)) == (True, {})
    assert hashes(ended(chat.go_on()).answer) == (FIRST.sha256, SECOND.sha256)


def test_the_model_is_shown_every_photo_again_in_a_follow_up() -> None:
    model = answering(lambda _data, _offered: ("it fits", []))
    chat = talk(context(model=model))
    ended(chat.show(FIRST, more=[SECOND]))
    assert ended(chat.ask("why?")).text == "it fits"
    assert count_pictures(model.seen[-1]) == 2
    assert f"{FIRST.id} (and {SECOND.id}, of the same place)" in str(model.seen[-1][-1].content)


def test_photos_that_are_no_set_leave_the_conversation_as_it_was() -> None:
    chat = talk()
    with pytest.raises(UserError, match="no photo yet"):
        chat.add([FIRST])
    ended(chat.show(FIRST))
    for photos in ([FIRST], [SECOND, SECOND], [shot(seed) for seed in range(10, 18)]):
        with pytest.raises(UserError, match=r"the same file as|at most 8"):
            chat.add(photos)
    assert about(chat) == (FIRST.sha256,)


def test_a_saved_thread_finds_all_of_them_again(tmp_path: Path) -> None:
    saver = open_checkpoints(tmp_path / "checkpoints.sqlite")
    first = context()
    ended(talk(first, saver=saver, photos=FolderPhotoArchive(tmp_path / "photos", first.photo_store)).show(FIRST))
    second = context()
    archive = FolderPhotoArchive(tmp_path / "photos", second.photo_store)
    chat = talk(second, saver=saver, photos=archive)
    ended(chat.add([SECOND]))
    assert {FIRST.id, SECOND.id} <= set(second.photo_store.ids())
    assert len(list((tmp_path / "photos").iterdir())) == 2
    [shown] = chat.shown
    (tmp_path / "photos" / f"{SECOND.sha256}.png").unlink()
    with pytest.raises(MissingPhotoError, match=SECOND.id):
        FolderPhotoArchive(tmp_path / "photos", PhotoStore()).bring(shown)
    saver.conn.close()


def test_pictures_of_one_message_are_of_one_place() -> None:
    chat = talk()
    blocks = [{"type": "image", "base64": jpeg_base64(shade), "mime_type": "image/jpeg"} for shade in (20, 200)]
    message = HumanMessage(list(blocks))
    final = chat.graph.invoke({"messages": [message]}, {"configurable": {"thread_id": "served"}})
    assert len(final["answer"].photo_sha256s) == 2
