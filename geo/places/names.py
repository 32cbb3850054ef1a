"""Place names in one spelling, so that signs, gazetteers and people agree."""

from __future__ import annotations

import re
import unicodedata
from itertools import accumulate

# Letters that Unicode does not decompose, as most people type them.
_FOLDED = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ə": "e"})

_WORDS_AND_NUMBERS = re.compile(r"[^\W\d_]+|\d+")


def _is_accent(character: str) -> bool:
    """Accents and Arabic vowel signs; not the vowels of Indic and Thai script, nor Japanese voicing marks."""
    combining = unicodedata.combining(character)
    return combining >= 200 or 27 <= combining <= 35


def name_key(name: str) -> str:
    """A name without case, accents, punctuation and spaces; "" where nothing is left.

    >>> name_key("Saint-Étienne") == name_key("SAINT ETIENNE")
    True
    """
    decomposed = unicodedata.normalize("NFKD", name.casefold().translate(_FOLDED))
    bare = unicodedata.normalize("NFC", "".join(c for c in decomposed if not _is_accent(c)))
    return "".join(c for c in bare if c.isalnum() or unicodedata.category(c) in ("Mn", "Mc"))


def holds_name(text: str, name: str) -> bool:
    """Whether a text holds a name, as whole words in scripts with capitals, which part their words.

    >>> holds_name("Rua de SAINT-ETIENNE 7", "Saint-Étienne"), holds_name("Romania", "Roma")
    (True, False)
    """
    key = name_key(name)
    if not key:
        return False
    if not all(c.islower() or c.isdigit() for c in key):
        return key in name_key(text)
    words = [name_key(word) for word in _WORDS_AND_NUMBERS.findall(text)]
    text_key, borders = "".join(words), {0, *accumulate(map(len, words))}
    return any(text_key.startswith(key, start) and start + len(key) in borders for start in borders)
