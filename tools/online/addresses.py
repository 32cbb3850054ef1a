"""Addresses of online services, as settings give them; nothing here needs a network library."""

from __future__ import annotations

from urllib.parse import urlsplit

MAPILLARY_API = "https://graph.mapillary.com"


def checked_url(url: str) -> str:
    """An address without a slash at its end.

    >>> checked_url("https://overpass.example.org/api/interpreter/")
    'https://overpass.example.org/api/interpreter'

    Raises:
        ValueError: not http(s) with a host, or with a name, password, query or fragment in it; it is not repeated.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("give http(s)://HOST[:PORT][/PATH], without a name, a password, a query or a fragment")
    return url.rstrip("/")
