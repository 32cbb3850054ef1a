import numpy as np
import pytest

from geo.land_mask import is_land

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
