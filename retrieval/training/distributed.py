"""Several processes training one model: rank, gathering rows, summing gradients, a clean end.

Started by `torchrun`; a single process without it. There is no
DistributedDataParallel: every process computes the loss over the gathered batch
and takes the gradient of its own rows, so that one sum over the processes is
the exact gradient of the whole batch (see `retrieval.training.gradient_cache`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from core.errors import UserError


@dataclass(frozen=True)
class ProcessGroup:
    """This process among all of them."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """True in the one process that writes files and shows progress."""
        return self.rank == 0

    def local_slice(self, count: int) -> slice:
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

    def gathered_slice(self, count: int) -> slice:
        """Which of the gathered rows are this process's `count` rows."""
        if self.size == 1:
            return slice(0, count)
        counts = self._counts(count)
        start = sum(counts[: self.rank])
        return slice(start, start + count)

    def _counts(self, count: int) -> list[int]:
        local = torch.tensor([count], device=self.device)
        counts = [torch.empty_like(local) for _ in range(self.size)]
        dist.all_gather(counts, local)
        return [int(number) for number in counts]

    def sum_gradients(self, gradients: Iterable[Tensor]) -> None:
        """Replace each gradient by its sum over the processes, in place, in one message."""
        tensors = list(gradients)
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1).float() for tensor in tensors])
        dist.all_reduce(flat)
        for tensor, total in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def broadcast_weights(self, module: nn.Module) -> None:
        """Give every process the main one's parameters and buffers."""
        if self.size == 1:
            return
        for tensor in [*module.parameters(), *module.buffers()]:
            dist.broadcast(tensor.data, src=0)

    def broadcast_flag(self, flag: bool) -> bool:
        """The main process's value of a flag."""
        if self.size == 1:
            return flag
        message = torch.tensor([int(flag)], device=self.device)
        dist.broadcast(message, src=0)
        return bool(message)

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()


class BatchNormOfAll(nn.BatchNorm2d):
    """Batch normalisation over the rows of all processes; gradients flow through its statistics to all of them.

    What one process computes for the whole batch, in float32. torch's own `SyncBatchNorm` needs CUDA.
    """

    def forward(self, rows: Tensor) -> Tensor:
        """(n, channels, height, width); in training a collective call, which every process has to make."""
        if not self.training:
            usual: Tensor = super().forward(rows)
            return usual
        values = rows.float()
        ones = values.new_full((1,), values.numel() / values.shape[1])
        total = _sum_of_all(torch.cat([values.sum(dim=(0, 2, 3)), ones]))
        count = total[-1]
        mean = total[:-1] / count
        centred = values - mean[:, None, None]
        variance = _sum_of_all((centred**2).sum(dim=(0, 2, 3))) / count
        self._update(mean.detach(), (variance * count / (count - 1.0)).detach())
        normalised = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        return (normalised * self.weight[:, None, None] + self.bias[:, None, None]).to(rows.dtype)

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def _sum_of_all(values: Tensor) -> Tensor:
    summed: Tensor = all_reduce(values)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return summed


def share_batch_norms(module: nn.Module, process_group: ProcessGroup, chunk: int) -> None:
    """Let the batch norms of a module that is trained see the whole batch; in place, nothing for one process.

    Args:
        chunk: rows embedded at a time; 0: all.

    Raises:
        UserError: there are batch norms, and the batch is to be embedded in chunks.
    """
    found = [
        (parent, name)
        for parent in module.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.BatchNorm2d)
    ]
    if found and chunk:
        raise UserError(
            "loop.chunk: the backbone normalises over the batch, which has to be embedded at once: set loop.chunk=0, or"
            " take a backbone with layer norms, such as ConvNeXt"
        )
    for parent, name in found if process_group.size > 1 else ():
        old = getattr(parent, name)
        new = BatchNormOfAll(old.num_features, old.eps, old.momentum)
        new.load_state_dict(old.state_dict())
        setattr(parent, name, new.to(old.weight.device))


def join_process_group(device: str) -> ProcessGroup:
    """Join the process group described by the environment variables that `torchrun` sets.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`; `auto` takes a GPU where there is one.

    Raises:
        UserError: a GPU is asked for and there is none.
    """
    size, local_rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    chosen = pick_device(device, local_rank)
    if size == 1:
        return ProcessGroup(chosen)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return ProcessGroup(chosen, dist.get_rank(), dist.get_world_size())


def pick_device(device: str, local_rank: int = 0) -> torch.device:
    """The torch device for a configured name.

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
