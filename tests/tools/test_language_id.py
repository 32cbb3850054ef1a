"""Scripts and languages of short texts, by the bundled model."""

from __future__ import annotations

import pytest

from tools.services.language_id import dominant_script, likely_languages


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Boulangerie 24", "Latin"),
        ("улица Ленина", "Cyrillic"),
        ("北京大学", "Han"),
        ("新宿駅の", "Hiragana"),
        ("ラーメン横丁", "Katakana"),
        ("서울역", "Hangul"),
        ("ΑΘΗΝΑ", "Greek"),
        ("กรุงเทพ", "Thai"),
        ("القاهرة", "Arabic"),
        ("12-34 +", "Common"),
        ("", "Common"),
    ],
)
def test_dominant_script(text: str, script: str) -> None:
    assert dominant_script(text) == script


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Ausfahrt freihalten", "de"),
        ("ARTYKUŁY PAPIERNICZE SPRZEDAŻ", "pl"),
        ("défense d'afficher loi du 29 juillet", "fr"),
        ("東京へようこそ", "ja"),
        ("서울특별시", "ko"),
    ],
)
def test_likely_languages(text: str, language: str) -> None:
    found = likely_languages(text)
    assert found[0][0] == language
    assert all(0.05 <= probability <= 1.0 for _, probability in found)


def test_too_few_letters_say_nothing() -> None:
    assert likely_languages("BAR 1234567890") == ()
    assert likely_languages("上") == ()


def test_latin_letters_are_never_japanese() -> None:
    assert "ja" not in dict(likely_languages("BACDAD CAFE"))
    assert likely_languages("THE BAGDAD CAFE IS OPEN TODAY")[0][0] == "en"
