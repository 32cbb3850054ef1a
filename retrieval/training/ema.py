"""Exponential moving average of the trained weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightEma:
    """Exponential moving average of a module's trained weights (Polyak and Juditsky 1992), with warm-up of the decay.

    Holds trained parameters and buffers only, so a frozen backbone needs no second copy
    (`torch.optim.swa_utils.AveragedModel` copies the whole module).

    Args:
        decay: of each update once the run is long; 0 switches the average off.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self.decay, self.updates = module, decay, 0
        trained = trained_tensors(module) if decay else {}
        self.averages = {name: tensor.detach().clone() for name, tensor in trained.items()}

    def update(self) -> None:
        """Move towards the present weights; the decay starts small, so that the initial weights are soon forgotten."""
        decay = min(self.decay, (1.0 + self.updates) / (10.0 + self.updates))
        self.updates += 1
        for name, tensor in trained_tensors(self._module).items() if self.averages else ():
            if tensor.is_floating_point():
                self.averages[name].lerp_(tensor, 1.0 - decay)
            else:
                self.averages[name].copy_(tensor)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within this, the module has the averaged weights."""
        trained = trained_tensors(self._module) if self.averages else {}
        current = {name: tensor.clone() for name, tensor in trained.items()}
        copy_tensors(self.averages, trained)
        try:
            yield
        finally:
            copy_tensors(current, trained)

    def state(self) -> dict[str, object]:
        """For a checkpoint."""
        return {"held": self.averages, "updates": self.updates}

    def load(self, held: dict[str, Tensor], updates: int) -> None:
        """From a checkpoint."""
        copy_tensors(held, self.averages)
        self.updates = updates


def trained_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Data of the parameters that are trained, and buffers that are kept, by name."""
    state = module.state_dict(keep_vars=True)
    return {
        name: tensor.data
        for name, tensor in state.items()
        if not isinstance(tensor, nn.Parameter) or tensor.requires_grad
    }


@torch.no_grad()
def copy_tensors(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    """Copy each tensor of `source` into the one of the same name in `target`."""
    for name, tensor in source.items():
        target[name].copy_(tensor)
