"""No credential survives, whatever surrounds it; what is none stays."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UserError
from core.redaction import host_of, log_hosts_only, redacted, without_credentials

SECRET = "Zq7-made-up_9x"  # noqa: S105 - made up
LETTERS = st.text(st.sampled_from("abz09 .,:/?&=@'\"()\n"), max_size=30)
HIDING_PLACES = (
    f"https://anna:{SECRET}@host/path",
    f"https://anna:{SECRET}@elsewhere@host/{{z}}",
    f"https://anna:a/{SECRET}@host/",
    f"https://{SECRET}@host",
    f"https://host/t?apikey={SECRET}&z=1",
    f"https://host/t?z=1&access_token={SECRET}",
    f"https://host/t?sig={SECRET}",
    f"https://host/t?k={SECRET}0123456789",
    f"https://host/tiles/0a1b2c3d4e5f6a7b8c9d{SECRET}/1/2/3.png",
    f"http://host:80/0a1b2c3d-4e5f-6a7b-8c9d-0a1b2c3d4e5f-{SECRET}/v1",
    f"Authorization: Bearer {SECRET}",
    f'{{"x-api-key": "{SECRET}"}}',
    f"incorrect key provided: sk-{SECRET}",
)


@pytest.mark.parametrize("hidden", HIDING_PLACES)
@given(before=LETTERS, after=LETTERS)
def test_no_credential_survives(hidden: str, before: str, after: str) -> None:
    assert SECRET not in redacted(f"{before} {hidden} {after}", {})


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "HF_TOKEN", "A_SECRET", "DB_PASSWORD", "KEY", "QDRANT_APIKEY"])
@given(before=LETTERS, after=LETTERS)
def test_values_of_secret_variables_are_found_anywhere(name: str, before: str, after: str) -> None:
    assert SECRET not in redacted(f"{before}{SECRET}{after}", {name: SECRET, "OTHER_KEY": SECRET[:8]})


@pytest.mark.parametrize(
    "text",
    [
        "a@http://host:8000/v1,b@http://host:80/v1",
        "https://host/search?lat=1.5&lon=2&zoom=13",
        "https://host/models/Qwen2.5-VL-72B-Instruct-AWQ/resolve/0123456789abcdef0123456789abcdef01234567/card.json",
        "/home/anna/0a1b2c3d4e5f6a7b8c9d0e/photo.jpg",
        "skyscraper-photos/keyboards/IMG_2024.jpg",
        "mail anna@example.org about a basic understanding of monkeys",
    ],
)
def test_what_is_no_credential_stays(text: str) -> None:
    assert redacted(text, {"HOME": "host", "A_KEY": "a"}) == text


def test_errors_for_the_user_and_what_is_saved_hold_none() -> None:
    assert SECRET not in str(UserError(f"https://a:{SECRET}@host/ cannot be used"))
    assert without_credentials({"a": f"https://a:{SECRET}@host/", "b": 1}) == {"b": 1}


@pytest.mark.parametrize(
    "address", [f"http://a:{SECRET}@host:80/x", f"a:{SECRET}@host:80", f"http://host:80/?t={SECRET}"]
)
def test_a_host_is_named_without_what_opens_it(address: str) -> None:
    assert host_of(address) == "host:80"


def test_tracebacks_hold_none_in_threads_too() -> None:
    program = (
        "import threading; from core.redaction import redact_tracebacks; redact_tracebacks()\n"
        f"def fail(): raise ValueError('first {SECRET}')\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join()\n"
        f"try: raise OSError('https://a:{SECRET}@host')\nexcept OSError as error: raise RuntimeError('last') from error"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], env={"A_TOKEN": SECRET}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert all(word in run.stderr for word in ("first", "last", "Traceback"))
    # The source lines that a traceback quotes are redacted, too.
    assert SECRET not in run.stderr


@pytest.mark.parametrize(
    "address", [f"https://anna:{SECRET}@host/7?z=1", "https://host/7?k=abc", "https://host/abc/7", "https://host?abc"]
)
def test_a_log_of_addresses_has_hosts_alone(caplog: pytest.LogCaptureFixture, address: str) -> None:
    log = logging.getLogger("tests.some_library")
    log_hosts_only(log.name)
    with caplog.at_level(logging.INFO):
        log.info('HTTP Request: %s %s "%s %d %s"', "GET", address, "HTTP/1.1", 200, "OK")
    assert caplog.messages == ['HTTP Request: GET host "HTTP/1.1 200 OK"']
