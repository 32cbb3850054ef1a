from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from apps.mcp import photos
from apps.mcp.photos import GivenPhoto, PhotoFolders, photo_bytes
from apps.service.errors import NotFoundError, ServiceError, TooLargeError, UnusableError
from apps.service.limits import ServiceLimits
from core.errors import UserError

LIMITS = ServiceLimits(photo_bytes=10_000)


@pytest.fixture
def folders(holiday: Path) -> PhotoFolders:
    return PhotoFolders.of([holiday])


def read(folders: PhotoFolders, **source: str) -> bytes:
    return photo_bytes(GivenPhoto.model_validate(source), folders, LIMITS)[0]


def test_a_photo_inside_is_read_by_path_relative_path_and_uri(folders: PhotoFolders, holiday: Path) -> None:
    hill = holiday / "trip" / "hill.jpg"
    expected = hill.read_bytes()
    assert read(folders, path=str(hill)) == expected
    assert read(folders, path="trip/hill.jpg") == expected
    assert read(folders, path="trip/../trip/hill.jpg") == expected
    assert read(folders, uri=hill.as_uri()) == expected


def test_bytes_are_taken_as_a_blob_or_as_the_contents_of_any_resource(folders: PhotoFolders) -> None:
    blob = base64.b64encode(b"bytes").decode()
    contents = {"uri": "https://elsewhere.example/a%20b.jpg", "mimeType": "image/jpeg", "blob": blob, "_meta": {}}
    assert read(folders, blob=blob) == b"bytes"
    # A label beside the bytes: nothing is fetched.
    assert photo_bytes(GivenPhoto.model_validate(contents), folders, LIMITS) == (b"bytes", "a b.jpg")


def test_what_is_outside_is_refused_in_the_words_for_what_is_nowhere(folders: PhotoFolders, holiday: Path) -> None:
    outside = holiday.parent / "private.jpg"
    nowhere = holiday.parent / "nothing.jpg"
    for path in (outside, nowhere, holiday / ".." / "private.jpg", "../private.jpg", "/etc/passwd", holiday, "\0", "."):
        with pytest.raises(NotFoundError, match=r"no such photo in .*holiday; give a path in there, or send a blob"):
            read(folders, path=str(path))


@pytest.mark.parametrize("uri", ["https://{}", "file://host{}", "FILE{}", "file:{}?x", "data:{}", "file://[{}"])
def test_other_resources_are_neither_fetched_nor_opened(folders: PhotoFolders, holiday: Path, uri: str) -> None:
    with pytest.raises(NotFoundError, match="no resource of this server"):
        read(folders, uri=uri.format(holiday / "beach.jpg"))


def test_an_escaped_uri_leads_no_further_than_a_path(folders: PhotoFolders, holiday: Path) -> None:
    with pytest.raises(NotFoundError, match="no such photo"):
        read(folders, uri=f"file://{holiday}/%2e%2e%2fprivate.jpg")


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path, holiday: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file.jpg").symlink_to(holiday.parent / "private.jpg")
    (root / "folder").symlink_to(holiday)
    (root / "circle").symlink_to(root / "circle")
    for path in ("file.jpg", "folder/beach.jpg", "circle", "circle/x"):
        with pytest.raises(NotFoundError):
            read(PhotoFolders.of([root]), path=path)
    assert PhotoFolders.of([root]).photos() == []


def test_a_link_inside_and_a_root_that_is_a_link_are_fine(tmp_path: Path, holiday: Path) -> None:
    (tmp_path / "root").symlink_to(holiday)
    folders = PhotoFolders.of([tmp_path / "root"])
    assert read(folders, path=str(tmp_path / "root" / "beach.jpg")) == (holiday / "beach.jpg").read_bytes()


def test_a_folder_replaced_by_a_link_after_the_check_leads_nowhere(tmp_path: Path, holiday: Path) -> None:
    root = tmp_path / "root"
    (root / "trip").mkdir(parents=True)
    (root / "trip" / "hill.jpg").write_bytes(b"mine")
    folders = PhotoFolders.of([root])
    checked = folders._inside("trip/hill.jpg")
    assert checked is not None
    (root / "trip" / "hill.jpg").unlink()
    (root / "trip").rmdir()
    (root / "trip").symlink_to(holiday / "trip")
    with pytest.raises(OSError, match="trip"):
        photos._open_below(checked[0], checked[1].parts)


def test_a_pipe_and_a_folder_are_no_photos_and_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for path in ("pipe.jpg", "folder.jpg"):
        with pytest.raises(NotFoundError):
            read(PhotoFolders.of([tmp_path]), path=path)


def test_nothing_larger_than_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "large.jpg").write_bytes(b"x" * 10_001)
    (tmp_path / "just.jpg").write_bytes(b"x" * 10_000)
    folders = PhotoFolders.of([tmp_path])
    assert len(read(folders, path="just.jpg")) == 10_000
    with pytest.raises(TooLargeError, match=r"0\.01 MB; scale it down"):
        read(folders, path="large.jpg")
    with pytest.raises(TooLargeError, match=r"0\.01 MB; scale it down"):
        read(folders, blob="A" * 13_340)


@pytest.mark.parametrize("blob", ["data:image/jpeg;base64,AAAA", "AA=A", "ä", "A", "AAAA\n"])
def test_what_is_not_base64_is_refused(folders: PhotoFolders, blob: str) -> None:
    with pytest.raises(UnusableError, match="blob is not base64"):
        read(folders, blob=blob)


@pytest.mark.parametrize(
    "source", [{}, {"path": "a", "blob": "AAAA"}, {"path": "a", "uri": "b"}, {"url": "http://a"}, {"path": ""}]
)
def test_a_photo_is_given_in_one_way(source: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        GivenPhoto.model_validate(source)


def test_without_folders_no_path_is_read(holiday: Path) -> None:
    with pytest.raises(NotFoundError, match="reads no files: send the photo as blob, or start it with --root FOLDER"):
        read(PhotoFolders(), path=str(holiday / "beach.jpg"))


def test_a_root_that_is_no_folder_is_a_mistake_of_the_user(holiday: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        PhotoFolders.of([holiday / "beach.jpg"])


@given(path=st.text(min_size=1, max_size=60) | st.lists(st.sampled_from(["..", ".", "private.jpg", ""])).map("/".join))
@example(path="/proc/self/environ")
@example(path="~/.ssh/id_rsa")
@example(path="\ud800")
@example(path="a/" * 2000)
def test_no_path_reaches_out_of_the_folder(holiday: Path, path: str) -> None:
    folders = PhotoFolders.of([holiday / "trip"])
    try:
        found = folders.read(path, 10_000)
    except ServiceError:
        return
    assert found == (holiday / "trip" / "hill.jpg").read_bytes()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open descriptors are listed by Linux")
def test_a_path_to_a_folder_leaves_no_descriptor_open(folders: PhotoFolders) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(NotFoundError):
            read(folders, path="trip")
    assert len(os.listdir("/proc/self/fd")) == before
