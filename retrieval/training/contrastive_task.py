"""Contrastive alignment of photos, positions and texts: the task of `fusion`, and of the second phase of `compact`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geo.places.gazetteer import Gazetteer
from retrieval.training.distributed import ProcessGroup
from retrieval.training.gradient_cache import Part, Tensors, split_into_parts
from retrieval.training.losses import QUEUE, TEACHER, BatchLabels, Objective, ObjectiveConfig
from retrieval.training.negatives import NegativesConfig, PositionQueue, jitter_positions
from retrieval.training.towers import CLASSES, POSITIONS, TOKENS
from retrieval.training.trainer import Batch
from retrieval.training.validation import Scores, nearest_scores

PHOTOS = "photos"
TEXT_IDS = "text_ids"


class BatchLoader(Protocol):
    """Gives the photos of each step, as tensors on the device, rows first.

    Names: `tokens`, `positions` always; `distributions`, `texts` with `text_ids`, `teacher` where there are such.
    """

    steps_per_epoch: int

    def batches(self, first: int, last: int) -> Iterator[dict[str, Tensor]]:
        """This process's photos of steps first..last-1; a photo that cannot be read is left out."""
        ...

    def validation_batches(self) -> Iterable[dict[str, Tensor]]:
        """The validation photos."""
        ...


class ContrastiveTask:
    """Implements `retrieval.training.trainer.Task`. Fresh negatives come from the gazetteer's places.

    Args:
        model: called with a part's tensors, gives vectors by view; has `location`.
        searched_deg: (s, 2), positions of training photos that validation searches.
        chunk: photos embedded at a time.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: ObjectiveConfig,
        negatives: NegativesConfig,
        loader: BatchLoader,
        searched_deg: Tensor,
        view: str,
        chunk: int,
        process_group: ProcessGroup,
        seed: int,
    ) -> None:
        self.model, self.objective = model, Objective(objective).to(process_group.device)
        self._negatives, self._loader, self._searched_deg, self._view = negatives, loader, searched_deg, view
        gallery_deg = torch.from_numpy(Gazetteer().coordinates().lat_lon_deg).float()
        self._queue = PositionQueue(negatives, gallery_deg, seed)
        self._chunk, self._process_group, self._seed = chunk, process_group, seed
        self.steps_per_epoch = loader.steps_per_epoch
        self._queue_deg: Tensor = self._queue.positions(0)

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of steps first..last-1."""
        for step, photos in enumerate(self._loader.batches(first, last), start=first):
            labels = {name: photos.pop(name) for name in (POSITIONS, TEXT_IDS) if name in photos}
            photos[POSITIONS] = labels[POSITIONS] = self._jittered(labels[POSITIONS], step)
            self._queue_deg = self._queue.positions(step).to(self._process_group.device)
            parts = split_into_parts(PHOTOS, photos, self._chunk)
            yield Batch(parts + self._queue_parts(), labels)

    def embed(self, part: Part) -> dict[str, Tensor]:
        """Vectors of photos by view, or of the queue's positions."""
        if part.kind == QUEUE:
            return {QUEUE: self.model.location(part.tensors[POSITIONS])}  # type: ignore[operator]  # a module
        vectors: dict[str, Tensor] = self.model(part.tensors)
        needed = {name: vectors[name] for name in vectors if name in self.objective.config.views}
        return needed | ({TEACHER: part.tensors[TEACHER]} if TEACHER in part.tensors else {})

    def loss(self, embeddings: Tensors, labels: Tensors) -> dict[str, Tensor]:
        """The objective's terms."""
        batch = BatchLabels(labels[POSITIONS], self._queue_deg, labels.get(TEXT_IDS))
        terms: dict[str, Tensor] = self.objective(embeddings, batch)
        return terms

    def after_step(self, labels: Tensors) -> None:
        """Add the batch's positions to the queue."""
        if self._negatives.queue:
            self._queue.push(self._process_group.gather(labels[POSITIONS]).cpu())

    def validate(self) -> Scores:
        """Scores of the position nearest in the embedding space, of those searched, to each validation photo."""
        photos = embed_photos(self.model, self._loader.validation_batches(), self._view)
        gallery = embed_positions(self.model, self._searched_deg, self._process_group.device)
        return nearest_scores(photos.vectors, photos.positions_deg, gallery, self._searched_deg.double().numpy())

    def state(self) -> dict[str, Any]:
        """The queue."""
        return {"past": self._queue.past}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._queue.past = state["past"]

    def _queue_parts(self) -> list[Part]:
        local = self._queue_deg[self._process_group.local_slice(len(self._queue_deg))]
        return split_into_parts(QUEUE, {POSITIONS: local}, self._chunk) if self._negatives.queue else []

    def _jittered(self, positions_deg: Tensor, step: int) -> Tensor:
        if not self._negatives.jitter_km:
            return positions_deg
        generator = torch.Generator().manual_seed(self._seed * 104_729 + step * 64 + self._process_group.rank)
        return jitter_positions(positions_deg.cpu(), self._negatives.jitter_km, generator).to(positions_deg.device)


class EmbeddedPhotos(NamedTuple):
    """Vectors float32 (n, dim), L2-normalised, and true positions float64 (n, 2) in degrees."""

    vectors: NDArray[np.float32]
    positions_deg: NDArray[np.float64]


@torch.no_grad()
def embed_photos(model: nn.Module, batches: Iterable[dict[str, Tensor]], view: str) -> EmbeddedPhotos:
    """One view of all photos of some batches."""
    vectors, positions = [], []
    for batch in batches:
        inputs = {name: batch[name] for name in (TOKENS, CLASSES) if name in batch}
        vectors.append(model(inputs)[view].float().cpu())
        positions.append(batch[POSITIONS].double().cpu())
    return EmbeddedPhotos(torch.cat(vectors).numpy(), torch.cat(positions).numpy())


@torch.no_grad()
def embed_positions(model: nn.Module, positions_deg: Tensor, device: torch.device) -> NDArray[np.float32]:
    """Vectors (n, dim), L2-normalised, of positions (n, 2) in degrees."""
    parts = torch.split(positions_deg.float(), 4096)
    found = [model.location(part.to(device)).float().cpu() for part in parts]  # type: ignore[operator]  # a module
    vectors: NDArray[np.float32] = torch.cat(found).numpy()
    return vectors
