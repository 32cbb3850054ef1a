"""The continent of each country, in GeoNames' division (its countryInfo table, CC BY 4.0).

Russia and Cyprus are in Europe, Turkey in Asia, Egypt in Africa, Timor-Leste and Christmas Island in Oceania.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from geo.point import Point

NOWHERE = "no country"

_CODES = {
    "Africa": "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW "
    "MZ NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
    "Antarctica": "AQ BV GS HM TF",
    "Asia": "AE AF AM AZ BD BH BN BT CC CN GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV MY "
    "NP OM PH PK PS QA SA SG SY TH TJ TM TR TW UZ VN YE",
    "Europe": "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV MC "
    "MD ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
    "North America": "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM "
    "PR SV SX TC TT US VC VG VI",
    "Oceania": "AS AU CK CX FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS",
    "South America": "AR BO BR CL CO EC FK GF GY PE PY SR UY VE",
}

CONTINENTS: Mapping[str, str] = MappingProxyType(
    {code: continent for continent, codes in _CODES.items() for code in codes.split()}
)
"""Continent by ISO 3166-1 alpha-2 code."""

CONTINENT_CENTRES: Mapping[str, Point] = MappingProxyType(
    {
        "Africa": Point(lat=2.0, lon=21.0),
        "Antarctica": Point(lat=-82.0, lon=34.0),
        "Asia": Point(lat=44.0, lon=88.0),
        "Europe": Point(lat=53.0, lon=26.0),
        "North America": Point(lat=45.0, lon=-101.0),
        "Oceania": Point(lat=-23.0, lon=140.0),
        "South America": Point(lat=-15.0, lon=-60.0),
    }
)
"""About the middle of each continent's land."""


def continent_of(country_code: str | None) -> str:
    """The continent of a country; `no country` for none (the open sea).

    >>> continent_of("EG"), continent_of("TL"), continent_of(None)
    ('Africa', 'Oceania', 'no country')

    Raises:
        KeyError: not a country code.
    """
    return CONTINENTS[country_code] if country_code else NOWHERE
