"""From text on signs to nats by country: languages, scripts, and other cues."""

from __future__ import annotations

import numpy as np
import pytest

from belief.witnesses.countries import CUE_CAP_NATS, CountryWeights, cue_weights, language_weights
from tools.results import Box, Sign
from tools.services.country_cues import CountryCue, CountryCueKind, country_cues
from tools.services.language_id import dominant_script, likely_languages

BOX = Box(left=0.1, top=0.1, right=0.5, bottom=0.2)


def read(*lines: str) -> CountryWeights:
    """What lines read on signs say about countries."""
    signs = [
        Sign(text=t, confidence=0.9, box=BOX, script=dominant_script(t), languages=likely_languages(t)) for t in lines
    ]
    return language_weights(signs, likely_languages(" ".join(lines)))


def unread(script: str, confidence: float = 0.72) -> Sign:
    return Sign(text="", confidence=confidence, box=BOX, script=script, languages=())


def test_a_script_that_could_not_be_read_points_to_where_it_is_written() -> None:
    thai = language_weights([unread("Thai")], ())
    assert thai.of("TH") > 0.5
    assert thai.of("DE") < 0.0
    cyrillic = language_weights([unread("Cyrillic")] * 2, (("en", 0.9),))
    assert cyrillic.of("BG") == cyrillic.of("RU") > 0.5
    assert cyrillic.of("KZ") > 0.0 > cyrillic.of("US")
    assert language_weights([unread("Thai", confidence=0.4)], ()).nats == {}
    assert language_weights([unread("Latin")], ()).nats == {}


def test_the_words_of_a_shared_script_say_more_than_the_script() -> None:
    bulgarian = dict(read("Добре дошли в нашия ресторант, всеки ден прясна храна и българско вино").nats)
    assert bulgarian["BG"] > 1.5 > bulgarian.get("RU", 0.0)
    short = dict(read("Аптека").nats)
    assert short["BG"] == short["RU"] > 0.5


def test_a_hypothesis_over_two_countries_is_supported_by_its_share() -> None:
    weights = CountryWeights({"CZ": np.log(9.0)})
    assert weights.mixed({"CZ": 0.5, "DE": 0.5}) == pytest.approx(np.log(5.0))
    assert weights.mixed({None: 1.0}) == 0.0


def test_kana_means_japan_and_a_few_ideographs_may_mean_either() -> None:
    japan = dict(read("ラーメンとうどんのみせ").nats)
    assert japan["JP"] > 2.0 > japan.get("CN", 0.0)
    either = dict(read("北京東路商店").nats)
    assert either["JP"] == pytest.approx(either["CN"])


def test_country_cues_are_capped_and_shared_ones_split() -> None:
    weights = cue_weights(country_cues(["www.a-shop.de +49 30 1234567 Deutschland", "+1 212 555 0123"]))
    assert weights.of("DE") == CUE_CAP_NATS
    assert weights.of("US") == pytest.approx(3.5 - np.log(2.0))
    twice = cue_weights([CountryCue(CountryCueKind.DOMAIN, t, ("DE",)) for t in ("www.a.de", "www.b.de")])
    assert twice.of("DE") == 3.5


def test_short_text_says_nothing_about_language() -> None:
    assert language_weights([], (("de", 0.9),)).nats == {}
    assert read("BAR", "KIND").nats == {}
