"""Scores of retrieval against values worked by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from evals.scores.retrieval import (
    NO_LANDMARK,
    Queries,
    RetrievalGallery,
    average_precision,
    ranks_of,
    retrieval_table,
    retrieve,
    score_retrieval,
)


def unit(degrees: list[float]) -> np.ndarray:
    """Vectors (n, 2) at angles, so that similarity falls with the difference of angles."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


GALLERY = RetrievalGallery(
    unit([0, 10, 20, 30, 40, 50]),
    np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0], [0.0, 3.0], [0.0, 4.0], [0.0, 5.0]]),
    np.array([0, NO_LANDMARK, 1, 0, NO_LANDMARK, NO_LANDMARK]),
)


def test_ranks_precision_and_distance_worked_by_hand() -> None:
    # The first finds 0, 10, 20, 30: its own at ranks 1 and 4. The second finds 10, 0 and 20, its own at rank 3.
    queries = Queries(unit([-5, 9]), np.array([[0.0, 0.0], [0.0, 2.0]]), np.array([0, 1]))
    found = retrieve(queries, GALLERY)
    assert found.rank.tolist() == [1.0, 3.0]
    assert found.precision.tolist() == pytest.approx([(1 / 1 + 2 / 4) / 2, 1 / 3])
    assert found.error_km.tolist() == pytest.approx([0.0, 111.195], abs=1e-2)


def test_average_precision_is_that_of_scikit_learn_and_ends_at_the_cut() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(0)
    for _ in range(50):
        similarity = rng.standard_normal(30).astype(np.float32)
        right = rng.choice(30, rng.integers(1, 5), replace=False)
        wanted = metrics.average_precision_score(np.isin(np.arange(30), right), similarity)
        assert average_precision(ranks_of(similarity, right)) == pytest.approx(wanted)
    assert average_precision(np.array([1, 1001])) == 0.5


def test_an_encoder_whose_vectors_are_alike_finds_nothing() -> None:
    alike = RetrievalGallery(unit([0] * 6), GALLERY.lat_lon_deg, GALLERY.landmark)
    queries = Queries(unit([0, 0]), np.zeros((2, 2)), np.array([0, 1]))
    assert retrieve(queries, alike).rank.tolist() == [5.0, 6.0]


def test_a_photo_without_a_vector_is_a_miss_and_stays_in_the_denominator() -> None:
    vectors = unit([0, 0])
    vectors[1] = np.nan
    queries = Queries(vectors, np.zeros((2, 2)), np.array([0, 0]))
    score = score_retrieval(queries, GALLERY, ("photo", "all"))
    assert (score.recall[1].estimate, score.recall[25].estimate, score.accuracy[2500.0].estimate) == (0.5, 0.5, 0.5)
    assert score.precision is not None
    assert score.precision.estimate == pytest.approx(0.375)
    assert score.median_km == np.inf


def test_intervals_resample_landmarks_not_photos() -> None:
    # One landmark with 99 photos that are found, one with a photo that is not: of two landmarks no interval is narrow.
    queries = Queries(unit([0.0] * 99 + [60.0]), np.zeros((100, 2)), np.array([0] * 99 + [1]))
    recall = score_retrieval(queries, GALLERY, ("photo", "all")).recall[1]
    assert recall.estimate == 0.99
    assert (recall.low, recall.high) == (0.0, 1.0)


def test_without_their_own_only_distances_are_given() -> None:
    queries = Queries(unit([20]), np.array([[0.0, 2.0]]), np.array([1]))
    score = score_retrieval(queries, GALLERY.taken(GALLERY.landmark == NO_LANDMARK), ("photo", "without"))
    assert (score.recall, score.precision) == ({}, None)
    assert score.accuracy[200.0].estimate == 1.0
    assert score.accuracy[25.0].estimate == 0.0
    (row,) = retrieval_table("t", [score]).rows
    assert row[:8] == ["photo (1)", "without (3)", "–", "–", "–", "–", "–", "0.0 (0.0–0.0)"]
