"""Matching photos to satellite tiles on a generated world: coarse only, satellite only, a fixed radius, and the belief.

    python -m benchmarks.simulation.satellite_matching write       places to train on, into runs/crossview_places
    python -m retrieval.training.train configs/crossview_compact.yaml
    python -m benchmarks.simulation.satellite_matching measure     --evenly: places where the prior does not expect them

**All of it is generated** (`satellite_places`, `city_blocks`): photos, tiles, look-alikes in cities far apart, photos
that show nothing of their block, and the coarse stage, which is a simulated report of a model that names a place as far
from the truth as its record says. Cities to train on, to fit what a match is worth, and to measure are different ones.
Intervals are 95 %, bootstrap over cities.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from belief.decision import decide
from belief.parameters import SatelliteRecord, default_parameters
from belief.posterior import Belief
from belief.support import Support, make_support
from belief.witnesses.reports import Report, ReportedPlace, WeighedReport, report_ratio
from belief.witnesses.satellite import narrowed_areas, satellite_log_ratio, tile_pins
from benchmarks.simulation.satellite_places import (
    CITIES,
    PHOTOS,
    QUERIES,
    RECORD,
    Query,
    drawn_queries,
    world,
    write_places,
)
from evals.fitting.satellite_fit import TEMPERATURES, MatchedPlace, fit_satellite, gain_nats, matched_place
from evals.scores.distance import clustered_bootstrap, geoscore
from geo.point import Point
from geo.sphere import distance_km
from geo.tiles import TileBounds
from retrieval.crossview.encoder import CrossviewEncoder
from retrieval.crossview.tile_atlas import ComparedTiles, TileAtlas, build_tile_atlas, open_tile_atlas
from retrieval.encoders.base import Vectors, mean_vector
from retrieval.stores.filters import Near, NearAny

PUBLISHED_RADIUS_KM = 25.0
THRESHOLDS_KM = (1, 25, 200, 750, 2500)
LIMIT = 48
"""Tiles that are compared in each area. By hand."""

SYSTEMS = ("coarse only", "satellite only", "25 km radius, as published", "belief, blind", "belief")
"""`blind` knows where tiles are and not what the photo shows: all tiles count alike."""

BLIND = (10.0,)
"""A temperature at which no similarity matters. By hand."""


class Outcome(NamedTuple):
    """Answers to a query by system: error in km, and whether the tile that was picked is the right one."""

    error_km: dict[str, float]
    right_tile: dict[str, bool]


def coarse_belief(coarse: ReportedPlace, pins: Sequence[tuple[float, float]] = ()) -> Belief:
    """The belief after the coarse stage, on a support around its place and some pins."""
    return Belief(*_with_report(coarse, pins), {})


def _with_report(
    coarse: ReportedPlace, pins: Sequence[tuple[float, float]]
) -> tuple[Support, dict[str, WeighedReport]]:
    support = make_support([coarse[:2], *pins])
    ratio = report_ratio(support, Report([coarse], RECORD), default_parameters().records)
    return support, {"coarse": WeighedReport(ratio)}


def compare_by_belief(query: Query, vector: Vectors, atlas: TileAtlas, limit: int = LIMIT) -> ComparedTiles:
    """The tiles most similar in the areas that the coarse belief points at."""
    return atlas.compare(vector, narrowed_areas(coarse_belief(query.coarse)), limit)


class Compared(NamedTuple):
    """A comparison with the positions that the support needs, and the temperatures it is read at."""

    tiles: ComparedTiles
    pins: list[tuple[float, float]]
    temperatures: Sequence[float]


def seen(query: Query, vector: Vectors, atlas: TileAtlas) -> Compared:
    """The tiles that look most like the photo, as the belief reads them."""
    tiles = compare_by_belief(query, vector, atlas)
    return Compared(tiles, tile_pins(tiles), TEMPERATURES)


def unseen(query: Query, atlas: TileAtlas) -> Compared:
    """What is known without the photo: where tiles are."""
    one = compare_by_belief(query, np.zeros(query.vectors.shape[1], np.float32), atlas, 1)
    nothing = ComparedTiles(one.hits, (), np.zeros_like(one.background))
    return Compared(nothing, list(one.spread_deg), BLIND)


class MatchRecords(NamedTuple):
    """What matches are worth, and what knowing where tiles are is worth."""

    seeing: SatelliteRecord
    blind: SatelliteRecord


def matched(query: Query, compared: Compared, atlas: TileAtlas) -> MatchedPlace:
    """What a comparison says at the truth of a place, for the fit."""
    belief = coarse_belief(query.coarse, [*compared.pins, query.truth_deg])
    row = int(np.argmin(belief.support.distance_km(query.truth_deg)[:, 0]))
    return matched_place(belief, compared.tiles, atlas.covers, row, compared.temperatures)


def refined(query: Query, compared: Compared, atlas: TileAtlas, record: SatelliteRecord) -> Belief:
    """The belief with a comparison, on a support with its tiles."""
    support, reports = _with_report(query.coarse, compared.pins)
    ratio = satellite_log_ratio(Belief(support, reports, {}), compared.tiles, atlas.covers, record)
    return Belief(support, reports, {"satellite": ratio})


def answers(query: Query, vector: Vectors, atlas: TileAtlas, records: MatchRecords, aim: str) -> Outcome:
    """The answers of all systems to one query."""
    utility = default_parameters().utility[aim]
    coarse = decide(coarse_belief(query.coarse), utility)
    anywhere = atlas.compare(vector, None, 1).hits[0].tile
    circle = NearAny((Near(Point(lat=coarse.lat_deg, lon=coarse.lon_deg), PUBLISHED_RADIUS_KM),))
    near = atlas.compare(vector, [circle], 1).hits
    in_circle = near[0].tile if near else anywhere  # as published: all tiles where none is near
    compared = seen(query, vector, atlas)
    belief, blind = (
        refined(query, of, atlas, record)
        for of, record in ((compared, records.seeing), (unseen(query, atlas), records.blind))
    )
    best, best_blind = decide(belief, utility), decide(blind, utility)
    points = {
        "coarse only": (coarse.lat_deg, coarse.lon_deg),
        "satellite only": _centre(anywhere.bounds),
        "25 km radius, as published": _centre(in_circle.bounds),
        "belief, blind": (best_blind.lat_deg, best_blind.lon_deg),
        "belief": (best.lat_deg, best.lon_deg),
    }
    picked = {"satellite only": anywhere.tile_id, "25 km radius, as published": in_circle.tile_id}
    picked["belief"] = _likeliest_tile(belief, compared.tiles)
    own = query.block.tile_id
    errors = {name: float(distance_km(query.truth_deg, at)) for name, at in points.items()}
    return Outcome(errors, {name: tile_id == own for name, tile_id in picked.items()})


def _centre(bounds: TileBounds) -> tuple[float, float]:
    return bounds.centre.lat, bounds.centre.lon


def _likeliest_tile(belief: Belief, compared: ComparedTiles) -> str:
    """The hit that holds most of a belief; empty where there is none."""
    tiles = [hit.tile for hit in compared.hits]
    held = [belief.mass[tile.bounds.holds(belief.support.lat_lon_deg)].sum() for tile in tiles]
    return tiles[int(np.argmax(held))].tile_id if held else ""


def table(outcomes: Sequence[Outcome], cities: Sequence[str]) -> Iterator[str]:
    """Accuracies and R@1 of each system, with intervals."""
    columns = ["system", *(f"{km} km" for km in THRESHOLDS_KM), "GeoScore", "R@1"]
    yield f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"
    for name in SYSTEMS:
        away_km = np.array([outcome.error_km[name] for outcome in outcomes])
        cells = [_share(away_km <= km, cities) for km in THRESHOLDS_KM]
        score = clustered_bootstrap(geoscore(away_km), cities)
        cells.append(f"{score.estimate:,.0f} ({score.low:,.0f}–{score.high:,.0f})")
        right = [outcome.right_tile.get(name) for outcome in outcomes]
        cells.append("–" if right[0] is None else _share(np.array(right, dtype=bool), cities))
        yield f"| {name} | {' | '.join(cells)} |"


def _share(right: NDArray[np.bool_], cities: Sequence[str]) -> str:
    found = clustered_bootstrap(100.0 * right, cities)
    return f"{found.estimate:.1f} ({found.low:.1f}–{found.high:.1f})"


def differences(outcomes: Sequence[Outcome], cities: Sequence[str]) -> Iterator[str]:
    """The belief against the blind one and against the best of the others at each distance, paired, with intervals."""
    errors = {name: np.array([outcome.error_km[name] for outcome in outcomes]) for name in SYSTEMS}
    others = SYSTEMS[: SYSTEMS.index("belief, blind")]
    for km in THRESHOLDS_KM:
        best = max(others, key=lambda name: float((errors[name] <= km).mean()))
        for name in ("belief, blind", best):
            more = 100.0 * ((errors["belief"] <= km).astype(float) - (errors[name] <= km))
            found = clustered_bootstrap(more, cities)
            yield f"{km} km: {found.estimate:+.1f} ({found.low:+.1f} to {found.high:+.1f}) against {name}"
    scores = {name: geoscore(error_km) for name, error_km in errors.items()}
    for name in ("belief, blind", max(others, key=lambda name: float(scores[name].mean()))):
        found = clustered_bootstrap(scores["belief"] - scores[name], cities)
        yield f"GeoScore: {found.estimate:+.0f} ({found.low:+.0f} to {found.high:+.0f}) against {name}"


def measure(
    encoder: CrossviewEncoder, seed: int, aim: str, folder: Path, share: float, evenly: bool = False
) -> Iterator[str]:
    """Tables of one photo and of several, joined by the network and by their mean.

    Args:
        share: of the places that are fitted on and measured.
        evenly: whether places are drawn evenly from all tiles, which the prior does not expect.
    """
    atlases = {}
    for part in ("fit", "test"):
        build_tile_atlas(folder / part, encoder, [block.tile() for block in world(part, seed)])
        atlases[part] = open_tile_atlas(folder / part, encoder)
    counts = {part: round(share * count) for part, count in QUERIES.items()}
    queries = {part: drawn_queries(counts[part], part, world(part, seed), encoder, seed, evenly) for part in atlases}
    cities = [str(query.block.city) for query in queries["test"]]
    fit, test = atlases["fit"], atlases["test"]
    yield f"{len(test):,} tiles of {CITIES['test']} cities, {len(cities)} places, aim {aim}; generated"
    joined: dict[str, Callable[[Query], Vectors]] = {
        "one photo": lambda query: encoder.join(query.vectors[:1]),
        f"{PHOTOS} photos, joined by the network": lambda query: encoder.join(query.vectors),
        f"{PHOTOS} photos, mean of their vectors": lambda query: mean_vector(query.vectors),
    }
    blind = _record([matched(query, unseen(query, fit), fit) for query in queries["fit"]], BLIND)
    blind_nats = [gain_nats(blind, matched(query, unseen(query, test), test)) for query in queries["test"]]
    for label, join in joined.items():
        places = [matched(query, seen(query, join(query), fit), fit) for query in queries["fit"]]
        records = MatchRecords(_record(places, TEMPERATURES), blind)
        joint = [(query, join(query)) for query in queries["test"]]
        gains_nats = [gain_nats(records.seeing, matched(query, seen(query, of, test), test)) for query, of in joint]
        outcomes = [answers(query, of, test, records, aim) for query, of in joint]
        yield f"\n**{label}**: a match adds {np.mean(gains_nats):.3f} nats to the log density at the truth,"
        yield f"knowing where tiles are {np.mean(blind_nats):.3f}\n"
        yield from table(outcomes, cities)
        yield from ("", "Belief against the blind one, and the best of the rest:", *differences(outcomes, cities))
        for matchable in (True, False):
            rows = [i for i, query in enumerate(queries["test"]) if query.matchable is matchable]
            yield f"\n{label}, {'something' if matchable else 'nothing'} to match ({len(rows)} places, "
            gained, blindly = (np.mean([nats[i] for i in rows]) for nats in (gains_nats, blind_nats))
            yield f"{gained:+.3f} nats, blind {blindly:+.3f})\n"
            few, theirs = [outcomes[i] for i in rows], [cities[i] for i in rows]
            yield from (*table(few, theirs), "", *differences(few, theirs))
    for atlas in atlases.values():
        atlas.close()


def _record(places: Sequence[MatchedPlace], temperatures: Sequence[float]) -> SatelliteRecord:
    return fit_satellite(places, temperatures, "generated world")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("write", "measure"))
    parser.add_argument("--places", type=Path, default=Path("runs/crossview_places"))
    parser.add_argument("--encoder", type=Path, default=Path("runs/crossview_compact"))
    parser.add_argument("--aim", default="geoscore", help="what the answers' points are chosen for")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="of the places that are measured")
    parser.add_argument("--evenly", action="store_true", help="draw places evenly from all tiles")
    chosen = parser.parse_args()
    if chosen.what == "write":
        print(f"{write_places(chosen.places, chosen.seed):,} places in {chosen.places}")
        return
    with tempfile.TemporaryDirectory() as folder:
        of = CrossviewEncoder(chosen.encoder)
        for line in measure(of, chosen.seed, chosen.aim, Path(folder), chosen.share, chosen.evenly):
            print(line, flush=True)


if __name__ == "__main__":
    main()
