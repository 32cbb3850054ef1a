"""Outputs of every kind over files of every kind: nothing but an earlier output of the same kind is ever replaced."""

from __future__ import annotations

import errno
import json
import os
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.options import Outputs
from apps.output.files import check_outputs, write_files, write_table
from apps.output.results_file import PhotoResult, RunFile
from core.errors import UserError
from graphs.events.log import EventLog
from graphs.events.tracing import Phase, TraceEvent, What
from tests.fakes.answers import answered, located
from tests.fakes.photo_files import jpeg

OPTIONS = ("jsonl", "csv", "geojson", "kml", "page", "picture", "events")
BEGINNINGS = {
    "jsonl": b'{"photo": ',
    "csv": b"photo,sha256,",
    "geojson": b"{",
    "kml": b"<?xml",
    "page": b"<!doctype html>",
    "picture": b"\x89PNG",
}
STRANGE = {
    "notes.txt": b"a letter without an end",
    "notes.json": b'{"a letter": "without an end"}',
    "lines.txt": b"\n\nlines, then a letter without an end",
    "ids.jsonl": b'{"id": 1}\n{"id": 2',
    "table.csv": b"photo,lat,lon\na.jpg,1,2\n",
    "page.html": b"<!doctype html>\n<title>mine</title>",
    "places.geojson": b'{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": null}]}',
    "places.kml": b"<?xml version='1.0'?>\n<kml><Document><name>Mine</name></Document></kml>",
    "drawing.png": b"\x89PNG\r\n\x1a\n mine",
}
NEW = {"new", "new.html", "new.png", "new.csv", "new.json", "new.jsonl", "new.kml", "new.jpg", "map.part", "\u202e é"}
LINKS = {"hard link.jpg": "photo.jpg", "link.jpg": "photo.jpg", "link.html": "ours page"}


@cache
def _ours() -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        files = {option: Path(folder) / option for option in BEGINNINGS}
        _write(_outputs(**files))
        return {f"ours {option}": file.read_bytes() for option, file in files.items()}


def _outputs(**files: Any) -> Outputs:
    return Outputs(**files)


def _write(outputs: Outputs, events: str | None = None) -> None:
    """As `locate` does it."""
    with ExitStack() as stack:
        if events is not None:
            stack.enter_context(EventLog(Path(events)))
        if outputs.jsonl is not None:
            stack.enter_context(RunFile(outputs.jsonl)).append(PhotoResult.of_answer("photo.jpg", answered()))
        write_table([PhotoResult.of_answer("photo.jpg", answered())], outputs)
        write_files([located()], outputs)


def _filled(folder: Path) -> dict[str, bytes]:
    jpeg(folder / "photo.jpg")
    (folder / "empty.jpg").touch()
    for name, content in {**STRANGE, **_ours()}.items():
        (folder / name).write_bytes(content)
    os.link(folder / "photo.jpg", folder / "hard link.jpg")
    (folder / "link.jpg").symlink_to("photo.jpg")
    (folder / "link.html").symlink_to("ours page")
    return {file.name: file.read_bytes() for file in folder.iterdir()}


NOWHERE = ("a folder", "a pipe", "loop", "missing/new.html", "photo.jpg/new.png", "x" * 300)
"""Where nothing can be written, or nothing that stays."""


@settings(max_examples=100, deadline=None)
@given(chosen=st.dictionaries(st.sampled_from(OPTIONS), st.sampled_from(NOWHERE), min_size=1, max_size=3))
def test_what_is_no_place_for_a_file_is_refused_before_anything_is_done(chosen: dict[str, str]) -> None:
    with TemporaryDirectory() as made:
        folder = Path(made)
        jpeg(folder / "photo.jpg")
        (folder / "a folder").mkdir()
        (folder / "loop").symlink_to("loop")
        os.mkfifo(folder / "a pipe")
        reader = os.open(folder / "a pipe", os.O_RDONLY | os.O_NONBLOCK)
        try:
            files = {option: folder / name for option, name in chosen.items()}
            events = str(files.pop("events")) if "events" in files else None
            outputs = _outputs(**files)
            with suppress(UserError):
                check_outputs(outputs, events, [folder / "photo.jpg"])
                assert set(chosen.values()) == {"a pipe"}, "only a pipe can be written"
        finally:
            os.close(reader)
        kept = {"photo.jpg", "a folder", "loop", "a pipe"}
        assert {path.name for path in folder.iterdir()} == kept
        assert not any((folder / "a folder").iterdir())


@pytest.mark.parametrize("option", ["csv", "geojson", "kml", "page", "picture"])
def test_a_device_that_is_full_is_one_line(option: str) -> None:
    outputs = _outputs(**{option: Path("/dev/full")})
    check_outputs(outputs, None, ())
    with pytest.raises(UserError, match="cannot write"):
        _write(outputs)


@pytest.mark.parametrize("name", ["/dev/null", "/dev/zero", "pipe"])
def test_a_device_or_a_pipe_of_events_is_never_read(name: str, tmp_path: Path) -> None:
    """Reading one would take for ever; the pipe is read by somebody else."""
    os.mkfifo(tmp_path / "pipe")
    event = TraceEvent(id="e", time="-", thread=None, step=1, node="n", what=What.NODE, name="x", phase=Phase.START)
    with EventLog(tmp_path / name) as log:  # an absolute name stays
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        log(event)
        if name == "pipe":
            assert json.loads(os.read(reader, 1000))["id"] == "e"
        os.close(reader)


NAMES = st.sampled_from(sorted({*STRANGE, *NEW, *LINKS, "photo.jpg", "empty.jpg", *(f"ours {o}" for o in BEGINNINGS)}))


@settings(max_examples=150, deadline=None)
@given(chosen=st.dictionaries(st.sampled_from(OPTIONS), NAMES, min_size=1, max_size=4))
def test_nothing_but_an_earlier_output_of_the_kind_is_replaced(chosen: dict[str, str]) -> None:
    with TemporaryDirectory() as made:
        folder = Path(made)
        before = _filled(folder)
        files = {option: folder / name for option, name in chosen.items()}
        events = str(files.pop("events")) if "events" in files else None
        outputs = _outputs(**files)
        try:
            check_outputs(outputs, events, [folder / "photo.jpg", folder / "empty.jpg"])
            _write(outputs, events)
            refused = False
        except UserError:
            refused = True
        replaced = {LINKS.get(name, name): option for option, name in chosen.items()}
        for name, content in before.items():
            option = replaced.get(LINKS.get(name, name))
            is_own = option is not None and LINKS.get(name, name) == f"ours {option}"
            assert is_own or (folder / name).read_bytes() == content, name
        if not refused:
            assert len(replaced) == len(chosen)
            for option, file in files.items():
                assert file.read_bytes().startswith(BEGINNINGS[option])
        assert (folder / "link.html").is_symlink()


@pytest.mark.parametrize("option", ["csv", "geojson", "kml", "page", "picture"])
def test_a_full_disk_leaves_the_previous_output(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "out"
    _write(_outputs(**{option: file}))
    previous = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("core.files.os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        _write(_outputs(**{option: file}))
    assert file.read_bytes() == previous
    assert [part.name for part in tmp_path.iterdir()] == ["out"]


def test_the_longest_name_and_the_previous_mode_are_kept(tmp_path: Path) -> None:
    long_name = tmp_path / ("é" * 127)
    _write(Outputs(page=long_name))
    long_name.chmod(0o600)
    _write(Outputs(page=long_name))
    assert long_name.stat().st_mode & 0o777 == 0o600


def test_a_device_is_written_as_it_is() -> None:
    outputs = Outputs(csv=Path(os.devnull), kml=Path(os.devnull))
    check_outputs(outputs, None, ())
    _write(outputs)
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize(
    ("option", "name"), [("picture", "x.jpg"), ("page", "x.PNG"), ("csv", "x.xlsx"), ("kml", "x.kmz")]
)
def test_a_suffix_of_another_format_is_refused(option: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not write \."):
        check_outputs(_outputs(**{option: tmp_path / name}), None, ())


def test_an_event_log_of_ours_is_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "events"
    event = {"id": "a", "time": "t", "thread": None, "step": 1, "node": "n", "what": "node", "name": "n"}
    line = json.dumps(event | {"phase": "start"}, separators=(",", ":")) + "\n"
    file.write_text(line + line[:20], encoding="utf-8")
    with EventLog(file):
        pass
    assert file.read_text(encoding="utf-8") == line
