"""Gradient caching, the average of weights, the schedule and the order of photos."""

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

import numpy as np  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from retrieval.training.data.loading import StepSampler, epoch_order  # noqa: E402
from retrieval.training.distributed import ProcessGroup  # noqa: E402
from retrieval.training.ema import WeightEma  # noqa: E402
from retrieval.training.gradient_cache import GradientStep, Part, StepResult, Tensors, split_into_parts  # noqa: E402
from retrieval.training.losses import QUEUE, BatchLabels, Objective, ObjectiveConfig  # noqa: E402
from retrieval.training.trainer import learning_rate_factor  # noqa: E402

CPU = ProcessGroup(torch.device("cpu"))
ROWS, QUEUED = 12, 7


class TwoTowers(nn.Module):
    """Two linear towers; with dropout, so that a chunk embedded twice must drop the same units."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.image = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 8))
        self.location = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 8))

    def embed(self, part: Part) -> dict[str, Tensor]:
        if part.kind == QUEUE:
            return {"queue": self._unit(self.location(part.tensors["positions"]))}
        gps = self._unit(self.location(part.tensors["positions"]))
        return {"image": self._unit(self.image(part.tensors["pixels"])), "gps": gps}

    @staticmethod
    def _unit(vectors: Tensor) -> Tensor:
        return nn.functional.normalize(vectors, dim=1)


def gradients(chunk: int, dropout: float = 0.0) -> tuple[StepResult, dict[str, Tensor]]:
    towers, generator = TwoTowers(dropout), torch.Generator().manual_seed(1)
    objective = Objective(ObjectiveConfig(pairs={"image-gps": 1.0}, ignore_within_km=200.0))
    positions = torch.rand(ROWS, 2, generator=generator) * 20.0
    queue = torch.rand(QUEUED, 2, generator=generator) * 20.0
    photos = {"pixels": torch.randn(ROWS, 5, generator=generator), "positions": positions}

    def loss(embeddings: Tensors, labels: Tensors) -> dict[str, Tensor]:
        return dict(objective(embeddings, BatchLabels(labels["positions"], queue)))

    step = GradientStep(towers.embed, loss, objective, CPU)
    parts = split_into_parts("photos", photos, chunk) + split_into_parts(QUEUE, {"positions": queue}, chunk)
    result = step(parts, {"positions": positions}, seed=3)
    named = [*towers.named_parameters(), *objective.named_parameters()]
    return result, {name: one.grad for name, one in named if one.grad is not None}


@pytest.mark.parametrize("chunk", [1, 5, 6])
def test_gradient_caching_equals_the_large_batch(chunk: int) -> None:
    (whole, wanted), (chunked, found) = gradients(0), gradients(chunk)
    assert chunked.photos == ROWS
    assert chunked.terms == pytest.approx(whole.terms, rel=1e-6)
    assert found.keys() == wanted.keys()
    assert len(wanted) == 9
    for name, one in wanted.items():
        assert float(one.abs().max()) > 0, name
        torch.testing.assert_close(found[name], one, atol=1e-6, rtol=1e-4, msg=name)


def test_a_chunk_drops_the_same_units_both_times() -> None:
    """If it did not, the gradient of the second pass would not be that of the loss of the first."""
    towers = TwoTowers(dropout=0.5)
    seen: list[Tensor] = []

    def embed(part: Part) -> dict[str, Tensor]:
        found = towers.embed(part)
        seen.append(found["image"].detach())
        return found

    photos = {"pixels": torch.randn(4, 5), "positions": torch.rand(4, 2)}
    step = GradientStep(embed, lambda e, _: {"all": e["image"].sum()}, nn.Module(), CPU)
    step(split_into_parts("photos", photos, 2), {"rows": torch.arange(4)}, seed=1)
    assert len(seen) == 4
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])


def test_the_moving_average_follows_the_weights_and_leaves_them_as_they_were() -> None:
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(0.0)
    ema = WeightEma(module, decay=0.5)
    for _ in range(5):
        module.weight.data.fill_(1.0)
        ema.update()
    with ema.in_place():
        assert float(module.weight.detach()) == pytest.approx(1 - 1 / 10 * 2 / 11 * 3 / 12 * 4 / 13 * 5 / 14, abs=1e-6)
    assert float(module.weight.detach()) == 1.0


def test_frozen_weights_are_neither_averaged_nor_kept() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False))
    assert set(WeightEma(module, 0.9).averages) == {"0.weight", "0.bias"}


def test_the_learning_rate_warms_up_and_falls_as_a_cosine() -> None:
    rates = [learning_rate_factor(step, 100, 10, "cosine") for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.505, abs=0.01)
    assert rates[99] < 0.02
    assert learning_rate_factor(99, 100, 10, "constant") == 1.0


@pytest.mark.parametrize("window", [0, 4])
def test_an_epoch_sees_every_photo_once_and_each_epoch_in_another_order(window: int) -> None:
    places = np.random.default_rng(0).permutation(100)
    first, again, second = (epoch_order(places, 5, epoch, window) for epoch in (0, 0, 1))
    assert sorted(first) == list(range(100))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


def test_a_window_reads_neighbours_together() -> None:
    places = np.arange(4096)
    order = epoch_order(places, 0, 0, window=64)
    # 16 runs of 64 neighbours are mixed: what is read within one group lies in 16 stretches of the disk.
    assert len(np.unique(order[:1024] // 64)) == 16


def test_processes_share_a_batch_and_a_resumed_run_sees_the_same_rows() -> None:
    places = np.arange(50)
    pair = [ProcessGroup(torch.device("cpu"), rank, 2) for rank in range(2)]
    whole = [StepSampler(places, 8, 1).rows(step, CPU) for step in (0, 5, 6, 7)]
    shared = [np.concatenate([StepSampler(places, 8, 1).rows(step, one) for one in pair]) for step in (0, 5, 6, 7)]
    assert all(np.array_equal(one, two) for one, two in zip(whole, shared, strict=True))
