"""Every term of the objective against a plainly written loop."""

import math

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

from pydantic import ValidationError  # noqa: E402
from torch import Tensor  # noqa: E402

from geo.sphere import distance_km  # noqa: E402
from retrieval.training.losses import (  # noqa: E402
    BatchLabels,
    Objective,
    ObjectiveConfig,
    geographic_targets,
    info_nce,
    pairwise_km,
    relational_loss,
    triplet_loss,
)

PLACES = [(48.8566, 2.3522), (48.8570, 2.3530), (-33.87, 151.21), (0.0, 0.0), (48.80, 2.30)]
"""The first two are 70 m apart, the last is 7 km from them."""
TEXTS = ["Paris, France", "Paris, France", "Sydney, Australia", "at sea", "Paris, France"]


def unit(rows: int, seed: int, columns: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    vectors: Tensor = torch.nn.functional.normalize(torch.randn(rows, columns, generator=generator), dim=1)
    return vectors


def embeddings(queue: int = 3) -> dict[str, Tensor]:
    names = ("image", "semantic", "fused", "text", "gps", "teacher")
    return {name: unit(5, seed) for seed, name in enumerate(names)} | {"queue": unit(queue, 9)}


def rows(queue: list[tuple[float, float]]) -> BatchLabels:
    ids = torch.tensor([TEXTS.index(text) for text in TEXTS])
    return BatchLabels(torch.tensor(PLACES), torch.tensor(queue).reshape(-1, 2), ids)


def km(a: tuple[float, float], b: tuple[float, float]) -> float:
    lat1, lon1, lat2, lon2 = map(math.radians, (*a, *b))
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * 6371.0088 * math.asin(math.sqrt(half))


def plain_info_nce(
    anchors: Tensor, others: Tensor, targets: dict[int, dict[int, float]], skip: set[tuple[int, int]]
) -> float:
    """Cross-entropy written out: `targets[i][j]` is the target of i for j, pairs in `skip` are excluded."""
    total = 0.0
    for i in range(len(anchors)):
        logits = {j: float(anchors[i] @ others[j]) / 0.07 for j in range(len(others)) if (i, j) not in skip}
        log_sum = math.log(sum(math.exp(logit) for logit in logits.values()))
        total -= sum(share * (logits[j] - log_sum) for j, share in targets[i].items())
    return total / len(anchors)


ONE_HOT = {i: {i: 1.0} for i in range(5)}
BY_TEXT = {i: {j: 1 / TEXTS.count(TEXTS[i]) for j in range(5) if TEXTS[i] == TEXTS[j]} for i in range(5)}
NEAR = {(i, j) for i in range(5) for j in range(5) if i != j and km(PLACES[i], PLACES[j]) < 0.3}


def plain(first: str, second: str, targets: dict[int, dict[int, float]], skip: set[tuple[int, int]]) -> float:
    given = embeddings()
    forth = plain_info_nce(given[first], given[second], targets, skip)
    return 0.5 * (forth + plain_info_nce(given[second], given[first], targets, skip))


def test_dual_view_terms_equal_a_plain_loop() -> None:
    found = Objective(ObjectiveConfig(pairs={"image-gps": 1.0, "semantic-gps": 0.5}))(embeddings(), rows([]))
    assert set(found) == {"image-gps", "semantic-gps"}
    assert float(found["image-gps"]) == pytest.approx(plain("image", "gps", ONE_HOT, set()), rel=1e-5)
    assert float(found["semantic-gps"]) == pytest.approx(0.5 * plain("semantic", "gps", ONE_HOT, set()), rel=1e-5)


def test_neighbours_are_not_negatives() -> None:
    assert len(NEAR) == 2
    config = ObjectiveConfig(pairs={"fused-gps": 1.0}, ignore_within_km=0.3)
    found = Objective(config)(embeddings(), rows([]))["fused-gps"]
    assert float(found) == pytest.approx(plain("fused", "gps", ONE_HOT, NEAR), rel=1e-5)
    assert float(found) < plain("fused", "gps", ONE_HOT, set())


def test_the_queue_adds_negatives_to_one_direction_and_drops_those_nearby() -> None:
    queue = [(10.0, 10.0), (48.8567, 2.3523), (80.0, 0.0)]  # the second is beside the first two photos
    config = ObjectiveConfig(pairs={"image-gps": 1.0}, ignore_within_km=0.3, both_ways=False)
    given = embeddings()
    found = Objective(config)(given, rows(queue))["image-gps"]
    skip = NEAR | {(0, 6), (1, 6)}
    wanted = plain_info_nce(given["image"], torch.cat([given["gps"], given["queue"]]), ONE_HOT, skip)
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_soft_targets_equal_a_plain_loop() -> None:
    weights = {i: {j: math.exp(-km(PLACES[i], PLACES[j]) / 50.0) for j in range(5)} for i in range(5)}
    targets = {i: {j: w / sum(row.values()) for j, w in row.items()} for i, row in weights.items()}
    found = Objective(ObjectiveConfig(pairs={"image-gps": 1.0}, soft_targets_km=50.0))(embeddings(), rows([]))
    assert float(found["image-gps"]) == pytest.approx(plain("image", "gps", targets, set()), rel=1e-4)


def test_text_terms_take_equal_texts_as_positives() -> None:
    config = ObjectiveConfig(pairs={"image-text": 1.0, "text-gps": 1.0})
    found = Objective(config)(embeddings(), rows([]))
    assert float(found["image-text"]) == pytest.approx(plain("image", "text", BY_TEXT, set()), rel=1e-5)
    assert float(found["text-gps"]) == pytest.approx(plain("text", "gps", BY_TEXT, set()), rel=1e-5)
    strict = Objective(config.model_copy(update={"same_text_counts": False}))(embeddings(), rows([]))
    assert float(strict["image-text"]) == pytest.approx(plain("image", "text", ONE_HOT, set()), rel=1e-5)


def test_triplet_equals_a_plain_loop() -> None:
    given, total = embeddings(), 0.0
    for i in range(5):
        hardest = max(float(given["text"][i] @ given["image"][j]) for j in range(5) if TEXTS[j] != TEXTS[i])
        total += max(0.0, 0.5 + hardest - float(given["text"][i] @ given["gps"][i])) / 5
    config = ObjectiveConfig.model_validate({"pairs": {"image-gps": 1.0}, "triplet": {}})
    assert float(Objective(config)(given, rows([]))["triplet"]) == pytest.approx(0.5 * total, rel=1e-5)


def test_a_text_that_all_photos_share_has_no_negative() -> None:
    everything = torch.ones(3, 3, dtype=torch.bool)
    assert float(triplet_loss(unit(3, 0), unit(3, 1), unit(3, 2), 0.5, everything)) == 0.0


def test_info_nce_is_small_only_for_the_right_pairs() -> None:
    vectors, one_hot = torch.eye(3), torch.eye(3)
    assert float(info_nce(vectors, vectors, one_hot, 0.1)) < 0.001
    assert float(info_nce(vectors, vectors.roll(1, 0), one_hot, 0.1)) > 9.0


def test_relational_loss_equals_a_plain_loop() -> None:
    student, teacher, total = unit(3, 2, columns=4), unit(3, 3, columns=5), 0.0
    for i in range(3):
        others = [j for j in range(3) if j != i]
        wanted = torch.softmax(torch.stack([teacher[i] @ teacher[j] / 0.1 for j in others]), dim=0)
        found = torch.softmax(torch.stack([student[i] @ student[j] / 0.1 for j in others]), dim=0)
        total += float((wanted * (wanted / found).log()).sum()) / 3
    assert float(relational_loss(student, teacher)) == pytest.approx(total, rel=1e-4)


def test_pairwise_km_agrees_with_geo_sphere() -> None:
    places = torch.tensor([[48.86, 2.35], [48.86, 2.351], [-33.87, 151.21], [0.0, 180.0]])
    expected = distance_km(places.numpy()[:, None], places.numpy()[None])
    torch.testing.assert_close(pairwise_km(places, places), torch.from_numpy(expected).float(), atol=0.01, rtol=1e-5)


def test_soft_targets_prefer_the_near_place_and_share_between_equals() -> None:
    photo = torch.tensor([[0.0, 179.9]])
    places = torch.tensor([[0.0, -179.9], [0.0, 179.7], [0.0, 0.0]])
    targets = geographic_targets(photo, places, softness_km=200.0)[0]
    assert float(targets.sum()) == pytest.approx(1.0)
    assert float(targets[0]) == pytest.approx(float(targets[1]), rel=0.01)
    assert float(targets[2]) < 1e-9


def test_the_relational_term_is_zero_for_the_teacher_itself() -> None:
    given = embeddings()
    objective = Objective(ObjectiveConfig(pairs={"image-gps": 1.0}, relation={"image": 2.0}))
    assert float(objective(given, rows([]))["relation-image"]) > 0.01
    same = objective(given | {"teacher": given["image"]}, rows([]))
    assert float(same["relation-image"]) == pytest.approx(0.0, abs=1e-6)


def test_gradients_reach_every_view_and_the_temperatures() -> None:
    config = ObjectiveConfig.model_validate(
        {"pairs": {"image-gps": 1, "semantic-gps": 1, "image-text": 1}, "triplet": {}, "ignore_within_km": 0.3}
    )
    given = {name: vectors.requires_grad_() for name, vectors in embeddings().items()}
    objective = Objective(config)
    sum(objective(given, rows([(1.0, 1.0)] * 3)).values()).backward()
    for name in ("image", "semantic", "text", "gps", "queue"):
        gradient = given[name].grad
        assert gradient is not None, name
        assert torch.isfinite(gradient).all(), name
        assert float(gradient.abs().max()) > 0, name
    assert all(scale.grad is not None for scale in objective.parameters())
    assert objective.config.views == {"image", "semantic", "text", "gps"}


def test_temperatures_stay_within_their_limits() -> None:
    objective = Objective(ObjectiveConfig(shared_temperature=True))
    objective.log_temperatures["all"].data.fill_(-20.0)
    assert float(objective.temperature("image-gps")) == pytest.approx(0.01)


@pytest.mark.parametrize("pairs", [{"image-gsp": 1.0}, {"image": 1.0}, {"gps-gps": 1.0}, {"image-gps": 0.0}])
def test_wrong_pairs_are_refused(pairs: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="pair"):
        ObjectiveConfig(pairs=pairs)


def test_an_excluded_pair_gives_no_nan() -> None:
    excluded = torch.tensor([[False, True], [True, False]])
    assert float(info_nce(unit(2, 0), unit(2, 1), torch.eye(2), 0.07, excluded)) == pytest.approx(0.0, abs=1e-6)
