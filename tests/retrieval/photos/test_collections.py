"""Photos in folders, tars, on web servers and in S3 buckets make the same atlas; what cannot be reached is told."""

from __future__ import annotations

import builtins
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_none

from core.errors import UserError
from geo.point import Point
from retrieval.atlas.build import build_photo_atlas
from retrieval.atlas.engines import MANY_UNREACHED
from retrieval.atlas.failures import read_failures
from retrieval.atlas.manifest import AtlasManifest, draft_of
from retrieval.atlas.sources import PhotoItem, photos_from_collection, photos_from_table
from retrieval.photos import stored_files
from retrieval.photos.collections import open_collection
from retrieval.photos.photo import PhotoError
from retrieval.photos.stored_files import RemoteFile, TarMember, read_stored, stored_sha256
from tests.fakes.atlas_items import WaveEncoder
from tests.fakes.photo_files import jpeg
from tests.fakes.tool_calls import Answering, Reply, Server

COUNT = 20
Serve = Callable[[Answering], Server]


@pytest.fixture(autouse=True)
def fresh_file_systems(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file system of another test, and no waiting between attempts."""
    monkeypatch.setattr(stored_files, "wait_exponential_jitter", lambda **_: wait_none())
    stored_files._file_system.cache_clear()
    yield
    stored_files._file_system.cache_clear()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with one photo in a folder of its own, and one that is damaged."""
    folder = tmp_path / "photos"
    for number in range(COUNT):
        jpeg(folder / ("a b" if number == 1 else "") / f"{number}.jpg", seed=number)
    (folder / "3.jpg").write_bytes(b"no photo")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names(folder)}


def write_table(file: Path, listed: Mapping[str, int]) -> Path:
    rows = [f"{name},{number / 3},{number},ann" for name, number in listed.items()]
    file.write_text("\n".join(["IMG_ID,LAT,LON,AUTHOR", *rows, "gone.jpg,1,1,ann"]), encoding="utf-8")
    return file


def write_tar(file: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(file, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file


def built(folder: Path, items: list[PhotoItem]) -> AtlasManifest:
    return build_photo_atlas(folder, WaveEncoder(), items, source="same")


@pytest.fixture
def table(photos: Path, tmp_path: Path) -> Path:
    return write_table(tmp_path / "table.csv", {name: i for i, name in enumerate(names(photos))})


@pytest.fixture
def plain(photos: Path, table: Path, tmp_path: Path) -> AtlasManifest:
    """The atlas of the folder."""
    made = built(tmp_path / "folder" / "same", photos_from_table(table, photos))
    assert (made.count, made.failed) == (COUNT - 1, 2)
    return made


@pytest.fixture
def bucket(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The folder in a bucket of a server that speaks S3."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    endpoint = f"http://{host}:{port}"
    from fsspec.config import conf

    monkeypatch.setitem(conf, "s3", {"endpoint_url": endpoint})
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="archive")
    for name, data in contents(photos).items():
        client.put_object(Bucket="archive", Key=f"photos/{name}", Body=data)
    yield "s3://archive/photos"
    server.stop()


def test_a_tar_gives_the_atlas_of_its_folder(photos: Path, table: Path, plain: AtlasManifest, tmp_path: Path) -> None:
    for number in range(2):
        write_tar(tmp_path / f"part-{number}.tar", dict(list(contents(photos).items())[number::2]))
    items = photos_from_table(table, str(tmp_path / "part-*.tar"))
    assert built(tmp_path / "tars" / "same", items) == plain
    reasons = {failure.item_id: failure.reason for failure in read_failures(tmp_path / "tars" / "same")}
    assert reasons["gone.jpg"] == "gone.jpg: is in none of the tars, or in several places"


def test_a_web_server_gives_the_atlas_of_its_folder(
    photos: Path, table: Path, plain: AtlasManifest, tmp_path: Path, serve: Serve
) -> None:
    held = {f"/x/{name.replace(' ', '%20')}": data for name, data in contents(photos).items()}
    server = serve(lambda path: Reply(body=held[path]) if path in held else Reply(404))
    assert built(tmp_path / "web" / "same", photos_from_table(table, f"http://{server.host}/x")) == plain
    reasons = {failure.item_id: failure.reason for failure in read_failures(tmp_path / "web" / "same")}
    assert reasons["gone.jpg"] == f"http://{server.host}/x/gone.jpg: is not there"
    assert len(server.asked) == COUNT + 1


def test_a_bucket_gives_the_atlas_of_its_folder(
    photos: Path, table: Path, plain: AtlasManifest, tmp_path: Path, bucket: str
) -> None:
    assert built(tmp_path / "s3" / "same", photos_from_table(table, bucket)) == plain
    listed = photos_from_collection(f"{bucket}/")
    assert [item.item_id for item in listed] == names(photos)
    assert stored_sha256(listed[0].file) == stored_sha256(photos / listed[0].item_id)
    with pytest.raises(UserError, match="there is nothing below s3://archive/none/"):
        photos_from_collection("s3://archive/none")


def test_a_bucket_that_cannot_be_listed_is_one_error(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.config import conf

    once = {"retries": {"max_attempts": 0}}
    monkeypatch.setitem(conf, "s3", {"endpoint_url": "http://127.0.0.1:9", "config_kwargs": once})
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    with pytest.raises(UserError, match=r"s3://archive/photos/ cannot be listed: \w+ \("):
        photos_from_collection(bucket)


def test_what_stands_beside_a_photo_in_a_tar_places_it(photos: Path, tmp_path: Path) -> None:
    facts = {"LAT": 48.2, "lon": "16.4", "Author": "ann"}
    members = {"1.jpg": (photos / "0.jpg").read_bytes(), "1.json": json.dumps(facts).encode()}
    members |= {"2.jpg": (photos / "2.jpg").read_bytes(), "2.json": b'{"LAT": 91, "LON": 0}'}
    write_tar(tmp_path / "a.tar", members | {"3.jpg": (photos / "4.jpg").read_bytes(), "3.json": b"["})
    first, second, third = photos_from_collection(str(tmp_path / "a.tar"))
    assert isinstance(first.file, TarMember)
    assert first == PhotoItem("1.jpg", first.file, Point(lat=48.2, lon=16.4), "ann")
    assert second.problem == "no valid position beside it: '91', '0'"
    assert (third.point, third.problem) == (None, None)
    write_tar(tmp_path / "b.tar", {"1.jpg": b"x"})
    assert [item.item_id for item in photos_from_collection(str(tmp_path / "?.tar"))][-1] == "b.tar:1.jpg"


def test_a_compressed_tar_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"\x1f\x8b" + bytes(600))
    with pytest.raises(UserError, match=r"a\.tar\.gz is cut off or no uncompressed tar"):
        photos_from_collection(tmp_path / "a.tar.gz")


def test_a_tar_that_was_cut_off_since_is_told(photos: Path, tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", {"1.jpg": (photos / "0.jpg").read_bytes()})
    file = open_collection(tar).find("1.jpg")
    tar.write_bytes(tar.read_bytes()[:600])
    with pytest.raises(PhotoError, match=r"a\.tar: is shorter than it was"):
        read_stored(file)


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("https://a.example/x", "https://a.example.evil/x/1.jpg"),
        ("https://a.example/x", "https://a.example/xy/1.jpg"),
        ("https://a.example/x", "http://a.example/x/1.jpg"),
        ("https://a.example/x", "file:///etc/passwd"),
        ("https://a.example/x", "../y/1.jpg"),
        ("s3://bucket/x", "s3://bucket/x/../y/1.jpg"),
        ("https://", "1.jpg"),
    ],
)
def test_a_table_leads_nowhere_else(base: str, name: str) -> None:
    with pytest.raises(PhotoError, match="does not begin with"):
        open_collection(base).find(name)


def test_a_table_of_addresses_needs_what_they_begin_with(tmp_path: Path) -> None:
    assert open_collection("https://").find("https://a.example/1.jpg") == RemoteFile("https://a.example/1.jpg")
    with pytest.raises(PhotoError, match="is an address: name what it begins with instead of a folder"):
        open_collection(tmp_path).find("https://a.example/1.jpg")
    with pytest.raises(UserError, match=r"https://a\.example/ cannot be listed: give a table"):
        photos_from_collection("https://a.example")


def test_what_a_web_server_answers_instead_is_told(serve: Serve) -> None:
    server = serve(lambda path: Reply(int(path[1:4]), {"Location": "/200"} if path[1] == "3" else {}, b"body"))
    for status, told in ((404, "is not there"), (302, "has moved"), (400, "the server answers 400")):
        with pytest.raises(PhotoError, match=told):
            read_stored(RemoteFile(f"http://{server.host}/{status}"))
    assert len(server.asked) == 3
    with pytest.raises(PhotoError, match=r"503\?key=\*\*\*:? cannot be read: ClientResponseError \(503"):
        read_stored(RemoteFile(f"http://{server.host}/503?key=secret-of-mine"))
    assert len(server.asked) == 3 + stored_files.ATTEMPTS
    with pytest.raises(PhotoError, match="is larger than the limit"):
        read_stored(RemoteFile(f"http://{server.host}/200"), max_bytes=3)
    assert read_stored(RemoteFile(f"http://{server.host}/200"), max_bytes=4) == b"body"


def test_a_server_that_answers_at_the_second_attempt(serve: Serve) -> None:
    answers = iter([Reply(503), Reply(body=b"photo")])
    server = serve(lambda _: next(answers))
    assert read_stored(RemoteFile(f"http://{server.host}/a.jpg")) == b"photo"
    assert server.agents[0].startswith("GeoSleuth/")


def test_where_nothing_is_reached_the_build_ends_and_goes_on_later(
    photos: Path, table: Path, plain: AtlasManifest, tmp_path: Path, serve: Serve
) -> None:
    held, is_up = contents(photos), [True]

    def answer(path: str) -> Reply:
        if not is_up[0]:
            return Reply(503)
        name = path.removeprefix("/").replace("%20", " ")
        return Reply(body=held[name]) if name in held else Reply(404)

    server, folder = serve(answer), tmp_path / "web" / "same"
    is_up[0] = False
    items = photos_from_table(table, f"http://{server.host}")
    with pytest.raises(UserError, match=r"none of 16 photos could be reached .* run the same command to go on"):
        built(folder, items)
    assert draft_of(folder).exists()
    is_up[0] = True
    assert built(folder, items) == plain


def test_a_few_unreachable_photos_are_listed(photos: Path, tmp_path: Path, serve: Serve) -> None:
    server = serve(lambda path: Reply(body=(photos / "2.jpg").read_bytes()) if path == "/2.jpg" else Reply(503))
    table = write_table(tmp_path / "t.csv", {"1.jpg": 1, "2.jpg": 2})
    made = built(tmp_path / "web" / "same", photos_from_table(table, f"http://{server.host}"))
    assert (made.count, made.failed) == (1, 2)
    assert made.total < MANY_UNREACHED


def test_without_fsspec_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "fsspec":
            raise ModuleNotFoundError("No module named 'fsspec'", name="fsspec")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"photos at https:// are read by fsspec .*pip install 'geosleuth\[remote\]'"):
        read_stored(RemoteFile("https://a.example/1.jpg"))


def test_an_unknown_scheme_is_one_error() -> None:
    with pytest.raises(UserError, match="photos at nothing:// cannot be read: ValueError"):
        read_stored(RemoteFile("nothing://a/1.jpg"))
