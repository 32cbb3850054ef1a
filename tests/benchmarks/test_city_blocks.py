"""The generated world of satellite matching: the same from the same seed, with look-alikes in other cities."""

from __future__ import annotations

from collections import Counter

import numpy as np

from benchmarks.simulation.city_blocks import BLOCK_KM, PlacedBlock, drawn_cities, drawn_world
from geo.sphere import Floats, distance_km, pairwise_distance_km


def test_the_same_seed_gives_the_same_world_and_another_another() -> None:
    cities = drawn_cities(3, 5)
    one, again, other = (drawn_world(cities, 3, seed) for seed in (1, 1, 2))
    assert one == again
    np.testing.assert_array_equal(one[4].tile().rgb, again[4].tile().rgb)
    np.testing.assert_array_equal(one[4].photo(1), again[4].photo(1))
    assert (one[4].photo(1) != one[4].photo(2)).any()
    assert not np.array_equal(one[4].photo(1), other[4].photo(1))


def test_cities_stand_apart_and_their_blocks_side_by_side() -> None:
    cities = drawn_cities(12, 5)
    away_km = pairwise_distance_km(cities)
    assert away_km[~np.eye(12, dtype=bool)].min() > 300.0
    blocks = drawn_world(cities, 4, 1)[:16]
    centres = [(block.bounds.centre.lat, block.bounds.centre.lon) for block in blocks]
    assert abs(float(distance_km(centres[0], centres[1])) - BLOCK_KM) < 0.01
    assert abs(float(distance_km(centres[0], centres[4])) - BLOCK_KM) < 0.01


def test_look_alikes_stand_in_other_cities_and_differ_in_small_things() -> None:
    blocks = drawn_world(drawn_cities(6, 5), 6, 1)
    twice = [layout for layout, times in Counter(block.layout_seed for block in blocks).items() if times == 2]
    assert 0.05 < len(twice) / len(blocks) < 0.15
    first, second = (block for block in blocks if block.layout_seed == twice[0])
    assert first.city != second.city

    def colours(block: PlacedBlock) -> Floats:
        rgb = block.tile().rgb
        assert rgb is not None
        means: Floats = rgb.astype(np.float64).reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
        return means

    like, unlike = (np.abs(colours(first) - colours(each)).mean() for each in (second, blocks[0]))
    assert 0.0 < like < 0.7 * unlike


def test_a_photo_shows_colours_of_its_block_unless_there_is_nothing_to_match() -> None:
    block = drawn_world(drawn_cities(2, 5), 3, 1)[0]
    assert block.photo(0).shape == (64, 64, 3)
    assert (block.photo(0, matchable=False) != block.photo(0)).any()
