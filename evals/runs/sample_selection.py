"""The photos of a run: which ones, what is known of each, and which reference photos they must not find."""

from __future__ import annotations

import argparse
import hashlib
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from core.errors import UserError
from core.json_text import parse_json
from evals.benchmarks.loading import BenchmarkData, Sample, load_benchmark
from evals.benchmarks.registry import find_benchmark
from evals.clean import protocol as clean
from evals.clean.perceptual_hash import Fingerprint, fingerprints_of
from evals.runs.recording import EvalQuery
from evals.runs.records import Flag, Partial, PlaceNames, Protocol
from geo.places.gazetteer import Gazetteer
from geo.sphere import lat_lon_array, point_distance_km
from graphs.settings import Settings
from retrieval.atlas.atlas import open_atlas
from retrieval.candidate import AtlasKind
from retrieval.encoders.registry import load_encoder
from retrieval.photos.together import MOST_TOGETHER, joined_name
from retrieval.splits import SHARES, split_by_author
from retrieval.stores.base import StoredItem

PLACE_KM = 1.0
"""How far photos of one place may lie from the first, set by hand: the finest distance that answers are scored at."""


class RunPhotos(NamedTuple):
    """The photos of a run, and what only the scorer knows of them; rows correspond.

    Attributes:
        data: all that is on disk of the benchmark.
        samples: those of the run, in the benchmark's order; where photos of one place are one query, the places.
        places: names of the place where each was taken; None far from any.
        partial: how they are only a part of the benchmark; None: they are all of it.
        exclusion: reference photos that searches must not find; None: the published protocol hides none.
        excluded_reference: the exclusion in words; empty where there is none.
    """

    data: BenchmarkData
    samples: Sequence[Sample]
    places: Sequence[PlaceNames | None]
    flags: Sequence[tuple[Flag, ...]]
    partial: Partial | None
    exclusion: clean.CleanExclusion | None
    excluded_reference: str

    def queries(self, strategies: Sequence[str]) -> list[EvalQuery]:
        """All strategies of a photo one after the other, so that it is decoded and embedded once."""
        return [
            EvalQuery(sample=sample, strategy=strategy, truth_place=place, flags=flags)
            for sample, place, flags in zip(self.samples, self.places, self.flags, strict=True)
            for strategy in strategies
        ]


def load_photos(chosen: argparse.Namespace, settings: Settings) -> RunPhotos:
    """Choose the photos of a run by its command line, and find out what is known of them.

    Raises:
        UserError: photos are missing, none are left to run, or a clean run cannot be clean.
    """
    benchmark = find_benchmark(chosen.benchmark)
    folder = chosen.data or settings.home / "benchmarks" / benchmark.name
    data = load_benchmark(benchmark, folder, swap_lat_lon=chosen.swap_lat_lon, place_column=chosen.together)
    samples, partial = choose_samples(
        data,
        allow_partial=chosen.allow_partial,
        part=chosen.only,
        listed=chosen.listed,
        limit=chosen.limit,
        seed=chosen.seed,
        together=chosen.together,
    )
    places = Gazetteer().places_at(lat_lon_array(sample.truth for sample in samples))
    every = [photo for sample in samples for photo in sample.photos]
    fingerprints = fingerprints_of([photo.path for photo in every], settings.threads)
    exclusion, in_words = None, ""
    if Protocol(chosen.protocol) is Protocol.CLEAN:
        exclusion, in_words = _exclusion(chosen, settings, every, fingerprints)
    flagged = dict(zip((photo.photo for photo in every), clean.flags(every, fingerprints), strict=True))
    return RunPhotos(
        data=data,
        samples=samples,
        places=[PlaceNames.of(place) for place in places],
        flags=[
            tuple(dict.fromkeys(flag for photo in sample.photos for flag in flagged[photo.photo])) for sample in samples
        ],
        partial=partial,
        exclusion=exclusion,
        excluded_reference=in_words,
    )


def _exclusion(
    chosen: argparse.Namespace,
    settings: Settings,
    samples: Sequence[Sample],
    fingerprints: Sequence[Fingerprint | None],
) -> tuple[clean.CleanExclusion, str]:
    """The reference photos that each query must not find, and the rule in words."""
    table = clean.read_reference_table(chosen.reference_table) if chosen.reference_table else {}
    known = clean.references(_reference_photos(settings), table)
    clean.check_known(known, settings.atlases)
    exclusion = clean.exclude_references(samples, fingerprints, known, chosen.twin_similarity)
    return exclusion, clean.describe(samples, known, exclusion)


def _reference_photos(settings: Settings) -> Iterator[StoredItem]:
    """Items of all photo atlases."""
    encoder = load_encoder(settings.encoder, settings.threads)
    for name in settings.atlases:
        folder = settings.atlas_folder / name
        if folder.is_dir():
            with open_atlas(folder, encoder, servers=settings.allowed_servers) as atlas:
                if atlas.kind is AtlasKind.PHOTO:
                    yield from atlas.items()


def choose_samples(
    data: BenchmarkData,
    *,
    allow_partial: bool,
    part: str | None = None,
    listed: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    together: str | None = None,
) -> tuple[list[Sample], Partial | None]:
    """The photos of a run in the benchmark's order, and how they are only a part.

    Args:
        part: only this part of the split by photographer: train, validation or calibration.
        listed: only the photos that this file names, such as those that a recorded model was asked about.
        limit: that many photos, or places, drawn at random.
        together: photos with the same value of this column, which `data` was loaded with, are one query. They are
            joined after the split, so that no photographer is in two parts.

    Raises:
        UserError: photos are missing and that was not allowed; an unknown part; nothing left to run.
    """
    name = data.benchmark.name
    if not data.is_complete and not allow_partial:
        raise UserError(
            f"{name}: {data.shortfall()}. Fetch the rest (`python -m evals.fetch {name}`), or run what is there with"
            " --allow-partial: every table will say so"
        )
    samples, why = list(data.samples), [] if data.is_complete else [f"{len(data.samples)} on disk"]
    if part is not None:
        samples = _part(samples, part)
        why.append(f"the {part} photographers")
    if listed is not None:
        wanted = _ids(listed)
        samples = [sample for sample in samples if sample.photo in wanted]
        why.append(f"listed in {listed.name}")
    if together is not None:
        samples = as_places(samples, together)
    if limit is not None and limit < len(samples):
        drawn = set(random.Random(seed).sample(range(len(samples)), limit))  # noqa: S311 - a draw, not a secret
        samples = [sample for number, sample in enumerate(samples) if number in drawn]
        why.append(f"{limit} drawn with seed {seed}")
    if not samples:
        raise UserError(f"{name}: no photo to run in {data.folder}; check --data, --only, --listed, --limit")
    if not why:
        return samples, None
    run = sum(len(sample.photos) for sample in samples)
    return samples, Partial(expected=data.expected, on_disk=len(data.samples), run=run, why=", ".join(why))


def as_places(samples: Sequence[Sample], column: str) -> list[Sample]:
    """The photos of each place as one query, named by the column and its value, at the position of the first photo.

    A photo whose place is not known is a query alone. Of more than eight photos the first eight are shown.

    Raises:
        UserError: photos that lie too far apart to be of one place.
    """
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[f"{column}={sample.place}" if sample.place else sample.photo].append(sample)
    return [_as_place(name, photos) for name, photos in groups.items()]


def _as_place(name: str, photos: Sequence[Sample]) -> Sample:
    first, shown = photos[0], photos[:MOST_TOGETHER]
    away_km = max(point_distance_km(first.truth, photo.truth) for photo in photos)
    if away_km > PLACE_KM:
        raise UserError(f"{name}: its photos lie {away_km:.1f} km apart, so they are not of one place")
    authors = list(dict.fromkeys(photo.author for photo in shown if photo.author))
    strata = {**first.strata, "photos": float(len(shown))}
    return replace(
        first, photo=name, author=joined_name(authors) if authors else None, strata=strata, together=tuple(shown)
    )


def _part(samples: Sequence[Sample], part: str) -> list[Sample]:
    if part not in SHARES:
        raise UserError(f"no part {part!r}: choose one of {', '.join(SHARES)}")
    parts = split_by_author([sample.photographer for sample in samples])
    return [sample for sample, of in zip(samples, parts, strict=True) if of == part]


def _ids(file: Path) -> set[str]:
    """Ids, one a line, or JSON lines with the field `photo`."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
        return {str(parse_json(line)["photo"]) if line.startswith("{") else line for line in lines}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"cannot read ids from {file} ({error}): give an id a line, or JSON lines with photo"
        ) from error


def ids_sha256(samples: Sequence[Sample]) -> str:
    """Of the ids in order: two runs with the same one have the same photos."""
    return hashlib.sha256("\n".join(sample.photo for sample in samples).encode()).hexdigest()
