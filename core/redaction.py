"""Credentials are neither printed nor stored: one function takes them out of a text, another names a URL's host."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

REDACTED = "***"
_MIN_CHARACTERS = 6
"""A shorter value of a variable is also a word: it stays."""

_SECRET_VARIABLE = re.compile(r"(?:^|_)(?:API_?)?(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS)$", re.IGNORECASE)
# `user:password@` of a URL, the password perhaps with a slash that should have been escaped; a port is none.
_USERINFO = re.compile(r"(?<=://)(?:[^\s/?#\"'<>]*@|[^\s/\"'<>@]*:(?!\d+[/,])[^\s\"'<>,]*@)")
_QUERY = re.compile(
    r"([?&;][\w.-]*(?:key|token|secret|passw(?:or)?d|pwd|auth|sig|signature|credentials?)=)[^&;\s\"'<>#]+",
    re.IGNORECASE,
)
_LONG_QUERY = re.compile(r"([?&][\w.-]+=)(?=[\w.~%+/=-]*\d)[\w.~%+/=-]{20,}")
_URL_PATH = re.compile(r"(?<=://)[^\s/?#\"'<>]+/[^\s?#\"'<>]*")
# A part of a path with 20 letters and digits in a row, or a UUID; a checksum or a commit as a whole part is no key.
_PATH_KEY = re.compile(
    r"(?<=/)(?!(?:[0-9a-f]{40}|[0-9a-f]{64})(?:/|$))[^/]*?"
    r"(?:(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z\d]{20}|[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12})[^/]*"
)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_HEADER = re.compile(
    r"((?:authorization|x-api-key|api-key)[\"']?\s*[:=]\s*[\"']?(?:bearer |basic )?|bearer )[^\s\"']{6,}", re.IGNORECASE
)
_KEY_LIKE = re.compile(r"\b(?:sk-|(?:(?:sk|pk|rk|gsk|hf|key|xai)[-_]|AIza)(?=[-\w*]*[\d*]))[-\w*]{8,}")


def redacted(text: str, environment: Mapping[str, str] | None = None) -> str:
    """A text without credentials: each becomes `***`.

    Credentials are `user:password@` of a URL, keys in its query and its path, authorization headers, what begins as the
    keys of providers do, and the values of variables of the environment whose name ends in KEY, TOKEN, SECRET or
    PASSWORD.

    Args:
        text: of any length and origin.
        environment: None: the process's.

    >>> redacted("https://anna:pass@tiles.example/1?apikey=abc&z=3", {})
    'https://***@tiles.example/1?apikey=***&z=3'
    """
    variables = os.environ if environment is None else environment
    # The longest first: a value may begin with another one.
    secrets = {value.strip() for name, value in variables.items() if _SECRET_VARIABLE.search(name)}
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _MIN_CHARACTERS:
            text = text.replace(secret, REDACTED)
    text = _USERINFO.sub(f"{REDACTED}@", text)
    text = _URL_PATH.sub(lambda url: _PATH_KEY.sub(REDACTED, url[0]), text)
    for pattern in (_QUERY, _LONG_QUERY, _HEADER):
        text = pattern.sub(rf"\g<1>{REDACTED}", text)
    return _KEY_LIKE.sub(REDACTED, text)


def without_credentials(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values in which there is no credential, for what is saved."""
    return {name: value for name, value in values.items() if redacted(str(value)) == str(value)}


def last_part(path: str | Path) -> str:
    """The name of a file or folder, without the folders that tell whose machine it is on.

    >>> last_part("/home/anna/records.json"), last_part("compact")
    ('records.json', 'compact')
    """
    return Path(path).name or str(path)


def host_of(address: str) -> str:
    """The host, and the port if there is one, that an address names; an address that is no URL as it is.

    >>> host_of("https://anna:pass@tiles.example:8080/{z}/{x}/{y}?key=abc")
    'tiles.example:8080'
    """
    try:
        netloc = urlsplit(address).netloc
    except ValueError:
        netloc = ""
    return redacted((netloc or address).rpartition("@")[2])


def remote_host(url: str) -> str | None:
    """The host of a URL that is not this machine; None for this machine."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # no URL, so it is not known to be this machine
        host = host_of(url)
    return None if host == "localhost" or _is_loopback(host) else host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def log_hosts_only(name: str) -> None:
    """Leave of each address its host alone in the lines that a library writes to its log of this name.

    A key may be anywhere in an address, under any name.
    """
    logging.getLogger(name).addFilter(_leave_hosts)


def _leave_hosts(record: logging.LogRecord) -> bool:
    record.msg, record.args = redacted(_ADDRESS.sub(lambda address: host_of(address[0]), record.getMessage())), None
    return True


def redact_tracebacks() -> None:
    """Print the traceback of whatever ends this process, or a thread of it, without credentials."""
    sys.excepthook = _print_redacted
    threading.excepthook = lambda failed: (
        _print_redacted(failed.exc_type, failed.exc_value, failed.exc_traceback) if failed.exc_value else None
    )


def _print_redacted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))
