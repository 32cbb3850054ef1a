"""The task of `recipe: fusion`, and of the second phase of `compact`: photos, positions and texts into one space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from retrieval.training import validation
from retrieval.training.distributed import ProcessGroup
from retrieval.training.gradient_cache import Part, Tensors, split
from retrieval.training.losses import QUEUE, TEACHER, Objective, ObjectiveConfig, Rows
from retrieval.training.negatives import NegativesConfig, PositionQueue, jitter_positions
from retrieval.training.towers import CLASSES, POSITIONS, TEXTS, TOKENS
from retrieval.training.trainer import Batch, Scores

PHOTOS = "photos"
TEXT_NUMBERS = "text_numbers"


class Feed(Protocol):
    """Gives the photos of each step, as tensors on the device, rows first.

    Names: `tokens`, `positions` always; `distributions`, `texts` with `text_numbers`, `teacher` where there are such.
    """

    steps_per_epoch: int
    batch: int

    def steps(self, first: int, last: int) -> Iterator[dict[str, Tensor]]:
        """This process's photos of steps first..last-1; a photo that cannot be read is left out."""
        ...

    def held_out(self) -> Iterable[dict[str, Tensor]]:
        """The validation photos, in parts."""
        ...


class Contrast:
    """Implements `retrieval.training.trainer.Task`.

    Args:
        model: called with a part's tensors, gives vectors by view; has `location`.
        objective: which terms.
        negatives: further positions.
        feed: photos.
        gallery_deg: (g, 2), places that fresh negatives come from.
        searched_deg: (s, 2), positions of training photos that validation searches.
        view: that validation scores.
        chunk: photos embedded at a time.
        world: the processes.
        seed: of the run.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: ObjectiveConfig,
        negatives: NegativesConfig,
        feed: Feed,
        gallery_deg: Tensor,
        searched_deg: Tensor,
        view: str,
        chunk: int,
        process_group: ProcessGroup,
        seed: int,
    ) -> None:
        self.model, self.objective = model, Objective(objective).to(process_group.device)
        self._negatives, self._feed, self._searched, self._view = negatives, feed, searched_deg, view
        self._queue = PositionQueue(negatives, gallery_deg, seed)
        self._chunk, self._world, self._seed = chunk, process_group, seed
        self.steps_per_epoch, self.photos_per_step = feed.steps_per_epoch, feed.batch
        self._step = 0
        self._queue_now: Tensor = self._queue.positions(0)

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of steps first..last-1."""
        for step, photos in enumerate(self._feed.steps(first, last), start=first):
            self._step = step
            labels = {name: photos.pop(name) for name in (POSITIONS, TEXT_NUMBERS) if name in photos}
            photos[POSITIONS] = labels[POSITIONS] = self._jittered(labels[POSITIONS], step)
            self._queue_now = self._queue.positions(step).to(self._world.device)
            parts = split(PHOTOS, photos, self._chunk)
            yield Batch(parts + self._queue_parts(), labels)

    def embed(self, part: Part) -> dict[str, Tensor]:
        """Vectors of photos by view, or of the queue's positions."""
        if part.kind == QUEUE:
            return {QUEUE: self.model.location(part.tensors[POSITIONS])}  # type: ignore[operator]  # a module
        found: dict[str, Tensor] = self.model(part.tensors)
        needed = {name: found[name] for name in found if name in self.objective.config.views}
        return needed | ({TEACHER: part.tensors[TEACHER]} if TEACHER in part.tensors else {})

    def loss(self, embeddings: Tensors, labels: Tensors) -> dict[str, Tensor]:
        """The objective's terms."""
        rows = Rows(labels[POSITIONS], self._queue_now, labels.get(TEXT_NUMBERS))
        terms: dict[str, Tensor] = self.objective(embeddings, rows)
        return terms

    def after_step(self, labels: Tensors) -> None:
        """The batch's positions join the queue."""
        if self._negatives.queue:
            self._queue.push(self._world.gather(labels[POSITIONS]).cpu())

    def validate(self) -> Scores:
        """Nearest of the searched positions to each validation photo."""
        vectors, wanted = embed_all(self.model, self._feed.held_out(), self._view)
        gallery = embed_positions(self.model, self._searched, self._world.device)
        return validation.nearest_scores(vectors, wanted, gallery, self._searched.double().numpy())

    def state(self) -> dict[str, Any]:
        """The queue."""
        return {"past": self._queue.past}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        self._queue.past = state["past"]

    def _queue_parts(self) -> list[Part]:
        mine = self._queue_now[self._world.share(len(self._queue_now))]
        return split(QUEUE, {POSITIONS: mine}, self._chunk) if self._negatives.queue else []

    def _jittered(self, positions_deg: Tensor, step: int) -> Tensor:
        if not self._negatives.jitter_km:
            return positions_deg
        generator = torch.Generator().manual_seed(self._seed * 104_729 + step * 64 + self._world.rank)
        return jitter_positions(positions_deg.cpu(), self._negatives.jitter_km, generator).to(positions_deg.device)


class Embedded(NamedTuple):
    """Vectors float32 (n, dim) and true positions float64 (n, 2) in degrees."""

    vectors: NDArray[np.float32]
    positions_deg: NDArray[np.float64]


@torch.no_grad()
def embed_all(model: nn.Module, parts: Iterable[dict[str, Tensor]], view: str) -> Embedded:
    """One view of all photos of some parts."""
    vectors, positions = [], []
    for part in parts:
        kept = {name: part[name] for name in (TOKENS, CLASSES) if name in part}
        vectors.append(model(kept)[view].float().cpu())
        positions.append(part[POSITIONS].double().cpu())
    return Embedded(torch.cat(vectors).numpy(), torch.cat(positions).numpy())


@torch.no_grad()
def embed_positions(model: nn.Module, positions_deg: Tensor, device: torch.device) -> NDArray[np.float32]:
    """Vectors (n, dim) of positions (n, 2)."""
    found = [model.location(part.to(device)).float().cpu() for part in torch.split(positions_deg.float(), 4096)]  # type: ignore[operator]  # a module
    vectors: NDArray[np.float32] = torch.cat(found).numpy()
    return vectors


__all__ = ["CLASSES", "PHOTOS", "POSITIONS", "TEXTS", "TEXT_NUMBERS", "TOKENS", "Contrast", "Feed"]
