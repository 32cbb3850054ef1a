"""Names of countries in every language of ISO 3166-1 as `pycountry` carries it (Debian iso-codes)."""

from __future__ import annotations

import gettext
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pycountry

from geo.places.names import name_key

_CATALOGUE = "LC_MESSAGES/iso3166-1.mo"

# The catalogues only know the "Russian Federation", and Kosovo has no ISO code of its own.
_ALSO = {
    "RU": (
        "Russia",
        "Россия",
        "Росія",
        "Расія",
        "Rusia",
        "Russie",
        "Russland",
        "Rússia",
        "Rusya",
        "ロシア",
        "俄罗斯",
        "러시아",
    ),
    "XK": ("Kosovo", "Kosova", "Косово"),
    "GB": ("Great Britain", "Britain"),
    "US": ("USA", "America"),
}


def _english_names() -> Iterator[tuple[str, str]]:
    """(ISO 3166-1 alpha-2 code, name) of every country: short, official and common."""
    for country in pycountry.countries:
        for field in ("name", "official_name", "common_name"):
            if name := getattr(country, field, None):
                yield country.alpha_2, name


def _translations() -> dict[str, Counter[str]]:
    """Name as written -> how many catalogues give it to which country."""
    english = list(_english_names())
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for path in sorted(Path(pycountry.LOCALES_DIR).glob(f"*/{_CATALOGUE}")):
        with path.open("rb") as catalogue:
            translate = gettext.GNUTranslations(catalogue).gettext
        for code, name in english:
            votes[translate(name)][code] += 1
    return votes


@cache
def codes_by_key() -> dict[str, frozenset[str]]:
    """The key (see `geo.places.names.name_key`) of every known country name -> the codes of the countries it means.

    The catalogues contradict each other here and there (one has "Mexico" for Malaysia): a country that has less
    than half as many votes for a name as another one is left out.

    >>> sorted(codes_by_key()[name_key("Côte d'Ivoire")]), sorted(codes_by_key()[name_key("Deutschland")])
    (['CI'], ['DE'])
    """
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for name, codes in _translations().items():
        # "Iran, Islamic Republic of" is written "Iran".
        for key in {name_key(name), name_key(name.split(",")[0].split("(")[0])} - {""}:
            votes[key].update(codes)
    for code, names in _ALSO.items():
        votes |= {name_key(name): Counter({code: 1}) for name in names}
    return {
        key: frozenset(code for code, n in codes.items() if 2 * n >= max(codes.values()))
        for key, codes in votes.items()
    }


def code_of(abbreviation: str) -> str | None:
    """The alpha-2 code that an ISO 3166-1 code of two or three capitals (or UK) stands for, or None.

    >>> code_of("DEU"), code_of("UK"), code_of("de")
    ('DE', 'GB', None)
    """
    if not (abbreviation.isascii() and abbreviation.isupper() and len(abbreviation) in (2, 3)):
        return None
    if abbreviation == "UK":
        return "GB"
    short = len(abbreviation) == 2
    known = pycountry.countries.get(alpha_2=abbreviation) if short else pycountry.countries.get(alpha_3=abbreviation)
    return known.alpha_2 if known else None
