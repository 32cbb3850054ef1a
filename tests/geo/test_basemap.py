import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from geo.basemap import LAND_FILE, basemap_file, blue_marble, is_land, land_bits_of_package, shaded_relief

LAND = {
    "Paris": (48.85, 2.35),
    "Alice Springs": (-23.7, 133.87),
    "Chukotka, beyond the antimeridian": (67.0, -179.0),
    "Lake Victoria (a lake is not the sea)": (-1.0, 33.0),
    "South Pole": (-90.0, 0.0),
    "Fiji": (-17.8, 178.0),
}
SEA = {
    "Gulf of Guinea": (0.0, 0.0),
    "North Pole": (90.0, 10.0),
    "mid Atlantic": (40.0, -40.0),
    "English Channel": (50.2, -1.5),
    "antimeridian, tropics": (-10.0, 180.0),
    "Mediterranean": (35.0, 18.0),
}


@pytest.mark.parametrize("raster", [blue_marble(), shaded_relief()], ids=lambda raster: raster.name)
def test_the_stated_size_is_the_size_on_disk(raster):
    with Image.open(raster.path) as picture:
        assert picture.size == (raster.width, raster.height)


def test_km_per_pixel_by_hand():
    assert blue_marble().km_per_pixel == pytest.approx(20015.114 / 2700, rel=1e-6)
    assert shaded_relief().km_per_pixel == pytest.approx(20015.114 / 5400, rel=1e-6)


def test_corners_and_middle():
    raster = blue_marble()
    assert raster.pixels([(90.0, -180.0), (0.0, 0.0), (-90.0, 180.0)]).tolist() == [[0, 0], [2700, 1350], [0, 2700]]


def test_the_picture_is_the_right_way_round():
    """Blue sea west of Portugal, bright sand in the Sahara: a flipped or shifted raster fails."""
    raster = blue_marble()
    with Image.open(raster.path) as picture:
        colours = np.asarray(picture).astype(int)
    x, y = raster.pixels([(38.0, -15.0), (23.0, 10.0)]).astype(int).T
    (sea_red, _, sea_blue), (sand_red, _, sand_blue) = colours[y, x]
    assert sea_blue > sea_red + 20
    assert sand_red > sand_blue + 40


def test_a_missing_file_says_what_to_do():
    with pytest.raises(UserError, match="pip install"):
        basemap_file("nowhere.jpg")


@pytest.mark.parametrize("where", LAND)
def test_land(where):
    assert is_land(LAND[where]).tolist() == [True]


@pytest.mark.parametrize("where", SEA)
def test_sea(where):
    assert is_land(SEA[where]).tolist() == [False]


def test_the_share_of_land_is_the_earths():
    """29 % of the Earth is land: a raster upside down would still pass this, but not the places above."""
    random = np.random.default_rng(1)
    lat = np.degrees(np.arcsin(random.uniform(-1, 1, 50_000)))
    share = is_land(np.stack([lat, random.uniform(-180, 180, 50_000)], axis=1)).mean()
    assert share == pytest.approx(0.292, abs=0.012)


def test_longitudes_wrap_and_none_is_fine():
    assert is_land([(48.85, 362.35), (48.85, -357.65)]).tolist() == [True, True]
    assert is_land(np.zeros((0, 2))).shape == (0,)


def test_the_land_that_is_packaged_is_that_of_the_basemap():
    with np.load(LAND_FILE) as stored:
        assert (stored["bits"] == land_bits_of_package()).all()
