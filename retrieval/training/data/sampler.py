"""The order of photos: a function of the seed and the epoch, so that a resumed run needs no replay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval.training.distributed import ProcessGroup

RUNS_MIXED = 16
"""Runs of neighbours that are mixed with each other where photos are read in disk order."""


def epoch_order(disk_order: NDArray[np.int64], seed: int, epoch: int, window: int = 0) -> NDArray[np.int64]:
    """The rows of an epoch.

    Args:
        disk_order: int64 (n,), rank of each row on the disk.
        seed: of the run.
        epoch: counted from 0.
        window: 0: any order. Else runs of this many neighbours on the disk are shuffled, and the rows of 16 such runs
            among each other: nearly sequential reading, nearly random batches.
    """
    rng = np.random.default_rng([seed, epoch])
    if window == 0:
        return np.asarray(rng.permutation(len(disk_order)), dtype=np.int64)
    runs = np.array_split(np.argsort(disk_order, kind="stable"), max(1, -(-len(disk_order) // window)))
    mixed = [runs[i] for i in rng.permutation(len(runs))]
    groups = [np.concatenate(mixed[start : start + RUNS_MIXED]) for start in range(0, len(mixed), RUNS_MIXED)]
    return np.concatenate([rng.permutation(group) for group in groups]).astype(np.int64)


class StepSampler:
    """The rows of a process at a step.

    Args:
        disk_order: int64 (n,), rank of each row on the disk.
        batch: photos a step, of all processes; an incomplete batch at the end of an epoch is left out.
        seed: of the run.
        window: see `epoch_order`.
    """

    def __init__(self, disk_order: NDArray[np.int64], batch: int, seed: int, window: int = 0) -> None:
        self._disk_order, self.batch, self._seed, self._window = disk_order, batch, seed, window
        self.steps_per_epoch = len(disk_order) // batch
        self._epoch, self._rows = -1, np.empty(0, dtype=np.int64)

    def rows(self, step: int, process_group: ProcessGroup) -> NDArray[np.int64]:
        """This process's rows at a step counted over the whole run."""
        epoch, inside = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._rows = epoch, epoch_order(self._disk_order, self._seed, epoch, self._window)
        return self._rows[inside * self.batch : (inside + 1) * self.batch][process_group.local_slice(self.batch)]
