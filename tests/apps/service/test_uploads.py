"""Uploads are judged by their content; zips are read, never unpacked."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from apps.service.access import ApiKeys, RateLimiter, check_host, host_name, is_own_address
from apps.service.errors import TooLargeError, TooManyError, UnusableError
from apps.service.limits import ServiceLimits, make_limits
from apps.service.uploads import photos_in_zip, shown_name
from core.errors import UserError

KEY = "0123456789abcdef-anna"


def packed(*files: tuple[str, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    out.seek(0)
    return out


def test_photos_of_a_zip_come_with_names_that_are_labels() -> None:
    names = ["a/1.jpg", "../../etc/2.png", "/3.webp", "note.txt", ".hidden.jpg", "__MACOSX/a/1.jpg", "\x1b[2J4.tif"]
    found = list(photos_in_zip(packed(*((name, name.encode()) for name in names)), ServiceLimits()))
    assert [data.decode() for _, data in found] == ["a/1.jpg", "../../etc/2.png", "/3.webp", "\x1b[2J4.tif"]
    assert not any("\x1b" in name for name, _ in found)


def test_a_zip_that_unpacks_to_too_much_is_refused_whatever_it_says() -> None:
    limits = ServiceLimits(photo_bytes=10_000, job_bytes=15_000)
    with pytest.raises(TooLargeError):
        list(photos_in_zip(packed(("bomb.jpg", b"\0" * 10_000_000)), limits))
    with pytest.raises(TooLargeError):
        list(photos_in_zip(packed(*((f"{n}.jpg", b"\0" * 8_000) for n in range(3))), limits))
    many = packed(*((f"{n}.txt", b"") for n in range(50)))
    with pytest.raises(TooLargeError):
        list(photos_in_zip(many, ServiceLimits(job_photos=2)))


def test_a_damaged_or_empty_zip_is_refused() -> None:
    whole = packed(("a.jpg", b"x" * 1000)).getvalue()
    for data in (
        whole[:60],
        b"PK\x03\x04" + b"\0" * 100,
        packed(("a.txt", b"x")).getvalue(),
        whole.replace(b"a.jpg", b"b.jpg", 1),
    ):
        with pytest.raises(UnusableError):
            list(photos_in_zip(io.BytesIO(data), ServiceLimits()))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        (None, "photo"),
        ("", "photo"),
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\a.jpg", "a.jpg"),
        ("a" * 500, "a" * 119 + "…"),
    ],
)
def test_a_name_is_a_label(name: str | None, label: str) -> None:
    assert shown_name(name) == label


def test_keys_have_owners_and_are_not_kept_themselves(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\nanna:{KEY}\n\n{'b' * 20}\n")
    keys = ApiKeys.read(file, {})
    assert keys.owner(KEY) == "anna"
    assert str(keys.owner("b" * 20)).startswith("key-")
    assert [keys.owner(wrong) for wrong in (None, "", KEY[:-1], f"{KEY}x", "ключ", "\udcff")] == [None] * 6
    assert KEY not in repr(keys)
    assert ApiKeys.read(None, {"GEOSLEUTH_API_KEY": f"anna:{KEY}, bert:{'b' * 20}"}).owner("b" * 20) == "bert"
    assert ApiKeys.read(None, {}).owner(None) == "local"


@pytest.mark.parametrize("text", ["short", f"a:{KEY}\nb:{KEY}"])
def test_keys_that_are_short_or_shared_are_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        ApiKeys.read(file, {})
    assert KEY not in str(error.value)


def test_a_public_address_needs_a_key() -> None:
    public = ("0.0.0.0", "::", "192.168.0.7", "photos.example")  # noqa: S104 - refused
    for host in public:
        with pytest.raises(UserError, match="API keys"):
            check_host(host, ApiKeys({}))
        check_host(host, ApiKeys.of([KEY]))
    for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9"):
        check_host(host, ApiKeys({}))


@pytest.mark.parametrize(
    ("header", "is_own"),
    [
        ("localhost:8080", True),
        ("[::1]:8080", True),
        ("127.0.0.1", True),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:80", False),
        ("evil.example", False),
        ("", False),
        ("[::1", False),
        ("127.0.0.1@evil.example", False),
    ],
)
def test_the_machines_own_names(header: str, is_own: bool) -> None:
    assert is_own_address(host_name(header)) is is_own


def test_callers_do_not_slow_each_other() -> None:
    rates = RateLimiter(per_minute=3)
    for _ in range(3):
        rates.check("anna")
    with pytest.raises(TooManyError) as refused:
        rates.check("anna")
    assert 0.0 < refused.value.retry_after_s <= 20.0
    rates.check("bert")


def test_a_wrong_limit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOSLEUTH_SERVE_RUNS_AT_ONCE", "0")
    with pytest.raises(UserError, match="runs_at_once"):
        make_limits()
    monkeypatch.setenv("GEOSLEUTH_SERVE_RUNS_AT_ONCE", "5")
    assert make_limits().runs_at_once == 5
