"""The control of the benchmark of satellite matching: the blind belief knows nothing of the photo."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the cross-view encoder needs the train extra")

from belief.parameters import SatelliteRecord
from belief.witnesses.reports import ReportedPlace
from benchmarks.simulation.city_blocks import drawn_cities, drawn_world
from benchmarks.simulation.satellite_matching import BLIND, MatchRecords, answers
from benchmarks.simulation.satellite_places import Query
from retrieval.crossview.tile_atlas import build_tile_atlas, open_tile_atlas
from tests.retrieval.crossview.test_tile_atlas import MeanColours

READING = SatelliteRecord(temperatures=(0.001,), edges=(), shares=((0.0, 1.0, 0.0),))
CLOSED = SatelliteRecord(temperatures=BLIND, edges=(), shares=((0.0, 1.0, 0.0),))


def test_the_blind_belief_is_the_same_whatever_the_photo_shows(tmp_path: Path) -> None:
    blocks, encoder = drawn_world(drawn_cities(2, 5), 8, 1), MeanColours()
    build_tile_atlas(tmp_path / "tiles", encoder, [block.tile() for block in blocks])
    vectors = encoder.encode_tiles([rgb for block in blocks if (rgb := block.tile().rgb) is not None])
    centre = blocks[20].bounds.centre
    query = Query(blocks[20], (centre.lat, centre.lon), vectors[:1], True, ReportedPlace(centre.lat, centre.lon))
    with open_tile_atlas(tmp_path / "tiles", encoder) as atlas:
        records = MatchRecords(READING, CLOSED)
        own, other = (answers(query, vectors[i], atlas, records, "geoscore") for i in (20, 50))
    assert own.error_km["belief, blind"] == other.error_km["belief, blind"]
    assert own.error_km["belief"] < 0.1 < other.error_km["belief"]
