"""The gazetteer's tables: GeoNames places as columns, made by `geo.places.build`."""

from __future__ import annotations

from bisect import bisect_left
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import OSA

from geo.places.names import name_key
from geo.sphere import Floats

TABLES = Path(__file__).parents[1] / "data" / "places.npz"


class PlaceTables:
    """Columns of n places, each read from disk when first asked for."""

    def __init__(self) -> None:
        # The archive stays open: its members are unpacked one by one, on first use.
        self._archive = np.load(TABLES, allow_pickle=False)

    @cached_property
    def lat_lon_deg(self) -> Floats:
        """Positions (n, 2) in degrees, latitude first."""
        return np.stack([self._archive["lat_e5"], self._archive["lon_e5"]], axis=1) / 1e5

    @cached_property
    def population(self) -> NDArray[np.int64]:
        """People (n,); 0 where GeoNames does not know."""
        return self._column("population")

    @cached_property
    def geoname_id(self) -> NDArray[np.int64]:
        """GeoNames' own numbers (n,)."""
        return self._column("geoname_id")

    @cached_property
    def country(self) -> NDArray[np.int64]:
        """Index (n,) into `country_codes` and `country_names`."""
        return self._column("country")

    @cached_property
    def region(self) -> NDArray[np.int64]:
        """Index (n,) into `region_names`; 0 is no known region."""
        return self._column("region")

    @cached_property
    def names(self) -> list[str]:
        """Names (n) as GeoNames writes them."""
        return self._lines("names")

    @cached_property
    def region_names(self) -> list[str]:
        """Names of first-level divisions, the first one empty."""
        return self._lines("region_names")

    @cached_property
    def country_codes(self) -> list[str]:
        """ISO 3166-1 alpha-2 codes, and XK for Kosovo, in alphabetical order."""
        return self._lines("country_codes")

    @cached_property
    def country_names(self) -> list[str]:
        """English names of `country_codes`."""
        return self._lines("country_names")

    @cached_property
    def zone_countries(self) -> dict[str, list[str]]:
        """Time zone -> codes of the countries it covers."""
        return {zone: codes.split() for zone, _, codes in (line.partition(" ") for line in self._lines("zones"))}

    def _column(self, name: str) -> NDArray[np.int64]:
        return np.asarray(self._archive[name], dtype=np.int64)

    def _lines(self, name: str) -> list[str]:
        return bytes(self._archive[name]).decode().split("\n")

    def named(self, key: str) -> NDArray[np.int64]:
        """Places (k,) with a spelling of this key (see `geo.places.names.name_key`), ascending."""
        blob, starts = self._spellings
        wanted = key.encode()
        low, high = self._first_not_below(wanted), self._first_not_below(wanted + b"\n")
        if not wanted or blob[starts[low] : starts[low] + len(wanted) + 1] != wanted + b"\n":
            return np.zeros(0, np.int64)
        return np.unique(self._key_places[low:high])

    @cached_property
    def _spellings(self) -> tuple[bytes, NDArray[np.int64]]:
        """Sorted keys, each ended by a newline, and where each starts (and, last, where all end)."""
        blob = self._archive["keys"].tobytes() + b"\n"
        ends = np.flatnonzero(np.frombuffer(blob, np.uint8) == ord("\n")) + 1
        return blob, np.concatenate([[0], ends])

    def similar_keys(self, key: str, min_similarity: float, limit: int) -> list[tuple[str, float]]:
        """Spellings' keys that differ from a key by a few letters, with their similarity, 0 to 1, the best first.

        Similarity is one less the share of letters inserted, left out, changed or swapped with a neighbour (optimal
        string alignment). All spellings of about its length are compared, which takes about half a second.
        """
        blob, starts = self._spellings
        wanted, lengths = key.encode(), np.diff(starts) - 1
        most = int(len(wanted) / min_similarity) - len(wanted) + 1
        rows = np.flatnonzero(np.abs(lengths - len(wanted)) <= most)
        spans = zip(starts[rows].tolist(), (starts[rows + 1] - 1).tolist(), strict=True)
        choices = [spelling.decode() for spelling in dict.fromkeys(blob[start:end] for start, end in spans)]
        found = process.extract(
            key, choices, scorer=OSA.normalized_similarity, score_cutoff=min_similarity, limit=limit
        )
        return [(spelling, round(similarity, 3)) for spelling, similarity, _ in found]

    @cached_property
    def _key_places(self) -> NDArray[np.int64]:
        return self._column("key_places")

    def _first_not_below(self, wanted: bytes) -> int:
        """Bisection over the blob of keys: no list of 700,000 strings is ever made."""
        blob, starts = self._spellings
        return bisect_left(range(len(starts) - 1), wanted, key=lambda row: blob[starts[row] : starts[row + 1] - 1])

    @cached_property
    def regions_by_key(self) -> dict[str, list[int]]:
        """Key of a region's name -> indices into `region_names`."""
        found: dict[str, list[int]] = {}
        for index, name in enumerate(self.region_names):
            found.setdefault(name_key(name), []).append(index)
        found.pop("", None)
        return found
