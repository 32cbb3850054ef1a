"""Which tile servers may be asked, by name or by a template."""

from __future__ import annotations

import pytest
from xyzservices import providers

from core.errors import UserError
from geo.tiles import Tile, TileBounds
from tools.services.tile_server import SUGGESTED_SOURCES, TileServer, known_server, tile_server


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("file:///etc/{z}/{x}/{y}", "names no host"),
        ("ftp://tiles.example/{z}/{x}/{y}", "must begin with http"),
        ("http://evil.example/{z}/{x}/{y}", "not one of the allowed hosts"),
        ("http://tiles.example@evil.example/{z}/{x}/{y}", "not one of the allowed hosts"),
        ("http://tiles.example:8080/{z}/{x}/{y}", "not one of the allowed hosts"),
        ("http://{x}.tiles.example/{z}/{x}/{y}", "once each"),
        ("http://{z}/{x}/{y}", "once each"),
        ("http://{s}.tiles.example/{z}/{x}/{y}", "once each"),
        ("http://tiles.example/{z}/{x}/{y.__class__}", "once each"),
        ("http://tiles.example/{z}/{x}/{y:>99999999}", "once each"),
        ("http://tiles.example/{z}/{x}", "once each"),
        ("http://tiles.example/{z}/{x}#{y}", "once each"),
        ("http://tiles.example/{z}/{x}/{y", "cannot be used"),
        ("http:///{z}/{x}/{y}", "names no host"),
        ("http://tiles.example:99999999/{z}/{x}/{y}", "cannot be used"),
        ("http://[tiles.example/{z}/{x}/{y}", "cannot be used"),
    ],
)
def test_only_allowed_addresses(template: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        TileServer("mine", template, "me", frozenset({"tiles.example"}))


def test_an_address_of_the_users_allows_its_host_and_no_other() -> None:
    server = tile_server("https://anna:pass@tiles.example:8080/wmts?layer=a&row={y}&column={x}&matrix={z}&key=secret1")
    assert server.url(Tile(3, 1, 2)).endswith("/wmts?layer=a&row=2&column=1&matrix=3&key=secret1")
    assert server.allowed_hosts == {"anna:pass@tiles.example:8080"}
    assert (server.name, server.attribution) == ("tiles.example:8080", "tiles of tiles.example:8080")
    with pytest.raises(UserError, match="must hold") as refused:
        tile_server("https://anna:pass@tiles.example/{z}/{x}?key=secret1")
    assert "pass" not in str(refused.value)
    assert "secret1" not in str(refused.value)


def test_a_provider_is_known_by_its_name() -> None:
    server = known_server("NASAGIBS.BlueMarble")
    assert server.url(Tile(3, 1, 2)).endswith("/3/2/1.jpeg")
    assert server.allowed_hosts == {"gibs.earthdata.nasa.gov"}
    assert server.attribution
    assert server.zooms == range(9)
    assert tile_server("nasagibs bluemarble") == server
    assert all(known_server(name).area is None for name in SUGGESTED_SOURCES)


def test_subdomains_take_turns() -> None:
    server = known_server("OpenTopoMap")
    hosts = {server.url(Tile(3, x, 0)).split("/")[2] for x in range(5)}
    assert hosts == server.allowed_hosts
    assert len(hosts) == 3


def test_a_provider_says_what_it_covers_and_how_it_counts() -> None:
    area = known_server("BasemapAT.basemap").area
    assert area == TileBounds(46.35877, 8.782379, 49.037872, 17.189532)
    assert "/3/2/6." in known_server("OpenAIP").url(Tile(3, 2, 1))  # rows from the south, as TMS counts


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "Stamen.Toner",
            r"unknown tile source 'Stamen.Toner'; xyzservices knows Stadia.StamenToner.*Esri.World",
        ),
        ("Esri.ArcticImagery", "not in Web Mercator"),
        ("JusticeMap.income", "as broken"),
        ("MapTiler.Satellite", r"needs a key: give its address instead, with yours for \*\*\*: https://api.maptiler.*"),
    ],
)
def test_a_provider_that_cannot_be_used_is_for_the_user_to_mend(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        known_server(name)


def test_most_providers_that_need_no_key_can_be_used() -> None:
    """Names and forms of addresses change with each version of the package: few may be lost. A tenth is tried."""
    free = [name for name, each in providers.flatten().items() if not each.requires_token()][::10]
    usable = 0
    for name in free:
        try:
            usable += known_server(name).url(Tile(4, 3, 5)).startswith("http")
        except UserError:
            continue
    assert usable > 0.9 * len(free)
