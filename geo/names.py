"""Place names in one spelling, so that signs, gazetteers and people agree."""

from __future__ import annotations

import unicodedata

# Letters that Unicode does not decompose, as most people type them.
_FOLDED = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ə": "e"})


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
