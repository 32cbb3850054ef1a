"""Replies as real models write them become a position, a refusal or nothing that can be used: never a guess."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agents.structured_output.coordinates import LatLon, pair_from_values, parse_angle
from agents.structured_output.json_repair import find_objects
from agents.structured_output.position import MAX_TEXT_CHARACTERS, ReplyStatus, parse_position

TOWER, OPERA = (48.8584, 2.2945), (-33.8568, 151.2153)

READABLE = [
    # JSON, plain and as models wrap it
    ('{"lat": 48.8584, "lon": 2.2945}', TOWER),
    ('```json\n{"latitude": "48.8584", "longitude": "2.2945"}\n```', TOWER),
    ('Sure! Here:\n```\n{"latitude": 48.8584,\n "longitude": 2.2945,}\n```\nHope this helps.', TOWER),
    ('{"Latitude": 48.8584, "Longitude": 2.2945}', TOWER),
    ("{'lat': 48.8584, 'lon': 2.2945, 'name': None}", TOWER),
    ("{lat: 48.8584, lon: 2.2945}", TOWER),
    ('{"lat": 48.8584 /* the tower */, "lon": 2.2945}', TOWER),
    ('{"rationale": "because, {of} this", "latitude": "48.8584", "longitude": "2.2945"}', TOWER),
    ('{"rationale": "he said "hello" to me", "latitude": "48.8584", "longitude": "2.2945"}', TOWER),
    ('{"rationale":"x\\nlatitude: \\"48.8584\\",\\nlongitude: \\"2.2945\\"","city":"Paris"}', TOWER),
    # positions of other shapes
    ('{"coordinates": [48.8584, 2.2945]}', TOWER),
    ('{"coordinates": "48.8584, 2.2945"}', TOWER),
    ('{"lat_lon": "48.8584,2.2945"}', TOWER),
    ('{"type": "Point", "coordinates": [2.2945, 48.8584]}', TOWER),
    ('{"location": {"lat": 48.8584, "lng": 2.2945}}', TOWER),
    ('{"answer": {"coordinates": {"latitude": 48.8584, "longitude": 2.2945}}}', TOWER),
    ('[{"lat": 48.8584, "lon": 2.2945}, {"lat": 1.5, "lon": 2.5}]', TOWER),
    ('{"hypotheses": [{"lat": 48.8584, "lon": 2.2945}, {"lat": 1.5, "lon": 2.5}]}', TOWER),
    ('{"lat": 1.0, "lon": 2.0}\nOn reflection:\n{"lat": 48.8584, "lon": 2.2945}', TOWER),
    # several in prose, with a sign of which is the likeliest
    ("Sydney (-33.8568, 151.2153) 30%, or Paris (48.8584, 2.2945) 60%, or Lyon (45.7600, 4.8400) 10 %.", TOWER),
    ("- 30%: -33.8568, 151.2153\n- 60 %: 48.8584, 2.2945", TOWER),
    ("It could be Sydney (-33.8568, 151.2153). Most likely it is Paris (48.8584, 2.2945).", TOWER),
    # cut off behind the position
    ('{"latitude": "-33.8568", "longitude": "151.2153", "reasoning": "The oper', OPERA),
    ('{"rationale": "a, b", "latitude": "-33.8568", "longitude": "151.2153", "nei', OPERA),
    # hemispheres, degrees-minutes-seconds, decimal commas, typographic signs
    ('{"latitude": "33.8568 S", "longitude": "151.2153 E"}', OPERA),
    ('{"latitude": "-33.8568° S", "longitude": "151.2153° E"}', OPERA),
    ('{"latitude": "33°51\'24.48\\"S", "longitude": "151°12\'55.08\\"E"}', OPERA),
    ("33°51'24.48\"S 151°12'55.08\"E", OPERA),
    ("33°51′24.48″S, 151°12′55.08″E", OPERA),
    ("33 51 24.48 S, 151 12 55.08 E", OPERA),
    ("33°51.408'S 151°12.918'E", OPERA),
    ("48 degrees 51 minutes 30.24 seconds North, 2 degrees 17 minutes 40.2 seconds East", TOWER),
    ("N 48° 51.504' E 2° 17.67'", TOWER),
    ("N48.8584 E2.2945", TOWER),
    ('{"latitude": "48,8584", "longitude": "2,2945"}', TOWER),
    ('{"latitude": −33.8568, "longitude": 151.2153}', OPERA),
    # exchanged, where nothing else is possible
    ('{"latitude": 151.2153, "longitude": -33.8568}', OPERA),
    ('{"latitude": "151.2153 E", "longitude": "33.8568 S"}', OPERA),
    ('{"latitude": "2.2945 E", "longitude": "48.8584 N"}', TOWER),
    # prose
    ("(48.8584, 2.2945)", TOWER),
    ("48.8584 2.2945", TOWER),
    ("Latitude: 48.8584\nLongitude: 2.2945", TOWER),
    ("**Latitude:** 48.8584°\n**Longitude:** 2.2945°", TOWER),
    ("latitude is 48.8584 and longitude is 2.2945", TOWER),
    ("lat=48.8584, lon=2.2945", TOWER),
    ("The coordinates are approximately 48.8584, 2.2945, I think.", TOWER),
    ("It was taken at 33.8568° S, 151.2153° E (Sydney).", OPERA),
    ("Je pense: 48,8584 ; 2,2945", TOWER),
    ("https://www.google.com/maps/@48.8584,2.2945,15z", TOWER),
    ("First I thought 45.7640, 4.8357 but no. Final answer: 48.8584, 2.2945", TOWER),
    ("I'm sorry, I cannot be sure, but my best guess: 48.8584, 2.2945", TOWER),
    # an honest zero is a place in the Gulf of Guinea
    ("0, 0", (0.0, 0.0)),
    ('{"lat": 0, "lon": 0}', (0.0, 0.0)),
    ('{"latitude": "0.0", "longitude": "0.0"}', (0.0, 0.0)),
    ('{"lat": 90, "lon": -180}', (90.0, -180.0)),
]

UNREADABLE = [
    "",
    "  \n ",
    "{}",
    "[]",
    "null",
    "Somewhere in Paris.",
    # placeholders echoed, and no values
    '{"lat": null, "lon": null}',
    '{"latitude": "<latitude>", "longitude": "<longitude>"}',
    '{"lat": "LAT", "lon": "$lon"}',
    '{"lat": "...", "lon": "..."}',
    '{"lat": "unknown", "lon": "unknown"}',
    "latitude: ..., longitude: ...",
    '{"lat": 48.8584}',
    '{"lat": true, "lon": false}',
    '{"lat": NaN, "lon": 2.0}',
    '{"lat": Infinity, "lon": 2.0}',
    '{"lat": [48.8], "lon": [2.2]}',
    # out of range, contradictory, ambiguous
    '{"lat": 95.0, "lon": 200.0}',
    '{"lat": 10.0, "lon": 200.0}',
    '{"latitude": "12.5 E", "longitude": "24.45 E"}',
    '{"latitude": "-33.86 N", "longitude": "151.2 E"}',
    "60° 75' N, 5° E",
    "Either 48.8584, 2.2945 or 45.7640, 4.8357.",
    "between latitude 40 and 45 and longitude 2 and 5",
    '{"latitude": "between 40 and 45", "longitude": "2 to 5"}',
    # cut off inside a number: half a number would be another number
    '{"latitude": "33.8", "longitude": "151.2',
    '{"latitude": 33.8568, "longitude": 15',
    '{"latitude": "33.8", "longitude": 151.2153',
    '{"rationale": "The commonly cited coordinates are latitude -33.8732, longitude 1',
    # other numbers
    "The photo was taken in 1999, 2000 or 2001.",
    "The building has 102 floors, and 73 elevators",
    "1, 2, 3",
    "12/05/2019",
    "10:30, 11:45",
]

REFUSALS = [
    "I’m sorry, but I can’t help with that.",
    "I'm sorry, but I can't comply with that.",
    "I cannot assist with identifying the location of private individuals.",
    "I'm not able to determine where this photo was taken.",
    "I'm sorry, but I don't know.",
    "Sorry, this is against our guidelines.",
    "I must decline to answer.",
    "As an AI language model, I am unable to view this.",
    "The image does not provide enough information to determine the location.",
    "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "Désolé, je ne peux pas déterminer le lieu de cette photo.",
    "Lo siento, no puedo ayudar con eso.",
    "Desculpe, mas não posso ajudar com isso.",
    "Mi dispiace, ma non posso aiutarti.",
    "Przepraszam, ale nie mogę w tym pomóc.",
    "Извините, я не могу помочь с этим.",
    "抱歉，我无法确定这张照片的拍摄地点。",
    "申し訳ありませんが、お答えできません。",
    "죄송하지만 도와드릴 수 없습니다.",
]


@pytest.mark.parametrize(("text", "expected"), READABLE)
def test_a_position_is_read(text: str, expected: tuple[float, float]) -> None:
    read = parse_position(text)
    assert read.status is ReplyStatus.OK, read.problem
    assert (read.place["lat"], read.place["lon"]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_says_no_position_is_unparsable_and_says_why(text: str) -> None:
    read = parse_position(text)
    assert (read.status, dict(read.place)) == (ReplyStatus.UNPARSABLE, {})
    assert read.problem


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_a_refusal_in_any_language(text: str) -> None:
    assert parse_position(text).status is ReplyStatus.REFUSED


def test_fields_beside_the_position_are_read() -> None:
    place = parse_position(
        '{"country": "France", "city": "Paris", "landmark": "Eiffel Tower", "latitude": 48.8584,'
        ' "longitude": 2.2945, "confidence": "80%", "reasoning": "iron"}'
    ).place
    assert (place["name"], place["confidence"], place["why"]) == ("Eiffel Tower, Paris, France", 0.8, "iron")


@pytest.mark.parametrize(("said", "meant"), [("0.7", 0.7), (70, 0.7), ("high", None), (-1, None), (170, None)])
def test_confidence_is_a_fraction_or_nothing(said: object, meant: float | None) -> None:
    read = parse_position(json.dumps({"lat": 1.5, "lon": 2.5, "confidence": said}))
    assert read.status is ReplyStatus.OK
    assert read.place.get("confidence") == meant


def test_a_place_without_a_position_is_kept_by_its_name() -> None:
    read = parse_position('{"country": "Chile", "city": "Valparaíso", "neighborhood": "unknown", "region": "<region>"}')
    assert (read.status, read.place) == (ReplyStatus.UNPARSABLE, {"name": "Valparaíso, Chile"})


def test_hostile_replies_are_read_in_no_time() -> None:
    for text in (
        "x" * (MAX_TEXT_CHARACTERS + 1),
        '{"a":' * 15_000,
        "[" * 90_000,
        '{"lat": "' + "1" * 90_000,
        "1, " * 30_000,
    ):
        assert parse_position(text).status is ReplyStatus.UNPARSABLE


# --- properties

LATS = st.floats(-90, 90).map(lambda value: round(value, 6))
LONS = st.floats(-180, 180).map(lambda value: round(value, 6))


@given(st.text())
def test_any_text_has_a_status_and_no_position_from_nowhere(text: str) -> None:
    read = parse_position(text)
    assert ("lat" in read.place) == (read.status is ReplyStatus.OK)
    if read.place:
        assert any(char.isdigit() for char in text)


@given(LATS, LONS, st.text(alphabet="abc {}[]\",:\\\n'", max_size=60))
def test_json_of_a_position_is_read_whatever_prose_its_reason_holds(lat: float, lon: float, reason: str) -> None:
    for text in (json.dumps({"reasoning": reason, "lat": lat, "lon": lon}), json.dumps({"lat": str(lat), "lon": lon})):
        place = parse_position(f"Here you are:\n```json\n{text}\n```").place
        assert (place["lat"], place["lon"]) == (lat, lon)


@given(LATS, LONS, st.integers(0, 200))
@example(0.0, 6.1e-05, 48)
def test_a_reply_cut_off_anywhere_gives_the_position_or_nothing(lat: float, lon: float, length: int) -> None:
    whole = json.dumps({"city": "x", "latitude": lat, "longitude": lon, "reasoning": "because of the roofs, and so on"})
    place = parse_position(whole[:length]).place
    assert "lat" not in place or (place["lat"], place["lon"]) == (lat, lon)


@given(st.floats(-89.9, 89.9), st.floats(-179.9, 179.9))
def test_degrees_minutes_and_seconds_are_the_same_place(lat: float, lon: float) -> None:
    place = parse_position(f"{_dms(lat, 'NS')}, {_dms(lon, 'EW')}").place
    assert (place["lat"], place["lon"]) == pytest.approx((lat, lon), abs=1e-4)


def _dms(degrees: float, letters: str) -> str:
    minutes, seconds = divmod(round(abs(degrees) * 3600, 2), 60)
    whole, minutes = divmod(int(minutes), 60)
    return f"{whole}°{minutes}'{seconds:.2f}\"{letters[degrees < 0]}"


@given(st.floats(allow_nan=True), st.floats(allow_nan=True))
def test_no_pair_of_numbers_becomes_a_position_out_of_range(first: float, second: float) -> None:
    pair = pair_from_values(first, second)
    if isinstance(pair, LatLon):
        assert abs(pair.lat) <= 90.0
        assert abs(pair.lon) <= 180.0
        assert sorted(map(abs, pair)) == sorted(map(abs, (first, second)))


@given(LATS, LONS)
def test_a_pair_within_range_is_never_exchanged(lat: float, lon: float) -> None:
    assert pair_from_values(lat, lon) == LatLon(lat, lon)


@pytest.mark.parametrize("value", [True, None, math.nan, "12 apples", "1e2", "48.85.84", "4858 N", "N 12 S", [], {}])
def test_what_is_no_angle_is_none(value: object) -> None:
    assert parse_angle(value) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    )
)
def test_json_objects_are_found_as_they_are(value: object) -> None:
    found = find_objects(f"so: {json.dumps(value)} .")
    assert not isinstance(value, dict) or found == [value]


LISTED = [
    # a list under any name, alone, or behind prose; radius and confidence in the forms that models write
    '{"hypotheses": [{"lat": 1.5, "lon": 2.5, "radius_km": 30, "confidence": 0.2},'
    ' {"lat": 48.8584, "lon": 2.2945, "radius_km": 0.5, "confidence": 0.7}]}',
    'Places:\n```json\n[{"lat": 1.5, "lon": 2.5, "radius_km": "30 km", "confidence": "20%"},'
    ' {"latitude": "48.8584", "longitude": "2.2945", "radius_km": 0.5, "confidence": 70}]\n```',
    '{"analysis": {"candidates": [{"coordinates": [1.5, 2.5], "radius_km": 30.0, "confidence": 0.2},'
    ' {"coordinates": "48.8584, 2.2945", "radius_km": "0.5", "confidence": 0.7}]}}',
]


@pytest.mark.parametrize("text", LISTED)
def test_a_list_of_places_is_read_whole_and_its_most_confident_is_the_place(text: str) -> None:
    reply = parse_position(text)
    read = [(place["lat"], place["lon"], place["radius_km"], place["confidence"]) for place in reply.places]
    assert read == [(1.5, 2.5, 30.0, 0.2), (48.8584, 2.2945, 0.5, 0.7)]
    assert reply.place == reply.places[1]


def test_of_a_list_without_confidences_the_first_is_the_place_and_names_are_kept() -> None:
    text = '{"places": [{"city": "Porto", "confidence": 0.9}, {"lat": 1.5, "lon": 2.5}, {"lat": 3.5, "lon": 4.5}]}'
    reply = parse_position(text)
    assert reply.status is ReplyStatus.OK
    assert (reply.place["lat"], reply.place["lon"]) == (1.5, 2.5)
    assert [place.get("name") for place in reply.places] == ["Porto", None, None]


@pytest.mark.parametrize("radius", [0, -3, "far", 1e6, None, True, [1]])
def test_a_radius_that_is_none_is_left_out(radius: object) -> None:
    (place,) = parse_position(json.dumps({"lat": 1.5, "lon": 2.5, "radius_km": radius})).places
    assert "radius_km" not in place


def test_several_positions_in_prose_are_places_even_where_none_is_the_likeliest() -> None:
    reply = parse_position("Sydney (-33.8568, 151.2153) or Paris (48.8584, 2.2945)")
    assert reply.status is ReplyStatus.UNPARSABLE
    assert [(place["lat"], place["lon"]) for place in reply.places] == [OPERA, TOWER]
    stated = parse_position("Sydney (-33.8568, 151.2153) 30%, Paris (48.8584, 2.2945) 60%")
    assert [place["confidence"] for place in stated.places] == [0.3, 0.6]
    assert stated.place["confidence"] == 0.6
