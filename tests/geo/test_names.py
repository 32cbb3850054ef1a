import pytest

from geo.places.country_names import code_of, codes_by_key
from geo.places.names import holds_name, name_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Saint-Étienne", "SAINT ETIENNE"),
        ("L’Aquila", "l'aquila"),
        ("Łódź", "Lodz"),
        ("Straße", "STRASSE"),
        ("Αθήνα", "ΑΘΗΝΑ"),
        ("Ｔｏｋｙｏ", "tokyo"),
        ("Tromsø", "Tromso"),
    ],
)
def test_one_key(one, other):
    assert name_key(one) == name_key(other) != ""


@pytest.mark.parametrize(("one", "other"), [("ガ", "カ"), ("คู", "คี"), ("कु", "कि"), ("Bern", "Berne")])
def test_letters_that_matter_are_kept(one, other):
    assert name_key(one) != name_key(other)


def test_nothing_is_left_of_punctuation():
    assert name_key(" -?! ") == ""


@pytest.mark.parametrize(
    ("name", "code"),
    [("Deutschland", "DE"), ("日本", "JP"), ("Россия", "RU"), ("Viet Nam", "VN"), ("Иран", "IR"), ("대한민국", "KR")],
)
def test_countries_in_their_languages(name, code):
    assert codes_by_key()[name_key(name)] == {code}


def test_a_catalogues_slip_is_outvoted():
    """One of pycountry's catalogues translates Malaysia as Mexico."""
    assert codes_by_key()["mexico"] == {"MX"}


def test_codes_are_capitals():
    assert (code_of("NZ"), code_of("JPN"), code_of("UK")) == ("NZ", "JP", "GB")
    assert (code_of("in"), code_of("QQ"), code_of("FRANCE")) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "name", "held"),
    [
        ("Rua de Lisboa25", "Lisboa", True),
        ("ST. ETIENNE", "St-Étienne", True),
        ("New York City", "new york", True),
        ("Bucuresti - Romania", "Roma", False),
        ("Barclays Bank", "Bar", False),
        ("東京都庁前", "東京", True),
        ("서울에서", "서울", True),
        ("Praha 7", "Praha 7", True),
        ("Praha", "!?", False),
        ("", "Praha", False),
    ],
)
def test_a_name_is_held_as_whole_words_or_anywhere_without_them(text: str, name: str, held: bool) -> None:
    assert holds_name(text, name) is held
