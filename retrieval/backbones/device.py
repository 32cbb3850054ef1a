"""The device networks run on, and their precision."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple

import torch

from core.errors import UserError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Compute(NamedTuple):
    """A device and the precision of its arithmetic; weights stay in single precision."""

    device: torch.device
    dtype: torch.dtype

    def autocast(self) -> AbstractContextManager[None]:
        """Half-precision arithmetic, unless `dtype` is float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32)


def compute_on(device: str = "auto", precision: str = "float32") -> Compute:
    """The device and precision of these names.

    Args:
        device: cpu, cuda, cuda:1, mps, or auto, which takes a GPU where there is one.
        precision: float32, bfloat16 or float16.

    Raises:
        UserError: an unknown name, or a device that is not there.
    """
    if precision not in PRECISIONS:
        raise UserError(f"no precision {precision!r}: use one of {', '.join(PRECISIONS)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        # torch reports a missing CUDA build by an assertion.
        raise UserError(f"cannot compute on {device!r} ({str(error).splitlines()[0]}): use cpu or auto") from error
    return Compute(found, PRECISIONS[precision])


def use_threads(threads: int | None) -> None:
    """Let torch use so many CPU threads in this process; None leaves it as it is."""
    if threads is not None:
        torch.set_num_threads(threads)
