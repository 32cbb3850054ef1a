"""Fit what matching photos with satellite tiles is worth, on photos whose place is known.

    python -m evals.fit_satellite --photos FOLDER --table CSV --satellite-atlas NAME --satellite-encoder FOLDER

The machine locates each photo without a match; the tiles of the areas that its belief points at are then compared, and
the record says how well that told the truth: it is written beside the encoder, under its revision, where opening an
atlas finds it. Photos that the encoder was trained on must not take part. Until there is a record, matches are
shown and move nothing. The gain that is printed is of photographers left out of the fit, half of them at a time.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from langchain_core.messages import ToolCall

from agents.schemas import EvidenceKind
from belief.parameters import SatelliteRecord, satellite_record_file
from belief.witnesses.satellite import tile_pins
from core.errors import UserError
from core.files import write_atomic
from evals.command import command_parser, run_command
from evals.fitting.satellite_fit import LEAST_PLACES, MatchedPlace, fit_satellite, gain_nats, matched_place
from evals.options import names
from evals.runs.evaluated_systems import only_pixels
from geo.point import Point
from graphs.assessment.assess import believe
from graphs.assessment.evidence import statements
from graphs.assessment.statement import Statement, evidence_of
from graphs.chat.state import ALL_KEYS
from graphs.geolocate import Geolocate, build_geolocate
from graphs.nodes.match import match_arguments
from graphs.settings import Settings, make_settings
from graphs.state import GeolocateState, PhotoInput
from graphs.system import GeoSleuth
from retrieval.atlas.sources import PhotoColumns, PhotoItem, photos_from_collection, photos_from_table
from retrieval.crossview.tile_atlas import ComparedTiles
from retrieval.photos.photo import Photo, PhotoError
from retrieval.photos.stored_files import decode_stored, read_stored
from tools.match_satellite import NAME, compared_tiles
from tools.results import TileMatches


class KnownPlace(NamedTuple):
    """What a comparison said of a photo whose place is known, and who took it."""

    matched: MatchedPlace
    photographer: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Locate, compare, fit, write."""
    parser = command_parser("evals.fit_satellite", __doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos, or tars")
    parser.add_argument("--table", type=Path, help="CSV of their positions; without it, the photos' own")
    for column, name in PhotoColumns().__dict__.items():
        parser.add_argument(f"--{column}-column", default=name, help=f"of the table (default: {name})")
    parser.add_argument("--satellite-atlas", required=True, help="name of the atlas")
    parser.add_argument("--satellite-encoder", type=Path, required=True, help="folder of the encoder that made it")
    parser.add_argument("--model", help="the chat model, or a jury's, separated by commas (default: offline)")
    parser.add_argument("--strategy", default="refine", help="one whose point the belief chooses")
    parser.add_argument("--encoder", help="of the other atlases (default: compact)")
    parser.add_argument("--atlas", default="", help="other atlases to search, separated by commas (default: none)")
    parser.add_argument("--no-signs", action="store_true", help="do not read text in photos")
    parser.add_argument("--home", type=Path, help="folder of atlases (default: as for geosleuth)")
    return run_command(parser, _fit_satellite, arguments)


def _fit_satellite(chosen: argparse.Namespace) -> int:
    items = _items(chosen)
    with GeoSleuth.open(_settings(chosen)) as system:
        if not system.context.matches:
            raise UserError(f"the strategy {chosen.strategy} does not answer by the belief: choose refine or jury")
        known = list(known_places(system, items))
        encoder = system.context.versions.satellite_encoder
    record = fit_satellite([place.matched for place in known], source=_source(chosen, len(known), len(items)))
    file = satellite_record_file(chosen.satellite_encoder, encoder.rpartition("@")[2])
    write_atomic(file, record.model_dump_json(indent=1) + "\n")
    sys.stdout.write("\n".join([f"{len(known)} of {len(items)} photos were compared", *_told(known, record)]))
    sys.stdout.write(f"\nwrote {file}\n")
    return 0


def _items(chosen: argparse.Namespace) -> list[PhotoItem]:
    columns = PhotoColumns(chosen.file_column, chosen.lat_column, chosen.lon_column, chosen.author_column)
    if chosen.table is None:
        return photos_from_collection(chosen.photos, columns)
    return photos_from_table(chosen.table, chosen.photos, columns)


def _settings(chosen: argparse.Namespace) -> Settings:
    made = make_settings(
        home=chosen.home,
        encoder=chosen.encoder,
        atlases=names(chosen.atlas) if chosen.atlas else None,
        satellite_atlas=chosen.satellite_atlas,
        satellite_encoder=chosen.satellite_encoder,
        model=chosen.model,
        strategy=chosen.strategy,
        read_signs=False if chosen.no_signs else None,
        allow_metadata=False,
    )
    return made.model_copy(update={"max_precision": None, "checkpoints": None})


def known_places(system: GeoSleuth, items: Sequence[PhotoItem]) -> Iterator[KnownPlace]:
    """What comparing tells of each photo that can be used; the machine itself runs without a match."""
    graph = build_geolocate(replace(system.context, match=None))
    for item in items:
        if item.problem:
            continue
        try:
            photo = decode_stored(item.file, read_stored(item.file))
        except PhotoError:
            continue
        truth = item.point or (photo.metadata.position if photo.metadata and item.problem is None else None)
        if truth is not None:
            with system.photo_store.holding(only_pixels(photo)):
                yield KnownPlace(_compared_at(system, graph, photo, truth), item.author or item.item_id)


def _compared_at(system: GeoSleuth, graph: Geolocate, photo: Photo, truth: Point) -> MatchedPlace:
    given = PhotoInput(photo_id=photo.id, photo_sha256=photo.sha256, question="", metadata_position=None)
    state = cast(GeolocateState, graph.invoke(given, {"recursion_limit": 1000}, output_keys=list(ALL_KEYS)))
    compared, at = _compare(system, state), (truth.lat, truth.lon)
    said = statements(system.context, state, state["hypotheses"], state["records"], state["opinions"])
    raised = Statement(evidence_of(EvidenceKind.SATELLITE, "", None), pins=[*tile_pins(compared), at])
    belief = believe(system.context, [*said, raised])
    row = int(np.argmin(belief.support.distance_km(at)[:, 0]))
    if system.context.tile_covers is None:
        raise RuntimeError("no satellite atlas is open")
    return matched_place(belief, compared, system.context.tile_covers, row)


def _compare(system: GeoSleuth, state: GeolocateState) -> ComparedTiles:
    tool = system.context.match
    if tool is None:
        raise RuntimeError("no satellite atlas is open")
    call = ToolCall(name=NAME, args=match_arguments(system.context, state), id=NAME, type="tool_call")
    return compared_tiles(cast(TileMatches, tool.invoke(call).artifact))


def _source(chosen: argparse.Namespace, used: int, given: int) -> str:
    where = (chosen.table or chosen.photos).name
    how = f"{chosen.model or 'offline'}, {chosen.strategy}, tiles of {chosen.satellite_atlas}"
    return f"{used} of {given} photos of {where}; {how}"


def _told(known: Sequence[KnownPlace], record: SatelliteRecord) -> Iterator[str]:
    """What a match adds to the log-probability density at the truth, in words."""
    fold = np.array([hashlib.sha256(place.photographer.encode()).digest()[0] % 2 for place in known])
    if min((fold == 0).sum(), (fold == 1).sum()) < LEAST_PLACES:
        seen = np.mean([gain_nats(record, place.matched) for place in known])
        yield f"a match adds {seen:+.3f} nats on the photos it was fitted on; too few to leave half of them out"
        return
    others = [fit_satellite([p.matched for p, f in zip(known, fold, strict=True) if f != one]) for one in (0, 1)]
    gains = [gain_nats(others[own], place.matched) for place, own in zip(known, fold, strict=True)]
    yield f"a match adds {np.mean(gains):+.3f} nats to the log density at the truth, photographers left out of the fit"


if __name__ == "__main__":
    sys.exit(main())
