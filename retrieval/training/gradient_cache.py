"""The gradient of one batch, computed in chunks that fit into memory, over any number of processes.

Gradient caching (Gao et al. 2021, arXiv 2101.06983): embed all chunks without a
graph, compute the loss of the whole batch and its gradient in the embeddings,
then embed each chunk again with a graph and backpropagate its share of that
gradient. The result is the gradient of the whole batch with the memory of one
chunk. A batch that is one chunk is embedded once.
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
        kind: which inputs these are; tells photos from queue.
        tensors: rows first.
    """

    kind: str
    tensors: Tensors


Embed = Callable[[Part], dict[str, Tensor]]
Loss = Callable[[Tensors, Tensors], dict[str, Tensor]]


class StepResult(NamedTuple):
    """The value of each term over the whole batch, and how many photos the batch had."""

    terms: dict[str, float]
    photos: int


def split_into_parts(kind: str, tensors: Tensors, rows: int) -> list[Part]:
    """Parts of at most `rows` rows each; 0: one part with everything."""
    count = len(next(iter(tensors.values())))
    size = rows or max(count, 1)
    starts = range(0, max(count, 1), size)
    return [Part(kind, {name: tensor[start : start + size] for name, tensor in tensors.items()}) for start in starts]


class GradientStep:
    """Adds the gradient of one batch to the parameters' `grad`.

    Args:
        embed: a part to L2-normalised vectors by name, rows in the part's order.
        loss: gathered embeddings and gathered labels to weighted terms.
        objective: owns the parameters that `loss` uses itself, such as temperatures.
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
        self._process_group, self._autocast = process_group, autocast

    def __call__(self, parts: Sequence[Part], labels: Tensors, seed: int) -> StepResult:
        """Compute the gradients of this process's share, still to be summed over processes.

        Args:
            labels: rows first, of this process's photos; the loss gets those of all processes.
            seed: of this step and process, so that dropout is the same both times a chunk is embedded.
        """
        one_pass = len({part.kind for part in parts}) == len(parts)  # one chunk a kind: keep the graph
        with torch.set_grad_enabled(one_pass):
            embedded = [self._embed(part, seed + number) for number, part in enumerate(parts)]
        local = _concatenated(embedded)
        gathered = {name: self._process_group.gather(rows.detach()).requires_grad_() for name, rows in local.items()}
        gathered_labels = {name: self._process_group.gather(rows) for name, rows in labels.items()}
        terms = self._loss(gathered, gathered_labels)
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._divide_objective_gradients()
        gradients = {name: self._local_gradient(gathered[name], rows) for name, rows in local.items()}
        self._backpropagate(parts, embedded if one_pass else None, gradients, seed)
        photos = len(next(iter(gathered_labels.values())))
        return StepResult({name: float(term.detach()) for name, term in terms.items()}, photos)

    def _embed(self, part: Part, seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        device = self._process_group.device.type
        with torch.autocast(device, self._autocast, enabled=self._autocast is not None):
            return self._embed_part(part)

    def _divide_objective_gradients(self) -> None:
        """Each process has the whole gradient of the objective's own parameters, which are summed later."""
        for parameter in self._objective.parameters():
            if parameter.grad is not None:
                parameter.grad /= self._process_group.size

    def _local_gradient(self, gathered: Tensor, local: Tensor) -> Tensor:
        gradient = torch.zeros_like(gathered) if gathered.grad is None else gathered.grad
        return gradient[self._process_group.gathered_slice(len(local))]

    def _backpropagate(
        self, parts: Sequence[Part], embedded: list[dict[str, Tensor]] | None, gradients: Tensors, seed: int
    ) -> None:
        """Send the gradients of the embeddings on into the parameters, part by part."""
        start = dict.fromkeys(gradients, 0)
        for number, part in enumerate(parts):
            vectors = embedded[number] if embedded else self._embed(part, seed + number)
            trained = {name: rows for name, rows in vectors.items() if rows.requires_grad}
            shares = [gradients[name][start[name] : start[name] + len(rows)] for name, rows in trained.items()]
            for name, rows in vectors.items():
                start[name] += len(rows)
            if trained:
                torch.autograd.backward(list(trained.values()), shares)


def _concatenated(embedded: Sequence[Tensors]) -> dict[str, Tensor]:
    names = dict.fromkeys(name for vectors in embedded for name in vectors)
    return {name: torch.cat([vectors[name] for vectors in embedded if name in vectors]) for name in names}
