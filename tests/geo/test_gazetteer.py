import threading

import numpy as np
import pytest

from geo.places.gazetteer import Gazetteer
from geo.point import Point
from geo.sphere import distance_km, point_distance_km


@pytest.fixture(scope="module")
def gazetteer():
    return Gazetteer()


def at(gazetteer, lat, lon):
    return gazetteer.place_at(Point(lat=lat, lon=lon))


@pytest.mark.parametrize(
    ("lat", "lon", "code", "region", "city"),
    [
        (39.9990, 116.2755, "CN", "Beijing", "Haidian"),
        (48.8584, 2.2945, "FR", "Île-de-France", None),
        (-33.8568, 151.2153, "AU", "New South Wales", None),
        (40.6892, -74.0445, "US", "New York", None),
    ],
)
def test_known_places(gazetteer, lat, lon, code, region, city):
    place = at(gazetteer, lat, lon)
    assert (place.country_code, place.region) == (code, region)
    assert city in (None, place.city)
    assert place.distance_km == pytest.approx(point_distance_km(Point(lat=lat, lon=lon), place.point))
    assert place.distance_km < 10


def test_the_country_comes_from_the_zone_not_from_the_nearest_town(gazetteer):
    """On the French bank of the Rhine the nearest town of all is Kehl, in Germany."""
    assert at(gazetteer, 48.580, 7.800).country_code == "FR"
    assert at(gazetteer, 48.575, 7.815).country_code == "DE"


def test_a_zone_of_two_countries_keeps_both(gazetteer):
    assert at(gazetteer, 42.66, 21.16).country == "Kosovo"
    assert at(gazetteer, 44.80, 20.46).country == "Serbia"


def test_the_open_sea_has_the_nearest_place_and_says_how_far(gazetteer):
    place = at(gazetteer, 0.0, -30.0)
    assert place.country_code == "BR"
    assert 300 < place.distance_km < 1000


@pytest.mark.parametrize(("lat", "code"), [(-90.0, "AQ"), (-77.85, "AQ"), (-60.5, "AQ")])
def test_antarctica_is_a_country_without_towns(gazetteer, lat, code):
    place = at(gazetteer, lat, 166.6)
    assert (place.country_code, place.city, place.distance_km) == (code, None, 0.0)


@pytest.mark.parametrize(("lat", "lon"), [(90.0, 0.0), (65.0, 180.0), (-16.8, -180.0), (65.0, 540.0)])
def test_poles_and_antimeridian(gazetteer, lat, lon):
    place = gazetteer.places_at([(lat, lon)])[0]
    assert place.distance_km == pytest.approx(float(distance_km((lat, lon), (place.point.lat, place.point.lon))))
    assert place.distance_km < 1500


def test_many_are_as_one_by_one(gazetteer):
    random = np.random.default_rng(0)
    positions = np.stack([random.uniform(-89, 89, 60), random.uniform(-180, 180, 60)], axis=1)
    assert gazetteer.places_at(positions) == [at(gazetteer, lat, lon) for lat, lon in positions]


def test_nonsense_positions_are_refused(gazetteer):
    with pytest.raises(ValueError, match="finite"):
        gazetteer.places_at([(0.0, np.nan)])
    with pytest.raises(ValueError, match="90"):
        gazetteer.places_at([(91.0, 0.0)])


@pytest.mark.parametrize(
    ("name", "country_code", "city"),
    [
        ("köln", "DE", "Köln"),
        ("KOLN", "DE", "Köln"),
        ("München", "DE", "Munich"),
        ("北京", "CN", "Beijing"),
        ("Москва", "RU", "Moscow"),
        ("กรุงเทพ", "TH", "Bangkok"),
        ("saint denis", "RE", "Saint-Denis"),
        ("القاهرة", "EG", "Cairo"),
        ("東京", "JP", "Tokyo"),
    ],
)
def test_cities_in_any_spelling(gazetteer, name, country_code, city):
    first = gazetteer.find(name)[0]
    assert (first.country_code, first.city) == (country_code, city)


def test_the_most_populous_first_and_by_country(gazetteer):
    found = gazetteer.find("Paris")
    assert found[0].country_code == "FR"
    people = [place.population or 0 for place in found]
    assert people == sorted(people, reverse=True)
    texan = gazetteer.find("Paris", "us")
    assert {place.country_code for place in texan} == {"US"}
    assert "Texas" in {place.region for place in texan}


def test_regions_and_countries(gazetteer):
    bavaria = gazetteer.find("Bavaria")[0]
    assert (bavaria.region, bavaria.city, bavaria.country_code) == ("Bavaria", None, "DE")
    assert point_distance_km(bavaria.point, Point(lat=48.8, lon=11.5)) < 100
    germany = gazetteer.find("Deutschland")[0]
    assert (germany.country, germany.region, germany.city) == ("Germany", None, None)
    kinds = {(p.region is None, p.city is None) for p in gazetteer.find("Luxembourg")}
    assert {(True, True), (False, True), (False, False)} <= kinds


def test_codes_only_in_capitals(gazetteer):
    assert gazetteer.find("NZ")[0].country == "New Zealand"
    assert "NO" not in {place.country_code for place in gazetteer.find("no") if place.city is None}


def test_unknown_names(gazetteer):
    assert gazetteer.find("Xyzzyplugh") == []
    assert gazetteer.find("") == []
    assert gazetteer.find("?!") == []


def test_coordinates_are_many_and_most_populous_first(gazetteer):
    lat_lon_deg, ids, population = gazetteer.coordinates()
    assert len(gazetteer) == len(ids) == len(set(ids)) == 234_908
    assert lat_lon_deg.shape == (234_908, 2)
    assert (np.diff(population) <= 0).all()
    assert ids[:2] == ["geonames:1796236", "geonames:1816670"]
    assert np.abs(lat_lon_deg[:, 0]).max() < 90


def test_threads_share_one():
    gazetteer, found = Gazetteer(), []
    threads = [threading.Thread(target=lambda: found.append(at(gazetteer, 35.68, 139.76))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [place.country_code for place in found] == ["JP"] * 4
