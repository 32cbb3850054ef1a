"""Who may ask: API keys, the addresses a server may listen at, and how often each caller may come."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from apps.service.errors import TooManyError
from core.errors import UserError

KEY_VARIABLE = "GEOSLEUTH_API_KEY"
MIN_KEY_CHARACTERS = 16
MAX_OWNER_CHARACTERS = 64
"""Width of the databases' column."""
LOCAL = "local"
"""The owner of everything where no API keys are set: whoever can reach the machine's own port."""

_CALLERS = 10_000
_MINUTE_S = 60.0


@dataclass(frozen=True)
class ApiKeys:
    """The keys of a server: SHA-256 of each, with the name of whom it was given to. Without any, all are `LOCAL`."""

    owners: Mapping[bytes, str]

    @classmethod
    def read(cls, file: Path | None, environment: Mapping[str, str]) -> Self:
        """Keys from a file, a line each, or from the environment, with commas between: `NAME:KEY`, or `KEY` alone.

        Raises:
            UserError: the file cannot be read, or a key is too short, or given twice.
        """
        if file is None:
            return cls.of(environment.get(KEY_VARIABLE, "").split(","))
        try:
            return cls.of(file.read_text(encoding="utf-8").splitlines())
        except (OSError, ValueError) as error:
            raise UserError(f"API keys {file}: cannot be read ({error}); give a text file with a key a line") from error

    @classmethod
    def of(cls, lines: Iterable[str]) -> Self:
        """Keys of lines; empty ones, and those that begin with #, are none.

        Raises:
            UserError: a key is too short, or given twice.
        """
        owners: dict[bytes, str] = {}
        for line in map(str.strip, lines):
            if not line or line.startswith("#"):
                continue
            name, _, key = line.rpartition(":")
            if len(key) < MIN_KEY_CHARACTERS:
                least = f"{MIN_KEY_CHARACTERS} at least: `openssl rand -hex 24` makes one"
                raise UserError(f"an API key has {len(key)} characters; {least}")
            if len(name.strip()) > MAX_OWNER_CHARACTERS:
                raise UserError(f"the name of an API key has more than {MAX_OWNER_CHARACTERS} characters; shorten it")
            digest = _digest(key)
            if digest in owners:
                raise UserError("an API key is given twice; give everybody their own")
            owners[digest] = name.strip() or f"key-{digest.hex()[:12]}"
        return cls(owners)

    def owner(self, key: str | None) -> str | None:
        """Whose key it is; None: nobody's. Compared in constant time, with every key. `LOCAL` where there are none."""
        if not self.owners:
            return LOCAL
        given, found = _digest(key or ""), None
        for digest, name in self.owners.items():
            if hmac.compare_digest(digest, given):
                found = name
        return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def check_host(host: str, keys: ApiKeys) -> None:
    """Refuse to listen where others could come without a key.

    Raises:
        UserError: the address is not this machine's own, and there are no keys.
    """
    if not keys.owners and not is_own_address(host):
        raise UserError(
            f"{host} can be reached by other machines: set API keys with {KEY_VARIABLE} or --api-keys FILE,"
            " or listen at 127.0.0.1"
        )


def is_own_address(host: str) -> bool:
    """Whether a host, without a port, is this machine's and nobody else can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(header: str) -> str:
    """The host that a Host header names, without its port; empty for what is none."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port  # raises for what is none
        return parts.hostname or ""
    except ValueError:
        return ""


class RateLimiter:
    """Lets each caller come so often a minute, and at first as often at once. Safe between threads."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, caller: str) -> None:
        """Count a request.

        Raises:
            TooManyError: it is one too many.
        """
        now_s = time.monotonic()
        with self._lock:
            left, then_s = self._left.pop(caller, (float(self._per_minute), now_s))
            left = min(float(self._per_minute), left + (now_s - then_s) * self._per_minute / _MINUTE_S)
            self._left[caller] = (left - 1.0 if left >= 1.0 else left, now_s)
            if len(self._left) > _CALLERS:
                self._left.popitem(last=False)
        if left < 1.0:
            wait_s = (1.0 - left) * _MINUTE_S / self._per_minute
            raise TooManyError(f"more than {self._per_minute} requests a minute; slow down", wait_s)
