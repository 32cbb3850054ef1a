"""A running average of the weights, and the schedule of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn


class WeightEma:
    """Exponential moving average of a module's trained weights (Polyak; its memory grows with the run).

    Only parameters that are trained and buffers are held, so a frozen backbone costs nothing.

    Args:
        module: whose weights.
        decay: of each update once the run is long; 0 switches it off.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self.decay, self.updates = module, decay, 0
        self.held = {name: one.detach().clone() for name, one in trained_tensors(module).items()} if decay else {}

    def update(self) -> None:
        """Move towards the present weights; the first ones are soon forgotten."""
        decay = min(self.decay, (1.0 + self.updates) / (10.0 + self.updates))
        self.updates += 1
        for name, now in trained_tensors(self._module).items() if self.held else ():
            if now.is_floating_point():
                self.held[name].lerp_(now, 1.0 - decay)
            else:
                self.held[name].copy_(now)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within this, the module has the averaged weights."""
        now = {name: one.clone() for name, one in trained_tensors(self._module).items()} if self.held else {}
        _copy(self._module, self.held)
        try:
            yield
        finally:
            _copy(self._module, now)

    def state(self) -> dict[str, object]:
        """For a checkpoint."""
        return {"held": self.held, "updates": self.updates}

    def load(self, held: dict[str, Tensor], updates: int) -> None:
        """From a checkpoint."""
        for name, one in held.items():
            self.held[name].copy_(one)
        self.updates = updates


def trained_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Data of the parameters that are trained, and buffers that are kept, by name."""
    kept = module.state_dict(keep_vars=True)
    return {name: one.data for name, one in kept.items() if not isinstance(one, nn.Parameter) or one.requires_grad}


@torch.no_grad()
def _copy(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    now = trained_tensors(module)
    for name, one in tensors.items():
        now[name].copy_(one)


def learning_rate_factor(
    step: int, steps: int, warm_up: int, shape: Literal["cosine", "constant"], last: float = 0.01
) -> float:
    """The share of the full learning rate at a step: linear warm-up, then half a cosine down to `last`.

    A function of the step alone, so that a resumed run needs no state for it.
    """
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    if shape == "constant":
        return 1.0
    done = (step - warm_up) / max(1, steps - warm_up)
    return last + (1.0 - last) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
