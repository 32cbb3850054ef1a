"""Pictures of places for training: read, decoded, resized, turned and mirrored, in a data loader's workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from retrieval.crossview.network import ViewSizes, prepare_view
from retrieval.photos.decoding import PhotoError
from retrieval.photos.photo import PhotoLimits, load_photo
from retrieval.training.contrastive_task import TEXT_IDS
from retrieval.training.crossview.config import PlacesConfig
from retrieval.training.crossview.places import PhotographedPlace, PhotoGroups, positions_deg
from retrieval.training.data.bad_samples import BadSample
from retrieval.training.data.loading import NO_AUGMENTATION, LoadedPhotos, LoadRequest, load_photos
from retrieval.training.text_tower import TextTower, text_id
from retrieval.training.towers import POSITIONS, TEXTS

PHOTOS, WEIGHTS, TILES, PLACE_IDS = "photos", "weights", "tiles", "place_ids"
"""Names of a batch's tensors: uint8 (n, k, h, w, 3), float (n, k), uint8 (n, h, w, 3), int64 (n,)."""

LIMITS = PhotoLimits(min_side_px=16, long_side_px=1024)

Pixels = NDArray[np.uint8]


class PlaceDataset(Dataset[LoadedPhotos]):
    """Loads groups of photos with a tile of their place; runs in the workers.

    Args:
        groups: of photos; a request names rows of them.
        texts: tokenizes the places' texts; None without a text view.
    """

    def __init__(
        self,
        config: PlacesConfig,
        sizes: ViewSizes,
        places: Sequence[PhotographedPlace],
        groups: PhotoGroups,
        texts: TextTower | None,
        seed: int,
    ) -> None:
        self._config, self._sizes, self._places, self._groups = config, sizes, places, groups
        self._texts, self._seed = texts, seed
        self._positions_deg = torch.from_numpy(positions_deg(places)).float()
        self._kept: dict[tuple[str, tuple[int, int]], Pixels] = {}

    def __getitem__(self, request: LoadRequest) -> LoadedPhotos:
        """The pictures of a request; a group with one that cannot be read is listed and left out."""
        views: dict[int, dict[str, Tensor]] = {}
        bad_samples: list[BadSample] = []
        for row in map(int, request.rows):
            try:
                views[row] = self._group(row, request.epoch)
            except (PhotoError, OSError) as error:
                bad_samples.append(self.bad_sample(int(self._groups.place[row]), error))
        return LoadedPhotos(list(views), self._stacked(views), bad_samples)

    def tile(self, place: int) -> Pixels:
        """The first tile of a place as the network takes it, north up.

        Raises:
            PhotoError: it cannot be read or decoded.
            OSError: it cannot be read.
        """
        return self._view(self._places[place].tiles[0], self._sizes.tile_px)

    def bad_sample(self, place: int, error: Exception) -> BadSample:
        """How a place with a picture that cannot be read is listed."""
        return BadSample(str(self._config.folder), self._places[place].name, str(error).split(": ", 1)[-1])

    def _group(self, row: int, epoch: int) -> dict[str, Tensor]:
        # What is drawn is a function of seed, epoch and row, so that a resumed run draws the same.
        rng = np.random.default_rng([self._seed, max(epoch, 0), row])
        place, names = self._places[int(self._groups.place[row])], self._groups.photos[row]
        changes = epoch != NO_AUGMENTATION
        if changes and self._config.drop_photos:
            names = tuple(names[i] for i in rng.permutation(len(names)))
        photos = [self._view(name, self._sizes.ground_px) for name in names]
        tile = self._view(place.tiles[int(rng.integers(len(place.tiles))) if changes else 0], self._sizes.tile_px)
        if changes:
            photos, tile = self._turned(photos, tile, rng)
        missing = self._config.photos - len(photos)
        stacked = np.stack(photos + [np.zeros_like(photos[0])] * missing)
        shown = int(rng.integers(1, len(photos) + 1)) if changes and self._config.drop_photos else len(photos)
        weights = torch.tensor([1.0] * shown + [0.0] * (self._config.photos - shown))
        return {PHOTOS: torch.from_numpy(stacked), WEIGHTS: weights, TILES: torch.from_numpy(tile.copy())}

    def _turned(self, photos: list[Pixels], tile: Pixels, rng: np.random.Generator) -> tuple[list[Pixels], Pixels]:
        if self._config.mirror and rng.random() < 0.5:
            photos, tile = [photo[:, ::-1] for photo in photos], tile[:, ::-1]
        if self._config.rotate:
            quarters = int(rng.integers(4))
            tile = np.rot90(tile, quarters)
            if self._config.panoramas:
                # The tile turns counter-clockwise, so what lay in the north then lies in the west.
                photos = [np.roll(photo, -quarters * photo.shape[1] // 4, axis=1) for photo in photos]
        return photos, tile

    def _view(self, name: str, size_px: tuple[int, int]) -> Pixels:
        if (name, size_px) in self._kept:
            return self._kept[name, size_px]
        view = prepare_view(load_photo(self._config.folder / Path(name), limits=LIMITS).rgb, size_px)
        if self._config.in_memory:
            self._kept[name, size_px] = view
        return view

    def _stacked(self, views: dict[int, dict[str, Tensor]]) -> dict[str, Tensor]:
        if not views:
            return {}
        rows = list(views)
        tensors = {name: torch.stack([view[name] for view in views.values()]) for name in views[rows[0]]}
        place = self._groups.place[rows]
        tensors[PLACE_IDS] = torch.from_numpy(place)
        tensors[POSITIONS] = self._positions_deg[tensors[PLACE_IDS]]
        if self._texts is not None:
            texts = [self._places[one].text for one in place.tolist()]
            tensors[TEXTS] = self._texts.tokenize(texts)
            tensors[TEXT_IDS] = torch.tensor([text_id(text) for text in texts])
        return tensors


class TileDataset(Dataset[LoadedPhotos]):
    """Loads the first tile of places; a request names rows of the places. Runs in the workers."""

    def __init__(self, dataset: PlaceDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, request: LoadRequest) -> LoadedPhotos:
        """The tiles of a request; one that cannot be read is listed and left out."""
        tiles: dict[int, Pixels] = {}
        bad_samples: list[BadSample] = []
        for place in map(int, request.rows):
            try:
                tiles[place] = self._dataset.tile(place)
            except (PhotoError, OSError) as error:
                bad_samples.append(self._dataset.bad_sample(place, error))
        tensors = {TILES: torch.from_numpy(np.stack(list(tiles.values())))} if tiles else {}
        return LoadedPhotos(list(tiles), tensors, bad_samples)


class PlaceLoader:
    """Batches of groups, or of tiles, on the device, in the order of a sampler or in their own.

    Args:
        device: of the tensors.
        workers: processes that load; 0: this one.
    """

    def __init__(self, dataset: PlaceDataset, device: torch.device, workers: int) -> None:
        self._dataset, self._device, self._workers = dataset, device, workers

    def load(self, rows: Sequence[NDArray[np.int64]], epoch: int) -> Iterator[LoadedPhotos]:
        """The groups of each of some rows; `NO_AUGMENTATION` as epoch turns nothing."""
        return self._on_device(self._dataset, rows, epoch)

    def load_tiles(self, places: Sequence[NDArray[np.int64]]) -> Iterator[LoadedPhotos]:
        """The first tile of each place of some rows of places."""
        return self._on_device(TileDataset(self._dataset), places, NO_AUGMENTATION)

    def _on_device(
        self, dataset: Dataset[LoadedPhotos], rows: Sequence[NDArray[np.int64]], epoch: int
    ) -> Iterator[LoadedPhotos]:
        for loaded in load_photos(dataset, [LoadRequest(each, epoch) for each in rows], self._workers):
            tensors = {name: tensor.to(self._device, non_blocking=True) for name, tensor in loaded.tensors.items()}
            yield loaded._replace(tensors=tensors)
