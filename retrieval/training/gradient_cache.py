"""One optimisation step's gradients: of any batch, in chunks that fit, over any number of processes.

Gradient caching (Gao et al. 2021): embed all chunks without remembering how,
compute the loss of the whole batch and its gradient in the embeddings, then
embed each chunk again and push its share of that gradient through. The result
is the gradient of the whole batch; memory is that of one chunk. A batch that
is one chunk is embedded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from retrieval.training.distributed import ProcessGroup

Tensors = Mapping[str, Tensor]


class Part(NamedTuple):
    """Inputs that are embedded together: a chunk of the batch's photos, or of the queue's positions.

    Attributes:
        kind: what to do with it; tells photos from queue.
        tensors: rows first.
    """

    kind: str
    tensors: Tensors


Embed = Callable[[Part], dict[str, Tensor]]
Loss = Callable[[Tensors, Tensors], dict[str, Tensor]]


class StepResult(NamedTuple):
    """The value of each term over the whole batch, and how many photos it had."""

    terms: dict[str, float]
    photos: int


def split(kind: str, tensors: Tensors, rows: int) -> list[Part]:
    """Parts of at most `rows` rows each; 0: one part with everything."""
    count = len(next(iter(tensors.values())))
    size = rows or max(count, 1)
    starts = range(0, max(count, 1), size)
    return [Part(kind, {name: one[start : start + size] for name, one in tensors.items()}) for start in starts]


class GradientStep:
    """Puts the gradient of one batch into the parameters.

    Args:
        embed: a part to L2-normalised vectors by name, rows in the part's order.
        loss: gathered embeddings and gathered labels to weighted terms.
        objective: owns the parameters that `loss` uses itself, such as temperatures.
        world: whose rows are gathered.
        autocast: type of the embedding's arithmetic; None for single precision.
    """

    def __init__(
        self,
        embed: Embed,
        loss: Loss,
        objective: nn.Module,
        process_group: ProcessGroup,
        autocast: torch.dtype | None = None,
    ) -> None:
        self._embed_part, self._loss, self._objective = embed, loss, objective
        self._world, self._autocast = process_group, autocast

    def __call__(self, parts: Sequence[Part], labels: Tensors, seed: int) -> StepResult:
        """Add this batch's gradients to the parameters' `grad`, still to be summed over processes.

        Args:
            parts: of this process.
            labels: rows first, of this process's photos; the loss gets those of all processes.
            seed: of this step and process, so that a chunk drops out the same units both times.
        """
        remembers = len({part.kind for part in parts}) == len(parts)  # one chunk a kind: nothing to embed again
        with torch.set_grad_enabled(remembers):
            held = [self._embed(part, seed + number) for number, part in enumerate(parts)]
        local = _joined(held)
        whole = {name: self._world.gather(one.detach()).requires_grad_() for name, one in local.items()}
        gathered_labels = {name: self._world.gather(one) for name, one in labels.items()}
        terms = self._loss(whole, gathered_labels)
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._share_own_gradients()
        gradients = {name: self._mine(whole[name], one) for name, one in local.items()}
        self._push(parts, held if remembers else None, gradients, seed)
        return StepResult({name: float(term.detach()) for name, term in terms.items()}, _rows(gathered_labels))

    def _embed(self, part: Part, seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        device = self._world.device.type
        with torch.autocast(device, self._autocast, enabled=self._autocast is not None):
            return self._embed_part(part)

    def _share_own_gradients(self) -> None:
        """Every process holds the whole gradient of the objective's own parameters; their sum must be one."""
        for parameter in self._objective.parameters():
            if parameter.grad is not None:
                parameter.grad /= self._world.size

    def _mine(self, whole: Tensor, local: Tensor) -> Tensor:
        gradient = torch.zeros_like(whole) if whole.grad is None else whole.grad
        return gradient[self._world.rows_of(len(local))]

    def _push(self, parts: Sequence[Part], held: list[dict[str, Tensor]] | None, gradients: Tensors, seed: int) -> None:
        """Send the gradients of the embeddings on into the parameters, part by part."""
        done = dict.fromkeys(gradients, 0)
        for number, part in enumerate(parts):
            vectors = held[number] if held else self._embed(part, seed + number)
            moved = {name: one for name, one in vectors.items() if one.requires_grad}
            shares = [gradients[name][done[name] : done[name] + len(one)] for name, one in moved.items()]
            for name, one in vectors.items():
                done[name] += len(one)
            if moved:
                torch.autograd.backward(list(moved.values()), shares)


def _joined(held: Sequence[Tensors]) -> dict[str, Tensor]:
    names = dict.fromkeys(name for one in held for name in one)
    return {name: torch.cat([one[name] for one in held if name in one]) for name in names}


def _rows(labels: Tensors) -> int:
    return len(next(iter(labels.values())))
