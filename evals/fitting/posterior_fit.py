"""Fit the posterior's parameters to photos whose place is known, and that the encoder was not trained on.

    python -m evals.fitting.posterior_fit --home HOME --atlas world --atlas mine --table photos.csv --photos FOLDER \
        --part calibration --out graphs/inference/posterior.json

The parameters are those under which the true positions are likeliest: the
posterior is read as a density, each of its positions spreading its weight as a
Laplace kernel exp(-d / s) / (2 pi s^2). Photos count by the square root of how
many their photographer took, so that no album decides alone. Coordinate search
over fixed grids: deterministic, and coarse on purpose, as a few hundred photos
tell no more.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from graphs.inference.posterior import Floats, PosteriorParameters, candidate_weights, default_parameters, positions

from geo.sphere import distance_km
from graphs.settings import make_settings
from graphs.system import GeoSleuth
from retrieval.atlas.sources import PhotoItem, photos_from_table
from retrieval.candidate import AtlasKind, Candidate
from retrieval.photos.photo import load_photo
from retrieval.splits import part_indices
from tools.results import PhotoMatches

GRIDS: dict[str, tuple[float, ...]] = {
    "temperature.photo": (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.4),
    "temperature.gps": (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2),
    "atlas_share.photo": (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9),
    "prior_share": (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
    "candidate_spread_km.photo": (10.0, 20.0, 40.0, 80.0, 150.0, 300.0),
    "candidate_spread_km.gps": (20.0, 40.0, 80.0, 150.0, 300.0, 600.0),
}
SWEEPS = 3


class Case(NamedTuple):
    """A photo's candidates and where it was really taken."""

    candidates: Sequence[Candidate]
    lat_lon_deg: tuple[float, float]
    weight: float


def log_likelihood(cases: Sequence[Case], parameters: PosteriorParameters) -> float:
    """Weighted mean log density (per km2) of the truth, in nats."""
    total = sum(case.weight for case in cases)
    return sum(case.weight * float(np.log(_density(case, parameters))) for case in cases) / total


def _density(case: Case, parameters: PosteriorParameters) -> float:
    share = parameters.prior_share
    spread = np.array([parameters.candidate_spread_km[c.kind] for c in case.candidates])
    near = _kernel(distance_km(case.lat_lon_deg, positions(case.candidates)), spread)
    weight = candidate_weights(case.candidates, parameters)
    wide = np.full(len(parameters.prior_weights), parameters.density_scale_km)
    usual = _kernel(distance_km(case.lat_lon_deg, parameters.prior_lat_lon_deg), wide)
    # The Earth's surface has 5.1e8 km2; a millionth of the weight is spread over it, for photos from nowhere near.
    return float((1.0 - share) * (near @ weight) + share * (usual @ parameters.prior_weights)) + 1e-6 / 5.1e8


def _kernel(away_km: Floats, spread_km: Floats) -> Floats:
    return np.asarray(np.exp(-away_km / spread_km) / (2.0 * np.pi * spread_km**2))


def fit(cases: Sequence[Case], start: PosteriorParameters, fitted_on: str) -> PosteriorParameters:
    """The likeliest parameters on the grids; those of an atlas kind that no case has stay as they are.

    Each kind is fitted on its own candidates alone, since a user may have only that kind; then how the kinds
    share the weight, and with the prior, on all candidates.
    """
    best = start
    kinds = [kind for kind in AtlasKind if any(c.kind is kind for case in cases for c in case.candidates)]
    for kind in kinds:
        own = [case._replace(candidates=[c for c in case.candidates if c.kind is kind]) for case in cases]
        best = _search(own, best, [f"temperature.{kind}", f"candidate_spread_km.{kind}", "prior_share"])
    shares = ["atlas_share.photo", "prior_share"] if len(kinds) > 1 else ["prior_share"]
    return _search(cases, best, shares).model_copy(update={"fitted_on": fitted_on})


def _search(cases: Sequence[Case], start: PosteriorParameters, names: Sequence[str]) -> PosteriorParameters:
    """Coordinate search: one grid after the other, a few times over; the first of equals wins."""
    best = start
    for _ in range(SWEEPS):
        for name in names:
            options = [_with(best, name, value) for value in GRIDS[name]]
            best = max([best, *options], key=lambda parameters: log_likelihood(cases, parameters))
    return best


def _with(parameters: PosteriorParameters, name: str, value: float) -> PosteriorParameters:
    field, _, kind = name.partition(".")
    if field == "atlas_share":
        return parameters.model_copy(update={field: {AtlasKind.PHOTO: value, AtlasKind.GPS: round(1.0 - value, 2)}})
    if kind:
        return parameters.model_copy(update={field: {**getattr(parameters, field), AtlasKind(kind): value}})
    return parameters.model_copy(update={field: value})


def gather(system: GeoSleuth, items: Sequence[PhotoItem]) -> list[Case]:
    """Search the open atlases with each photo."""
    photos_by = Counter(item.author for item in items)
    return [_case(system, item, photos_by[item.author]) for item in items]


def _case(system: GeoSleuth, item: PhotoItem, of_author: int) -> Case:
    if item.point is None:
        raise ValueError(f"{item.item_id} has no position")
    photo_id = system.photo_store.add(load_photo(item.path))
    call = {"photo_id": photo_id, "limit": system.settings.recall_limit}
    search = system.context.tools["search_photos"]
    message = search.invoke({"name": "search_photos", "args": call, "id": "fit", "type": "tool_call"})
    matches: PhotoMatches = message.artifact
    return Case(matches.candidates, (item.point.lat, item.point.lon), of_author**-0.5)


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="data home with the atlases")
    parser.add_argument("--atlas", action="append", required=True, help="name of an atlas; give each")
    parser.add_argument("--encoder", default="compact")
    parser.add_argument("--table", type=Path, required=True, help="CSV of photos with positions and authors")
    parser.add_argument("--photos", type=Path, required=True, help="the folder with the photos")
    parser.add_argument("--part", default="calibration", help="part of the split by author")
    parser.add_argument("--out", type=Path, required=True, help="the JSON to write")
    chosen = parser.parse_args()
    every = photos_from_table(chosen.table, chosen.photos)
    items = [every[i] for i in part_indices([item.author or "" for item in every], chosen.part)]
    settings = make_settings(home=chosen.home, atlases=tuple(chosen.atlas), encoder=chosen.encoder, read_signs=False)
    with GeoSleuth.open(settings) as system:
        cases = gather(system, items)
        fitted_on = f"{len(cases)} {chosen.part} photos, encoder {system.context.versions.encoder}"
    fitted = fit(cases, default_parameters(), fitted_on)
    # The prior is not fitted: it stays in graphs/inference/photo_prior.csv.
    text = fitted.model_dump_json(indent=2, exclude={"prior_lat_lon_weight", "sight"})
    chosen.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
