import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from core.errors import UserError
from geo.basemap import basemap_file, blue_marble, shaded_relief


@pytest.mark.parametrize("raster", [blue_marble(), shaded_relief()], ids=lambda raster: raster.name)
def test_the_stated_size_is_the_size_on_disk(raster):
    with Image.open(raster.path) as picture:
        assert picture.size == (raster.width, raster.height)


def test_km_per_pixel_by_hand():
    assert blue_marble().km_per_pixel == pytest.approx(20015.114 / 2700, rel=1e-6)
    assert shaded_relief().width_km_per_pixel(60.0) == pytest.approx(20015.114 / 5400 / 2, rel=1e-6)


def test_corners_and_middle():
    raster = blue_marble()
    assert raster.pixels([(90.0, -180.0), (0.0, 0.0), (-90.0, 180.0)]).tolist() == [[0, 0], [2700, 1350], [0, 2700]]
    assert raster.lat_lon_deg((5400.0, -3.0)).tolist() == [90.0, -180.0]


@given(st.floats(-90.0, 90.0), st.floats(-180.0, 179.999))
def test_pixels_and_back(lat, lon):
    raster = shaded_relief()
    assert raster.lat_lon_deg(raster.pixels((lat, lon))) == pytest.approx(np.array([lat, lon]), abs=1e-9)


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
