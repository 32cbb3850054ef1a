"""From text on signs to how much likelier each country becomes, in nats.

0 means: as likely as a photo from anywhere to carry this text. The numbers are
rounded odds, set by hand from how often such signs stand abroad (Chinatowns,
embassies, "Indian restaurant", tourist menus in English), not fitted.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from geo.places.country_facts import countries_of_language
from tools.results import Sign
from tools.services.country_cues import CountryCue, CountryCueKind

CUE_NATS: Mapping[CountryCueKind, float] = {
    CountryCueKind.DOMAIN: 3.5,
    CountryCueKind.PHONE: 3.5,
    CountryCueKind.POSTAL: 2.5,
    CountryCueKind.CURRENCY: 2.0,
    CountryCueKind.NAME: 1.0,
}
"""How much likelier a country is when a sign shows its cue."""

CUE_CAP_NATS = 4.5

# Chance that a sign is in a language: where it is the first language, a second one, and where it is neither.
FIRST_LANGUAGE, ABROAD, ENGLISH_ABROAD = 0.6, 0.02, 0.12
# Chance over all photos with text: English on most, any other on few.
WORLD_SHARE, WORLD_SHARE_ENGLISH = 0.04, 0.4
# Short and misread text is taken for the wrong language more often than not.
MIN_LETTERS, ENOUGH_LETTERS = 12, 60
MIN_LANGUAGE_PROBABILITY = 0.5
# A character of these scripts says as much as several Latin letters, but texture is misread as one or two of them.
MIN_DISTINCT_CHARACTERS, ENOUGH_CHARACTERS = 3, 12
MIN_SIGN_CONFIDENCE = 0.6
MIN_SCRIPT_CONFIDENCE = 0.75
LAST_LATIN_CODE = 0x24F

# Scripts that tell the language better than its words do; all others are judged by their words.
SCRIPT_LANGUAGES: Mapping[str, tuple[str, ...]] = {
    "Hiragana": ("ja",),
    "Katakana": ("ja",),
    "Hangul": ("ko",),
    "Thai": ("th",),
    "Greek": ("el",),
    "Hebrew": ("he",),
    "Georgian": ("ka",),
    "Armenian": ("hy",),
    "Bengali": ("bn",),
    "Tamil": ("ta",),
    "Telugu": ("te",),
    "Kannada": ("kn",),
    "Malayalam": ("ml",),
    "Gujarati": ("gu",),
    "Gurmukhi": ("pa",),
    "Sinhala": ("si",),
    "Khmer": ("km",),
    "Lao": ("lo",),
    "Myanmar": ("my",),
    "Ethiopic": ("am",),
    # A few characters without kana may be either.
    "Han": ("zh", "ja"),
}

# Scripts of several languages: the script alone speaks for all of them, unless the words tell which one it is.
SHARED_SCRIPT_LANGUAGES: Mapping[str, tuple[str, ...]] = {
    "Cyrillic": ("ru", "uk", "bg", "be", "sr", "mk", "kk", "ky", "mn"),
    "Arabic": ("ar", "fa", "ur", "ps", "ku"),
    "Devanagari": ("hi", "ne", "mr"),
}
UNREAD_LINE_CHARACTERS = 4
"""A line of which only the script could be told counts as so many characters."""


class CountryWeights(NamedTuple):
    """Nats by country code, and for every country not named."""

    nats: Mapping[str, float]
    others: float = 0.0

    def of(self, country_code: str | None) -> float:
        """Nats of one country; of an unknown one (at sea), the others'."""
        return self.nats.get(country_code, self.others) if country_code else self.others

    def mixed(self, shares: Mapping[str | None, float]) -> float:
        """Nats of an area that lies in several countries by the given shares, which sum to 1."""
        return math.log(math.fsum(share * math.exp(self.of(code)) for code, share in shares.items()))


def cue_weights(cues: Iterable[CountryCue]) -> CountryWeights:
    """Weights of country cues: each kind counts once a country, shared cues are split, the sum is capped.

    A telephone code that two countries share, and a domain of one of them:

    >>> phone = CountryCue(kind=CountryCueKind.PHONE, text="+1", countries=("US", "CA"))
    >>> domain = CountryCue(kind=CountryCueKind.DOMAIN, text=".ca", countries=("CA",))
    >>> {code: round(nats, 2) for code, nats in cue_weights([phone, domain]).nats.items()}
    {'US': 2.81, 'CA': 4.5}
    """
    best: dict[tuple[str, CountryCueKind], float] = {}
    for cue in cues:
        for country in cue.countries:
            nats = max(0.0, CUE_NATS[cue.kind] - math.log(len(cue.countries)))
            best[country, cue.kind] = max(best.get((country, cue.kind), 0.0), nats)
    total: dict[str, float] = defaultdict(float)
    for (country, _), nats in best.items():
        total[country] = min(CUE_CAP_NATS, total[country] + nats)
    return CountryWeights(dict(total))


def language_weights(signs: Sequence[Sign], languages: Sequence[tuple[str, float]]) -> CountryWeights:
    """Weights of the language that signs are written in, in proportion to how much text was read.

    Args:
        signs: the lines read.
        languages: of all lines together, most likely first.
    """
    shares, trust = _by_script(signs, languages) or _by_words(signs, languages) or ({}, 0.0)
    countries = {code for either in shares for each in either for code in countries_of_language().get(each, {})}
    nats = {code: trust * _language_nats(shares, code) for code in sorted(countries)}
    return CountryWeights(nats, trust * _language_nats(shares, None))


def stated_language_weights(languages: Sequence[str]) -> CountryWeights:
    """Weights of writing that a person says to be in one of some languages.

    >>> weights = stated_language_weights(["cs"])
    >>> weights.of("CZ") > 2.0 > 0.0 > weights.of("FR")
    True
    """
    either = tuple(languages)
    countries = {code for language in languages for code in countries_of_language().get(language, {})}
    return CountryWeights({code: _log_ratio(either, code) for code in countries}, _log_ratio(either, None))


def _by_script(
    signs: Sequence[Sign], languages: Sequence[tuple[str, float]]
) -> tuple[dict[tuple[str, ...], float], float] | None:
    """Languages that scripts give away ("either of these", with its share), and how far to trust that."""
    characters: dict[tuple[str, ...], float] = defaultdict(float)
    distinct: set[str] = set()
    for sign in signs:
        alternatives = _languages_of_script(sign.script, languages)
        if alternatives and sign.confidence >= (MIN_SCRIPT_CONFIDENCE if sign.text else MIN_SIGN_CONFIDENCE):
            own = [c for c in sign.text if ord(c) > LAST_LATIN_CODE and c.isalpha()] or _unread(sign)
            distinct.update(own)
            for either in alternatives:
                characters[either] += len(own) / len(alternatives)
    if len(distinct) < MIN_DISTINCT_CHARACTERS:
        return None
    total = math.fsum(characters.values())
    return {either: n / total for either, n in characters.items()}, min(1.0, len(distinct) / ENOUGH_CHARACTERS)


def _languages_of_script(script: str, languages: Sequence[tuple[str, float]]) -> list[tuple[str, ...]]:
    """What a script says: one language, several by equal shares, or any one of those that share it."""
    shared = SHARED_SCRIPT_LANGUAGES.get(script, ())
    words_tell = any(code in shared and probability >= MIN_LANGUAGE_PROBABILITY for code, probability in languages[:1])
    own: list[tuple[str, ...]] = [(code,) for code in SCRIPT_LANGUAGES.get(script, ())]
    return own or ([shared] if shared and not words_tell else [])


def _unread(sign: Sign) -> list[str]:
    return [] if sign.text else [f"{sign.script} {n}" for n in range(UNREAD_LINE_CHARACTERS)]


def _by_words(
    signs: Sequence[Sign], languages: Sequence[tuple[str, float]]
) -> tuple[dict[tuple[str, ...], float], float] | None:
    """The language of all the words together, and how far to trust that."""
    letters = sum(c.isalpha() for sign in signs for c in sign.text if sign.confidence >= MIN_SIGN_CONFIDENCE)
    if letters < MIN_LETTERS or not languages or languages[0][1] < MIN_LANGUAGE_PROBABILITY:
        return None
    language, probability = languages[0]
    return {(language,): 1.0}, probability * min(1.0, letters / ENOUGH_LETTERS)


def _language_nats(shares: Mapping[tuple[str, ...], float], country: str | None) -> float:
    return math.fsum(share * _log_ratio(either, country) for either, share in shares.items())


def _log_ratio(either: tuple[str, ...], country: str | None) -> float:
    """How much likelier a sign in one of these languages is in the country than on a photo from anywhere."""
    english = either == ("en",)
    spoken = max(countries_of_language().get(language, {}).get(country or "", 0.0) for language in either)
    here = max(spoken * FIRST_LANGUAGE, ENGLISH_ABROAD if english else ABROAD)
    return math.log(here / (WORLD_SHARE_ENGLISH if english else WORLD_SHARE))
