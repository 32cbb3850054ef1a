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

from agents.countries import countries_of_language
from agents.gazetteer_cues import CountryCue, CountryCueKind
from tools.results import Sign

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
FIRST_LANGUAGE, ABROAD, ENGLISH_ABROAD = 0.6, 0.01, 0.12
# Chance over all photos with text: English on most, any other on few.
WORLD_SHARE, WORLD_SHARE_ENGLISH = 0.03, 0.5
# Fewer letters than this do not tell a language; text of a sign repeats itself, so more letters count no further.
ENOUGH_LETTERS, MIN_LETTERS = 20, 5
MIN_SIGN_CONFIDENCE = 0.6

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
    # A few characters without kana may be either.
    "Han": ("zh", "ja"),
}


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
    """Weights of country cues: each kind counts once a country, shared cues are split, the sum is capped."""
    best: dict[tuple[str, CountryCueKind], float] = {}
    for cue in cues:
        for country in cue.countries:
            nats = max(0.0, CUE_NATS[cue.kind] - math.log(len(cue.countries)))
            best[country, cue.kind] = max(best.get((country, cue.kind), 0.0), nats)
    total: dict[str, float] = defaultdict(float)
    for (country, _), nats in best.items():
        total[country] = min(CUE_CAP_NATS, total[country] + nats)
    return CountryWeights(dict(total))


def language_weights(signs: Sequence[Sign]) -> CountryWeights:
    """Weights of the languages that signs are written in, in proportion to how much text was read."""
    letters = _letters_by_language(signs)
    read = math.fsum(letters.values())
    if read < MIN_LETTERS:
        return CountryWeights({})
    trust = min(1.0, read / ENOUGH_LETTERS)
    shares = {language: count / read for language, count in letters.items()}
    countries = {code for language in shares for code in countries_of_language().get(language, {})}
    nats = {code: trust * _language_nats(shares, code) for code in sorted(countries)}
    return CountryWeights(nats, trust * _language_nats(shares, None))


def _letters_by_language(signs: Sequence[Sign]) -> dict[str, float]:
    letters: dict[str, float] = defaultdict(float)
    for sign in signs:
        count = sum(c.isalpha() for c in sign.text)
        if sign.confidence < MIN_SIGN_CONFIDENCE or count < 2:
            continue
        for language in SCRIPT_LANGUAGES.get(sign.script, ()):
            # One such character says as much as a short Latin word.
            letters[language] += 4.0 * count / len(SCRIPT_LANGUAGES[sign.script])
        if sign.script not in SCRIPT_LANGUAGES and count >= MIN_LETTERS:
            for language, probability in sign.languages:
                letters[language] += count * probability
    return letters


def _language_nats(shares: Mapping[str, float], country: str | None) -> float:
    return math.fsum(share * _log_ratio(language, country) for language, share in shares.items())


def _log_ratio(language: str, country: str | None) -> float:
    """How much likelier a sign in this language is in the country than on a photo from anywhere."""
    english = language == "en"
    at_home = countries_of_language().get(language, {}).get(country or "", 0.0) * FIRST_LANGUAGE
    here = max(at_home, ENGLISH_ABROAD if english else ABROAD)
    return math.log(here / (WORLD_SHARE_ENGLISH if english else WORLD_SHARE))
