"""Names of threads: whatever a person types, a thread is a folder in its place, or one line says why it is not."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.errors import UserError
from graphs.chat.threads import SavedThread, forget_thread, thread_names

ODD = (
    "",
    " ",
    ".",
    "..",
    "a/b",
    "../a",
    "/etc",
    "~",
    "~root",
    "a\0b",
    "a\nb",
    "CON",
    "-rf",
    "é" * 80,
    "\U00020000" * 80,
)


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(ODD) | st.text(max_size=90) | st.text("é𠀀a .-_/", max_size=90))
@example(name="\U00020000" * 80)
@example(name="..")
@example(name="a.")
def test_a_name_is_one_folder_or_is_refused(name: str) -> None:
    with TemporaryDirectory() as made:
        home = Path(made) / "home"
        home.mkdir()
        try:
            with SavedThread(home, name) as thread:
                thread.begin({"model": "offline"})
                assert thread.folder.parent == home / "threads"
            assert thread_names(home) == [name]
            forget_thread(home, name)
            assert thread_names(home) == []
        except UserError:
            assert [path.name for path in home.rglob("thread.json")] == []
        assert [path.name for path in Path(made).iterdir()] == ["home"]


def test_a_damaged_thread_is_forgotten_too(tmp_path: Path) -> None:
    SavedThread(tmp_path, "trip").close()
    (tmp_path / "threads" / "trip" / "thread.json").write_text("{")
    forget_thread(tmp_path, "trip")
    assert not (tmp_path / "threads" / "trip").exists()
    with pytest.raises(UserError, match="no thread 'trip'"):
        forget_thread(tmp_path, "trip")
