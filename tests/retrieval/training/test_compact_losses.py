import math

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

from torch import Tensor  # noqa: E402

from geo.sphere import distance_km  # noqa: E402
from retrieval.training.compact import losses  # noqa: E402


def unit(rows: int, columns: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    vectors: Tensor = torch.nn.functional.normalize(torch.randn(rows, columns, generator=generator), dim=1)
    return vectors


def test_contrast_equals_a_plain_loop() -> None:
    anchors, others = unit(2, 3, 0), unit(4, 3, 1)
    targets = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.0, 0.0, 1.0, 0.0]])
    total = 0.0
    for i in range(2):
        logits = [float(anchors[i] @ others[j]) / 0.1 for j in range(4)]
        log_sum = math.log(sum(math.exp(logit) for logit in logits))
        total -= sum(float(targets[i, j]) * (logits[j] - log_sum) for j in range(4)) / 2
    assert float(losses.contrast(anchors, others, targets, torch.tensor(0.1))) == pytest.approx(total, rel=1e-5)


def test_contrast_is_small_only_for_the_right_pairs() -> None:
    vectors, one_hot = torch.eye(3), torch.eye(3)
    assert float(losses.contrast(vectors, vectors, one_hot, torch.tensor(0.1))) < 0.001
    assert float(losses.contrast(vectors, vectors.roll(1, 0), one_hot, torch.tensor(0.1))) > 9.0


def test_relation_equals_a_plain_loop_and_is_zero_for_the_teacher_itself() -> None:
    student, teacher = unit(3, 4, 2), unit(3, 5, 3)
    total = 0.0
    for i in range(3):
        others = [j for j in range(3) if j != i]
        wanted = torch.softmax(torch.stack([teacher[i] @ teacher[j] / 0.1 for j in others]), dim=0)
        found = torch.softmax(torch.stack([student[i] @ student[j] / 0.1 for j in others]), dim=0)
        total += float((wanted * (wanted / found).log()).sum()) / 3
    assert float(losses.relation(student, teacher)) == pytest.approx(total, rel=1e-4)
    assert float(losses.relation(teacher, teacher)) == pytest.approx(0.0, abs=1e-6)


def test_pairwise_km_agrees_with_the_geo_floor() -> None:
    places = torch.tensor([[48.86, 2.35], [48.86, 2.351], [-33.87, 151.21], [0.0, 180.0]])
    expected = distance_km(places.numpy()[:, None], places.numpy()[None])
    torch.testing.assert_close(
        losses.pairwise_km(places, places), torch.from_numpy(expected).float(), atol=0.01, rtol=1e-5
    )


def test_targets_prefer_the_near_place_and_share_between_equals() -> None:
    photo = torch.tensor([[0.0, 179.9]])
    places = torch.tensor([[0.0, -179.9], [0.0, 179.7], [0.0, 0.0]])
    targets = losses.geographic_targets(photo, places, softness_km=200.0)[0]
    assert float(targets.sum()) == pytest.approx(1.0)
    assert float(targets[0]) == pytest.approx(float(targets[1]), rel=0.01)
    assert float(targets[2]) < 1e-9


def test_segmentation_is_zero_when_right_and_positive_otherwise() -> None:
    logits = torch.randn(2, 19, 3, 3, generator=torch.Generator().manual_seed(0))
    right = torch.softmax(logits, dim=1)
    assert float(losses.segmentation(logits, right)) == pytest.approx(0.0, abs=1e-6)
    assert float(losses.segmentation(logits, right.flip(1))) > 0.1
