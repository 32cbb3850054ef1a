"""MMLandmarks: photos of landmarks against tiles from above, or against positions; with and without the answers.

    python -m evals.landmarks --data data/MMLandmarks --crossview runs/crossview_mmlandmarks     photo to tile
    python -m evals.landmarks --data data/MMLandmarks --encoder geoclip                          photo to position

Each photo is a query, as published, and so is each landmark with all its photos together. The published gallery holds
the queries' own tiles or positions, which nobody has who looks for a place; a gallery without them stands beside it, in
which the right tile cannot be found, only one nearby. The third gallery holds nothing but the queries' own: that is how
the authors' code counts R@k (`mmlandmarks/metrics.py` takes the tiles of the index for junk and leaves them out before
it counts; its mAP does so within the first 1,000).

Vectors are kept in `--out`, so that the same command goes on where it was. Photos that cannot be read are misses.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from core.errors import UserError
from evals.command import command_parser, run_command
from evals.runs.picture_vectors import KeptVectors
from evals.scores.retrieval import (
    NO_LANDMARK,
    Queries,
    RetrievalGallery,
    RetrievalScore,
    has_nan,
    retrieval_table,
    score_retrieval,
)
from evals.scores.tables import markdown
from geo.sphere import Floats
from retrieval.crossview.mmlandmarks import Landmark, read_index_tiles, read_landmarks
from retrieval.encoders.base import EncoderIdentity, PhotoEncoder, Vectors, mean_vector
from retrieval.encoders.registry import load_encoder
from retrieval.photos.photo import Photo


class LandmarkEncoder(Protocol):
    """What is evaluated: vectors of photos, of several of one place, and of the gallery's items."""

    identity: EncoderIdentity

    def photos(self, photos: Sequence[Photo]) -> Vectors:
        """Vectors (n, dim) of photos."""
        ...

    def together(self, vectors: Vectors) -> Vectors:
        """One vector (dim,) out of those of the photos of a landmark (k, dim)."""
        ...

    def gallery(self, data: LandmarkData, kept: KeptVectors, /) -> RetrievalGallery:
        """The index and the queries' own items."""
        ...


class LandmarkData(NamedTuple):
    """The test set on disk: its landmarks, and names and positions of the tiles of the index."""

    folder: Path
    landmarks: list[Landmark]
    index_names: list[str]
    index_deg: Floats
    missing: list[str]

    @property
    def positions_deg(self) -> Floats:
        """Of the landmarks, (n, 2)."""
        return np.array([landmark.position_deg for landmark in self.landmarks], dtype=np.float64).reshape(-1, 2)


def read_test_set(folder: Path, *, needs_tiles: bool, allow_partial: bool) -> LandmarkData:
    """What is there of the test set.

    Args:
        needs_tiles: else their positions alone are read.
        allow_partial: leave out pictures that are not there.

    Raises:
        UserError: a table is missing or damaged, nothing is there, or pictures are missing.
    """
    landmarks, index = read_landmarks(folder, "query"), read_index_tiles(folder)
    named = [name for landmark in landmarks for name in (*landmark.photos, *(landmark.tiles if needs_tiles else ()))]
    named += [tile.name for tile in index] if needs_tiles else []
    gone = [name for name in named if not (folder / name).is_file()]
    if gone and not allow_partial:
        raise UserError(
            f"{len(gone):,} of {len(named):,} pictures are not in {folder}, the first is {gone[0]}: fetch them (the"
            " tiles by mml-download.sh of github.com/Oshkr/mmlandmarks), or run what is there with --allow-partial"
        )
    left_out = set(gone)
    here = [_with_files(landmark, left_out) for landmark in landmarks]
    kept = [landmark for landmark in here if landmark.photos]
    if not kept:
        raise UserError(
            f"no photo of {folder}/query/ground is there: fetch them with python -m evals.fetch mmlandmarks"
        )
    tiles = [tile for tile in index if tile.name not in left_out]
    at = np.array([tile.position_deg for tile in tiles], dtype=np.float64).reshape(-1, 2)
    return LandmarkData(folder, kept, [tile.name for tile in tiles], at, gone)


def _with_files(landmark: Landmark, gone: set[str]) -> Landmark:
    photos, tiles = (tuple(name for name in names if name not in gone) for names in (landmark.photos, landmark.tiles))
    return landmark._replace(photos=photos, tiles=tiles)


class PhotosToTiles:
    """A folder of `recipe: crossview`: photos against tiles.

    Raises:
        UserError: no such folder, damaged weights, or torch is not installed.
    """

    def __init__(self, folder: Path, device: str) -> None:
        try:
            from retrieval.crossview.encoder import CrossviewEncoder
        except ModuleNotFoundError as error:
            raise UserError('--crossview needs torch: pip install "geosleuth[train]"') from error
        self._encoder = CrossviewEncoder(folder, device=device)
        self.identity = self._encoder.identity

    def photos(self, photos: Sequence[Photo]) -> Vectors:
        """See `LandmarkEncoder`; each photo as a query of its own."""
        vectors = self._encoder.encode_photos([photo.rgb for photo in photos])
        return np.stack([self._encoder.join(vector[None]) for vector in vectors])

    def together(self, vectors: Vectors) -> Vectors:
        """See `LandmarkEncoder`."""
        return self._encoder.join(vectors)

    def gallery(self, data: LandmarkData, kept: KeptVectors, /) -> RetrievalGallery:
        """See `LandmarkEncoder`: tiles of the index, and the latest one of each landmark, as published."""
        own = [(row, landmark.tiles[0]) for row, landmark in enumerate(data.landmarks) if landmark.tiles]
        names = [*data.index_names, *(name for _, name in own)]
        vectors = kept.of("tiles", names, self._tiles)
        rows = [row for row, _ in own]
        landmark = np.array([NO_LANDMARK] * len(data.index_names) + rows, dtype=np.int64)
        found = RetrievalGallery(vectors, np.concatenate([data.index_deg, data.positions_deg[rows]]), landmark)
        return found.taken(~has_nan(vectors))

    def _tiles(self, photos: Sequence[Photo]) -> Vectors:
        return self._encoder.encode_tiles([photo.rgb for photo in photos])


class PhotosToPositions:
    """An encoder of photos and positions in one space."""

    def __init__(self, encoder: PhotoEncoder) -> None:
        self._encoder, self.identity = encoder, encoder.identity

    def photos(self, photos: Sequence[Photo]) -> Vectors:
        """See `LandmarkEncoder`."""
        return self._encoder.encode_photos(photos).fused

    def together(self, vectors: Vectors) -> Vectors:
        """See `LandmarkEncoder`: the mean."""
        return mean_vector(vectors)

    def gallery(self, data: LandmarkData, _: KeptVectors, /) -> RetrievalGallery:
        """See `LandmarkEncoder`: positions of the index's tiles and of the landmarks."""
        at = np.concatenate([data.index_deg, data.positions_deg])
        landmark = np.array([NO_LANDMARK] * len(data.index_names) + list(range(len(data.landmarks))), dtype=np.int64)
        return RetrievalGallery(self._encoder.encode_points(at), at, landmark)


def score_landmarks(encoder: LandmarkEncoder, data: LandmarkData, kept: KeptVectors) -> list[RetrievalScore]:
    """Scores of photos and of landmarks against the galleries."""
    gallery = encoder.gallery(data, kept)
    names = [name for landmark in data.landmarks for name in landmark.photos]
    counts = [len(landmark.photos) for landmark in data.landmarks]
    vectors = kept.of("photos", names, encoder.photos)
    of_landmark = np.repeat(np.arange(len(data.landmarks)), counts)
    photos = Queries(vectors, data.positions_deg[of_landmark], of_landmark)
    joined = [_joined(encoder, each) for each in np.split(vectors, np.cumsum(counts)[:-1])]
    landmarks = Queries(np.stack(joined), data.positions_deg, np.arange(len(data.landmarks)))
    own = gallery.landmark != NO_LANDMARK
    galleries = {
        "with the queries' own": gallery,
        "without": gallery.taken(~own),
        "their own alone": gallery.taken(own),
    }
    return [
        score_retrieval(queries, items, (what, name))
        for what, queries in (("photo", photos), ("landmark", landmarks))
        for name, items in galleries.items()
        if len(items.landmark)
    ]


def _joined(encoder: LandmarkEncoder, vectors: Vectors) -> Vectors:
    read = vectors[~has_nan(vectors)]
    return encoder.together(read) if len(read) else vectors[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = command_parser("evals.landmarks", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="the published folder, with query and index")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--crossview", type=Path, help="folder of a trained cross-view encoder: photos against tiles")
    which.add_argument("--encoder", help="name or folder of an encoder of photos and positions")
    parser.add_argument("--out", type=Path, help="folder of the vectors (default: runs/landmarks/NAME-REVISION)")
    parser.add_argument("--allow-partial", action="store_true", help="leave out pictures that are not there; told")
    parser.add_argument("--device", default="auto", help="cpu, cuda, auto")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="threads that decode pictures")
    return run_command(parser, _print_table, arguments)


def _print_table(chosen: argparse.Namespace) -> int:
    by_tiles = chosen.crossview is not None
    data = read_test_set(chosen.data, needs_tiles=by_tiles, allow_partial=chosen.allow_partial)
    encoder: LandmarkEncoder = (
        PhotosToTiles(chosen.crossview, chosen.device)
        if by_tiles
        else PhotosToPositions(load_encoder(chosen.encoder, device=chosen.device))
    )
    name = f"{encoder.identity.name}-{encoder.identity.revision[:12]}"
    folder = chosen.out or Path("runs/landmarks") / name
    kept = KeptVectors(chosen.data, folder, encoder.identity, chosen.workers)
    scores = score_landmarks(encoder, data, kept)
    partial = f"PARTIAL, {len(data.missing):,} pictures are missing: " if data.missing else ""
    what = "tiles" if by_tiles else "positions"
    title = f"{partial}MMLandmarks, {encoder.identity.name}: photos to {what}, in % (95 % interval over landmarks)"
    sys.stdout.write(markdown(retrieval_table(title, scores)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
