"""Photos of a collection, step by step: read, decoded and cropped in workers, through the backbones on the device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from core.errors import UserError
from retrieval.photos.decoding import PhotoError
from retrieval.photos.photo import PhotoLimits, decode_photo
from retrieval.training.contrastive_task import TEXT_IDS
from retrieval.training.data.bad_samples import BadSample, BadSamples
from retrieval.training.data.crops import WHOLE, random_box
from retrieval.training.data.sources import PhotoSource
from retrieval.training.distributed import ProcessGroup
from retrieval.training.frozen_backbones import FrozenBackbones, ViewCropper
from retrieval.training.text_tower import TextTower, text_id
from retrieval.training.towers import POSITIONS, TEXTS

RUNS_MIXED = 16
"""Runs of neighbours that are mixed with each other where photos are read in disk order."""


def epoch_order(disk_order: NDArray[np.int64], seed: int, epoch: int, window: int = 0) -> NDArray[np.int64]:
    """The rows of an epoch.

    Args:
        disk_order: int64 (n,), rank of each row on the disk.
        epoch: counted from 0.
        window: 0: any order. Else runs of this many neighbours on the disk are shuffled, and the rows of 16 such runs
            among each other: nearly sequential reading, nearly random batches.
    """
    rng = np.random.default_rng([seed, epoch])
    if window == 0:
        return np.asarray(rng.permutation(len(disk_order)), dtype=np.int64)
    runs = np.array_split(np.argsort(disk_order, kind="stable"), max(1, -(-len(disk_order) // window)))
    mixed = [runs[i] for i in rng.permutation(len(runs))]
    groups = [np.concatenate(mixed[start : start + RUNS_MIXED]) for start in range(0, len(mixed), RUNS_MIXED)]
    return np.concatenate([rng.permutation(group) for group in groups]).astype(np.int64)


class StepSampler:
    """The rows of a process at a step.

    Args:
        disk_order: int64 (n,), rank of each row on the disk.
        batch: photos a step, of all processes; an incomplete batch at the end of an epoch is left out.
    """

    def __init__(self, disk_order: NDArray[np.int64], batch: int, seed: int, window: int = 0) -> None:
        self._disk_order, self.batch, self._seed, self._window = disk_order, batch, seed, window
        self.steps_per_epoch = len(disk_order) // batch
        self._epoch, self._rows = -1, np.empty(0, dtype=np.int64)

    def rows(self, step: int, process_group: ProcessGroup) -> NDArray[np.int64]:
        """This process's rows at a step counted over the whole run."""
        epoch, inside = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._rows = epoch, epoch_order(self._disk_order, self._seed, epoch, self._window)
        return self._rows[inside * self.batch : (inside + 1) * self.batch][process_group.local_slice(self.batch)]


LIMITS = PhotoLimits(min_side_px=16, long_side_px=1024)
"""Backbones read 640 px at most; JPEG decodes faster to a smaller size."""
VALIDATION_BATCH = 64
NO_AUGMENTATION = -1


def read_pixels(source: PhotoSource, row: int) -> NDArray[np.uint8]:
    """A photo of a collection, uint8 (height, width, 3).

    Raises:
        PhotoError: it cannot be read or decoded.
        OSError: it cannot be read.
    """
    return decode_photo(source.read(row), source.table.ids[row], limits=LIMITS).rgb


class LoadedPhotos(NamedTuple):
    """The rows that could be read, their tensors stacked by name, and the other samples."""

    rows: list[int]
    tensors: dict[str, Tensor]
    bad_samples: list[BadSample]


class LoadRequest(NamedTuple):
    """What a worker is to load: rows of the source, and the epoch that augmentation depends on (-1: none)."""

    rows: NDArray[np.int64]
    epoch: int


class PhotoDataset(Dataset[LoadedPhotos]):
    """Loads requests; runs in the workers.

    Args:
        texts: tokenizes the rows' texts; None without a text view.
        min_area: of a crop, as a share of the photo.
    """

    def __init__(
        self, source: PhotoSource, cropper: ViewCropper, texts: TextTower | None, seed: int, min_area: float
    ) -> None:
        self.source, self._cropper, self._texts = source, cropper, texts
        self._seed, self._min_area = seed, min_area

    def __getitem__(self, request: LoadRequest) -> LoadedPhotos:
        """The photos of a request; one that cannot be read is listed, and no other photo takes its place."""
        views: dict[int, dict[str, Tensor]] = {}
        bad_samples: list[BadSample] = []
        for row in map(int, request.rows):
            try:
                views[row] = self._photo(row, request.epoch)
            except (PhotoError, OSError) as error:
                reason = str(error).split(": ", 1)[-1]
                bad_samples.append(BadSample(self.source.describe(row), self.source.table.ids[row], reason))
        return LoadedPhotos(list(views), self._stacked(views), bad_samples)

    def _photo(self, row: int, epoch: int) -> dict[str, Tensor]:
        rgb = read_pixels(self.source, row) if self._cropper.reads_photos else None
        box, mirrored = WHOLE, False
        if epoch != NO_AUGMENTATION:
            # A photo's crop is a function of seed, epoch and row, so that a resumed run makes the same.
            rng = np.random.default_rng([self._seed, epoch, row])
            box, mirrored = random_box(rng, self._min_area), bool(rng.random() < 0.5)
        return self._cropper.view(row, rgb, box, mirrored)

    def _stacked(self, views: dict[int, dict[str, Tensor]]) -> dict[str, Tensor]:
        if not views:
            return {}
        rows, table = list(views), self.source.table
        tensors = {name: torch.stack([view[name] for view in views.values()]) for name in views[rows[0]]}
        tensors[POSITIONS] = torch.from_numpy(table.positions_deg[rows]).float()
        if self._texts is not None:
            texts = [table.texts[row] for row in rows]
            tensors[TEXTS] = self._texts.tokenize(texts)
            tensors[TEXT_IDS] = torch.tensor([text_id(text) for text in texts])
        return tensors


def load_photos(
    dataset: Dataset[LoadedPhotos], requests: Iterable[LoadRequest], workers: int
) -> Iterator[LoadedPhotos]:
    """Load requests in their order, in `workers` processes; 0: in this one."""
    options: dict[str, Any] = {"num_workers": workers, "collate_fn": _unchanged}
    if workers:
        options |= {"prefetch_factor": 2, "multiprocessing_context": "spawn"}
    # batch_size None: a request is a batch already. A sampler of requests is read lazily, in order.
    yield from DataLoader(dataset, batch_size=None, sampler=requests, **options)


def _unchanged(loaded: LoadedPhotos) -> LoadedPhotos:
    return loaded


class PhotoLoader:
    """Implements `retrieval.training.contrastive_task.BatchLoader` on a collection.

    Args:
        train: rows that are trained on.
        validation: rows that are validated on.
        bad_samples: where unreadable photos are listed.
        window: see `sampler.epoch_order`.
        workers: processes that load; 0: this one.
    """

    def __init__(
        self,
        dataset: PhotoDataset,
        train: NDArray[np.int64],
        validation: NDArray[np.int64],
        backbones: FrozenBackbones,
        bad_samples: BadSamples,
        *,
        batch: int,
        process_group: ProcessGroup,
        seed: int,
        window: int = 0,
        workers: int = 0,
        augment: bool = True,
    ) -> None:
        self.dataset, self._train, self._validation = dataset, train, validation
        self._backbones, self._bad_samples, self._process_group = backbones, bad_samples, process_group
        self._sampler = StepSampler(dataset.source.disk_order[train], batch, seed, window)
        self._workers, self._augment = workers, augment
        self.steps_per_epoch = self._sampler.steps_per_epoch

    def batches(self, first: int, last: int) -> Iterator[dict[str, Tensor]]:
        """This process's photos of steps first..last-1, through the backbones."""
        for loaded in self._loaded(self._request(step) for step in range(first, last)):
            if not loaded.tensors:
                raise UserError(f"none of the photos of a batch can be read: see {self._bad_samples.path}")
            yield self._features(loaded)

    def validation_batches(self) -> Iterable[dict[str, Tensor]]:
        """The validation photos without augmentation."""
        starts = range(0, len(self._validation), VALIDATION_BATCH)
        parts = (self._validation[start : start + VALIDATION_BATCH] for start in starts)
        for loaded in self._loaded(LoadRequest(part, NO_AUGMENTATION) for part in parts):
            if loaded.tensors:
                yield self._features(loaded)

    def _request(self, step: int) -> LoadRequest:
        epoch = step // self.steps_per_epoch if self._augment else NO_AUGMENTATION
        return LoadRequest(self._train[self._sampler.rows(step, self._process_group)], epoch)

    def _loaded(self, requests: Iterable[LoadRequest]) -> Iterator[LoadedPhotos]:
        """Load requests in their order, listing the photos that cannot be read."""
        for loaded in load_photos(self.dataset, requests, self._workers):
            if loaded.bad_samples:
                self._bad_samples.add(loaded.bad_samples, len(self.dataset.source.table.ids))
            yield loaded

    def _features(self, loaded: LoadedPhotos) -> dict[str, Tensor]:
        device = self._process_group.device
        return self._backbones.extract({name: t.to(device, non_blocking=True) for name, t in loaded.tensors.items()})
