"""Photos of a collection, step by step: read, decoded, cropped in workers, seen by the backbones on the device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from core.errors import UserError
from retrieval.photos.decoding import PhotoError
from retrieval.photos.photo import PhotoLimits, decode_photo
from retrieval.training.contrastive_task import POSITIONS, TEXT_NUMBERS, TEXTS
from retrieval.training.data.bad_samples import BadSample, BadSamples
from retrieval.training.data.crops import WHOLE, random_box
from retrieval.training.data.sampler import StepOrder
from retrieval.training.data.sources import PhotoSource
from retrieval.training.distributed import ProcessGroup
from retrieval.training.frozen_backbones import FrozenBackbones, ViewCropper
from retrieval.training.text_tower import TextTower, text_number

LIMITS = PhotoLimits(min_side_px=16, long_side_px=1024)
"""Backbones see 640 px at most; JPEG decodes faster to a smaller size."""
HELD_OUT_BATCH = 64


class Loaded(NamedTuple):
    """Rows that could be read, stacked by name, and the others."""

    tensors: dict[str, Tensor]
    bad: list[BadSample]


class Request(NamedTuple):
    """What a worker is to load: rows of the source, and the epoch that augmentation depends on (-1: none)."""

    rows: NDArray[np.int64]
    epoch: int


class PhotoRequests(Dataset[Loaded]):
    """Loads requests; runs in the workers.

    Args:
        source: of the photos.
        viewer: makes tensors of a photo.
        texts: of the rows, already as integers; None without a text view.
        seed: of augmentation.
        min_area: of a crop.
    """

    def __init__(
        self, source: PhotoSource, viewer: ViewCropper, texts: TextTower | None, seed: int, min_area: float
    ) -> None:
        self._source, self._viewer, self._texts = source, viewer, texts
        self._seed, self._min_area = seed, min_area

    def __getitem__(self, request: Request) -> Loaded:
        """The photos of a request; which of them could not be read is said, and nothing stands in for them."""
        good: list[tuple[int, dict[str, Tensor]]] = []
        bad: list[BadSample] = []
        for row in map(int, request.rows):
            try:
                good.append((row, self._photo(row, request.epoch)))
            except (PhotoError, OSError) as error:
                reason = str(error).split(": ", 1)[-1]
                bad.append(BadSample(self._source.where(row), self._source.table.ids[row], reason))
        return Loaded(self._stacked(good), bad)

    def _photo(self, row: int, epoch: int) -> dict[str, Tensor]:
        table = self._source.table
        rgb = None
        if self._viewer.reads_photos:
            rgb = decode_photo(self._source.read(row), table.ids[row], limits=LIMITS).rgb
        box, mirrored = WHOLE, False
        if epoch >= 0:
            # A photo's crop is a function of seed, epoch and row, so that a resumed run sees the same.
            rng = np.random.default_rng([self._seed, epoch, row])
            box, mirrored = random_box(rng, self._min_area), bool(rng.random() < 0.5)
        return self._viewer.view(row, rgb, box, mirrored)

    def _stacked(self, good: Sequence[tuple[int, dict[str, Tensor]]]) -> dict[str, Tensor]:
        if not good:
            return {}
        rows = [row for row, _ in good]
        tensors = {name: torch.stack([one[name] for _, one in good]) for name in good[0][1]}
        tensors[POSITIONS] = torch.from_numpy(self._source.table.positions_deg[rows]).float()
        if self._texts is not None:
            texts = [self._source.table.texts[row] for row in rows]
            tensors[TEXTS] = self._texts.numbers(texts)
            tensors[TEXT_NUMBERS] = torch.tensor([text_number(text) for text in texts])
        return tensors


class PhotoFeed:
    """Implements `retrieval.training.contrastive_task.Feed` on a collection.

    Args:
        source: of the photos.
        train: rows that are trained on.
        held: rows that are validated on.
        eyes: the backbones.
        requests: loads photos in the workers.
        bad: where unreadable photos are listed.
        batch: photos a step.
        world: the processes.
        seed: of the order.
        window: see `order.epoch_order`.
        workers: processes that load; 0: this one.
        augment: crop and mirror.
    """

    def __init__(
        self,
        source: PhotoSource,
        train: NDArray[np.int64],
        held: NDArray[np.int64],
        frozen: FrozenBackbones,
        requests: PhotoRequests,
        bad: BadSamples,
        *,
        batch: int,
        process_group: ProcessGroup,
        seed: int,
        window: int = 0,
        workers: int = 0,
        augment: bool = True,
    ) -> None:
        self._source, self._train, self._held, self._eyes = source, train, held, frozen
        self.requests, self._bad, self._world = requests, bad, process_group
        self._order = StepOrder(source.places[train], batch, seed, window)
        self._workers, self._augment = workers, augment
        self.batch, self.steps_per_epoch = batch, self._order.steps_per_epoch

    def steps(self, first: int, last: int) -> Iterator[dict[str, Tensor]]:
        """This process's photos of steps first..last-1, through the backbones."""
        wanted = (self._request(step) for step in range(first, last))
        for loaded in self._loader(wanted):
            self._list(loaded.bad)
            if not loaded.tensors:
                raise UserError(f"none of the photos of a batch can be read: see {self._bad.path}")
            yield self._seen(loaded)

    def held_out(self) -> Iterable[dict[str, Tensor]]:
        """The validation photos as they are."""
        parts = [self._held[i : i + HELD_OUT_BATCH] for i in range(0, len(self._held), HELD_OUT_BATCH)]
        for loaded in self._loader(Request(part, -1) for part in parts):
            self._list(loaded.bad)
            if loaded.tensors:
                yield self._seen(loaded)

    def _request(self, step: int) -> Request:
        epoch = step // self.steps_per_epoch if self._augment else -1
        return Request(self._train[self._order.rows(step, self._world)], epoch)

    def _loader(self, requests: Iterable[Request]) -> Iterable[Loaded]:
        options: dict[str, Any] = {"num_workers": self._workers, "collate_fn": _as_it_is}
        if self._workers:
            options |= {"prefetch_factor": 2, "multiprocessing_context": "spawn"}
        # batch_size None: a request is a batch already. A sampler of requests is read lazily, in order.
        return DataLoader(self.requests, batch_size=None, sampler=requests, **options)

    def _seen(self, loaded: Loaded) -> dict[str, Tensor]:
        device = self._world.device
        return self._eyes.look({name: one.to(device, non_blocking=True) for name, one in loaded.tensors.items()})

    def _list(self, bad: list[BadSample]) -> None:
        if bad:
            self._bad.add(bad, len(self._source.table.ids))


def _as_it_is(loaded: Loaded) -> Loaded:
    return loaded
