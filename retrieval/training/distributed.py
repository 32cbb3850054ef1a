"""Several processes training one model: who am I, gather rows, add up gradients, leave cleanly.

Started by `torchrun`; alone without it. There is no DistributedDataParallel:
every process computes the loss over the gathered batch and takes the gradient
of its own rows, so that one sum over the processes is the exact gradient of
the whole batch (see `retrieval.training.gradient_cache`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from core.errors import UserError


@dataclass(frozen=True)
class ProcessGroup:
    """This process among all of them."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """True in the one process that writes files and shows progress."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This process's part of `count` rows; parts differ by one row at most."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in order of rank, without gradient; counts may differ."""
        if self.size == 1:
            return rows
        counts = self._counts(len(rows))
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded.contiguous())
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def rows_of(self, count: int) -> slice:
        """Where this process's `count` rows lie among the gathered ones."""
        if self.size == 1:
            return slice(0, count)
        counts = self._counts(count)
        start = sum(counts[: self.rank])
        return slice(start, start + count)

    def _counts(self, count: int) -> list[int]:
        mine = torch.tensor([count], device=self.device)
        counts = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(counts, mine)
        return [int(one) for one in counts]

    def add_up(self, gradients: Iterable[Tensor]) -> None:
        """Replace each gradient by its sum over the processes, in place, in one message."""
        held = list(gradients)
        if self.size == 1 or not held:
            return
        flat = torch.cat([one.reshape(-1).float() for one in held])
        dist.all_reduce(flat)
        for one, summed in zip(held, torch.split(flat, [one.numel() for one in held]), strict=True):
            one.copy_(summed.view_as(one))

    def same_weights(self, module: nn.Module) -> None:
        """Give every process the leading one's parameters and buffers."""
        if self.size == 1:
            return
        for tensor in [*module.parameters(), *module.buffers()]:
            dist.broadcast(tensor.data, src=0)

    def agree(self, said: bool) -> bool:
        """What the leading process said."""
        if self.size == 1:
            return said
        word = torch.tensor([int(said)], device=self.device)
        dist.broadcast(word, src=0)
        return bool(word)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()


def join_process_group(device: str) -> ProcessGroup:
    """The world this process belongs to, by the variables that `torchrun` sets.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`; `auto` takes a GPU where there is one.

    Raises:
        UserError: a GPU is asked for and there is none.
    """
    size, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    chosen = pick_device(device, local)
    if size == 1:
        return ProcessGroup(chosen)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return ProcessGroup(chosen, dist.get_rank(), dist.get_world_size())


def pick_device(device: str, local_rank: int = 0) -> torch.device:
    """The device asked for.

    Raises:
        UserError: a GPU is asked for and torch sees none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("device: cuda is asked for and torch sees no GPU: set device=cpu, or install a CUDA torch")
    return torch.device("cuda", local_rank) if device == "cuda" else torch.device(device)


def leave_process_group(process_group: ProcessGroup, status: int = 0) -> None:
    """End a process of several; gloo's threads can abort an ordinary exit after the work is done."""
    if process_group.size == 1:
        if status:
            raise SystemExit(status)
        return
    if status == 0:
        dist.barrier()
        dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
