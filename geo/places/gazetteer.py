"""Which place is here, and where is a place of this name: GeoNames and time zones, offline.

The country is that of the time zone the position lies in; the place is the nearest one of that country (or of
those countries, where a zone covers several). In international waters, which have no country's zone, it is the
nearest place of all. South of 60° S it is Antarctica.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from timezonefinder import TimezoneFinder

from geo.nearest import NearestIndex
from geo.place import Place, SimilarPlace
from geo.places.country_names import code_of, codes_by_key
from geo.places.names import name_key
from geo.places.tables import PlaceTables
from geo.point import Point
from geo.sphere import Floats, distance_km, to_lat_lon_deg, unit_vectors, wrap_longitudes_deg

ANTARCTIC_LATITUDE_DEG = -60.0
"""The Antarctic Treaty's area begins here; no country's zone or place counts beyond it."""

_ROWS_AT_ONCE = 256

_LEAST_LETTERS = 4
_LEAST_SIMILARITY = 0.75
"""One letter of four, two of eight: by hand."""

_MOST_SPELLINGS = 50
_MOST_WORDS = 8


class PlaceCoordinates(NamedTuple):
    """Where people live: n GeoNames places, the most populous first."""

    lat_lon_deg: Floats
    ids: list[str]
    population: NDArray[np.int64]


class Gazetteer:
    """GeoNames places by position and by name. Tables load on first use; safe to share between threads.

    >>> gazetteer = Gazetteer()
    >>> gazetteer.place_at(Point(lat=38.7223, lon=-9.1393)).country_code
    'PT'
    >>> gazetteer.find("Porto", "PT")[0].name
    'Porto, Portugal'
    """

    def __init__(self) -> None:
        self._tables = PlaceTables()
        # A TimezoneFinder must not be used by two threads at a time, nor a table be read by two.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._tables.geoname_id)

    def places_at(self, lat_lon_deg: ArrayLike) -> list[Place]:
        """The place of each position (n, 2), however far, with its distance.

        Where a country has no place in the gazetteer (as Antarctica), the place is the country itself, at the
        position that was asked about.

        Raises:
            ValueError: a latitude outside [-90, 90], or a position that is not finite.
        """
        positions = np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2)
        if not (np.isfinite(positions).all() and (np.abs(positions[:, 0]) <= 90.0).all()):
            raise ValueError("positions must be finite, with latitudes within 90 degrees")
        positions = np.stack([positions[:, 0], wrap_longitudes_deg(positions[:, 1])], axis=1)
        with self._lock:
            index, country = self._nearest_of_its_country(positions)
            return self._as_places(positions, index, country)

    def country_codes_at(self, lat_lon_deg: ArrayLike) -> list[str]:
        """ISO 3166-1 alpha-2 code of the country of each position (n, 2); at sea that of the nearest coast."""
        positions = np.asarray(lat_lon_deg, dtype=np.float64).reshape(-1, 2)
        with self._lock:
            _, country = self._nearest_of_its_country(positions)
        return [self._tables.country_codes[number] for number in country.tolist()]

    def place_at(self, point: Point) -> Place:
        """The place of a point, however far, with its distance."""
        return self.places_at([(point.lat, point.lon)])[0]

    def find(self, name: str, country_code: str | None = None) -> list[Place]:
        """Countries, regions and cities of exactly this name, the most populous first.

        Case, accents, punctuation and spaces do not matter; other languages and scripts are known for countries
        and for places of 1,000 people and more. Two or three capitals are also tried as an ISO 3166-1 code.
        `country_code` (alpha-2) keeps places of that country only.
        """
        with self._lock:
            found = [*self._countries_named(name), *self._regions_named(name), *self._cities_named(name)]
        wanted = country_code.upper() if country_code else None
        kept = [place for place in found if wanted in (None, place.country_code)]
        return sorted(kept, key=lambda place: -(place.population or 0))

    def find_similar(self, name: str, country_code: str | None = None, limit: int = 20) -> list[SimilarPlace]:
        """Places of a name like this one: misspelt, misread, or with other words around it.

        First names that differ by a few letters, the likest first and of the equally like the most populous; if there
        are none, places of the longest run of its words that names any, the most populous first.

        >>> [found.place.city for found in Gazetteer().find_similar("Lisbonn", "PT")][:1]
        ['Lisbon']
        """
        found = self._misspelt(name, country_code) or self._in_words(name, country_code)
        return found[:limit]

    def _misspelt(self, name: str, country_code: str | None) -> list[SimilarPlace]:
        key = name_key(name)
        if len(key) < _LEAST_LETTERS:
            return []
        with self._lock:
            similar = self._tables.similar_keys(key, _LEAST_SIMILARITY, _MOST_SPELLINGS)
        best: dict[Place, float] = {}
        for spelling, similarity in similar:
            for place in self.find(spelling, country_code):
                best.setdefault(place, similarity)
        ranked = sorted(best, key=lambda place: (-best[place], -(place.population or 0)))
        return [SimilarPlace(place=place, matched=name, score=best[place]) for place in ranked]

    def _in_words(self, name: str, country_code: str | None) -> list[SimilarPlace]:
        words = name.split()[:_MOST_WORDS]
        for length in range(len(words) - 1, 0, -1):
            runs = dict.fromkeys(" ".join(words[i : i + length]) for i in range(len(words) - length + 1))
            found = [
                SimilarPlace(place=place, matched=run, score=round(len(name_key(run)) / len(name_key(name)), 3))
                for run in runs
                if len(name_key(run)) >= _LEAST_LETTERS
                for place in self.find(run, country_code)
            ]
            if found:
                return sorted(found, key=lambda similar: -(similar.place.population or 0))
        return []

    def coordinates(self) -> PlaceCoordinates:
        """Every place of the gazetteer (234,908 of them), the most populous first; ids are `geonames:<number>`."""
        with self._lock:
            order = np.lexsort((self._tables.geoname_id, -self._tables.population))
            ids = [f"geonames:{number}" for number in self._tables.geoname_id[order].tolist()]
            return PlaceCoordinates(self._tables.lat_lon_deg[order], ids, self._tables.population[order])

    @cached_property
    def _nearest(self) -> NearestIndex:
        return NearestIndex(self._tables.lat_lon_deg)

    @cached_property
    def _finder(self) -> TimezoneFinder:
        return TimezoneFinder(in_memory=True)

    @cached_property
    def _zone_covers(self) -> NDArray[np.bool_]:
        """Whether a zone (row) covers a country (column).

        Zones of international waters cover every country, as does the last row, which is for "no zone" (-1); the
        last but one stands for Antarctica.
        """
        names = list(self._finder.timezone_names)
        covers = np.zeros((len(names) + 2, len(self._tables.country_codes)), np.bool_)
        for row, name in enumerate(names):
            covers[row, self._numbers(self._tables.zone_countries.get(name, self._tables.country_codes))] = True
        covers[-2, self._numbers(["AQ"])] = True
        covers[-1] = True
        return covers

    def _numbers(self, codes: Sequence[str]) -> list[int]:
        return [self._tables.country_codes.index(code) for code in codes]

    def _zones(self, positions: Floats) -> NDArray[np.int64]:
        lats, lons = positions.T
        zones = self._finder.timezone_ids_at(lngs=lons.copy(), lats=lats.copy()).astype(np.int64)
        return np.where(lats <= ANTARCTIC_LATITUDE_DEG, len(self._zone_covers) - 2, zones)

    def _nearest_of_its_country(self, positions: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Place (n,), -1 for none, and country (n,) of n positions."""
        index, _ = self._nearest.query(positions)
        country = self._tables.country[index]
        zones = self._zones(positions)
        across_a_border = np.flatnonzero(~self._zone_covers[zones, country])
        for zone in np.unique(zones[across_a_border]):
            rows = across_a_border[zones[across_a_border] == zone]
            index[rows] = self._nearest_in_zone_countries(positions[rows], zone)
            first_country = int(np.flatnonzero(self._zone_covers[zone])[0])
            country[rows] = np.where(index[rows] < 0, first_country, self._tables.country[index[rows]])
        return index, country

    def _nearest_in_zone_countries(self, positions: Floats, zone: int) -> NDArray[np.int64]:
        """The nearest place (n,) in the countries a zone covers; -1 where there is none."""
        places = np.flatnonzero(self._zone_covers[zone, self._tables.country])
        if not len(places):
            return np.full(len(positions), -1)
        towards = unit_vectors(self._tables.lat_lon_deg[places]).T
        parts = np.split(unit_vectors(positions), range(_ROWS_AT_ONCE, len(positions), _ROWS_AT_ONCE))
        return np.concatenate([places[(part @ towards).argmax(axis=1)] for part in parts])

    def _as_places(self, positions: Floats, index: NDArray[np.int64], country: NDArray[np.int64]) -> list[Place]:
        km = distance_km(positions, self._tables.lat_lon_deg[index])
        return [
            self._city(i, distance) if i >= 0 else self._empty_country(c, lat, lon)
            for i, c, distance, (lat, lon) in zip(
                index.tolist(), country.tolist(), km.tolist(), positions.tolist(), strict=True
            )
        ]

    def _city(self, index: int, distance: float | None = None) -> Place:
        tables = self._tables
        country, (lat, lon) = int(tables.country[index]), tables.lat_lon_deg[index].tolist()
        return Place(
            country=tables.country_names[country],
            country_code=tables.country_codes[country],
            region=tables.region_names[int(tables.region[index])] or None,
            city=tables.names[index],
            point=Point(lat=lat, lon=lon),
            population=int(tables.population[index]) or None,
            distance_km=distance,
        )

    def _empty_country(self, country: int, lat: float, lon: float) -> Place:
        name, code = self._tables.country_names[country], self._tables.country_codes[country]
        return Place(country=name, country_code=code, point=Point(lat=lat, lon=lon), distance_km=0.0)

    def _cities_named(self, name: str) -> list[Place]:
        return [self._city(int(index)) for index in self._tables.named(name_key(name))]

    def _regions_named(self, name: str) -> list[Place]:
        regions = self._tables.regions_by_key.get(name_key(name), [])
        return [self._area(np.flatnonzero(self._tables.region == region), region) for region in regions]

    def _countries_named(self, name: str) -> list[Place]:
        codes = set(codes_by_key().get(name_key(name), ()))
        codes.update(code for code in [code_of(name.strip())] if code)
        codes.update(self._country_code_by_key.get(name_key(name), ()))
        known = self._numbers(sorted(codes.intersection(self._tables.country_codes)))
        inhabited = np.flatnonzero(np.isin(self._tables.country, known))
        countries = self._tables.country[inhabited]
        return [self._area(inhabited[countries == country]) for country in np.unique(countries)]

    @cached_property
    def _country_code_by_key(self) -> dict[str, list[str]]:
        pairs = zip(self._tables.country_names, self._tables.country_codes, strict=True)
        return {name_key(name): [code] for name, code in pairs}

    def _area(self, places: NDArray[np.int64], region: int | None = None) -> Place:
        """A region or a country as a place: at its town nearest to where its people live on average."""
        tables, people = self._tables, self._tables.population[places] + 1.0
        positions = tables.lat_lon_deg[places]
        middle = to_lat_lon_deg(people @ unit_vectors(positions))
        lat, lon = positions[distance_km(positions, middle).argmin()].tolist()
        country = int(tables.country[places[0]])
        return Place(
            country=tables.country_names[country],
            country_code=tables.country_codes[country],
            region=None if region is None else tables.region_names[region],
            point=Point(lat=lat, lon=lon),
            population=int(tables.population[places].sum()) or None,
        )
