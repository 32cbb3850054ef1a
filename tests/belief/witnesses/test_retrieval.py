import numpy as np
import pytest

from belief.parameters import Parameters, RetrievalRecord, default_parameters
from belief.support import make_support
from belief.witnesses.retrieval import PINNED, candidate_weights, pinned, retrieval_log_ratio
from geo.point import Point
from retrieval.candidate import AtlasKind, Candidate
from tests.belief.beliefs import LISBON, PARIS, TOKYO, record

ENCODER = "compact"


def candidate(at: tuple[float, float], similarity: float, rank: int, kind: AtlasKind = AtlasKind.PHOTO) -> Candidate:
    point = Point(lat=at[0], lon=at[1])
    return Candidate(point=point, similarity=similarity, atlas="a", kind=kind, item_id=str(rank), rank=rank)


def with_record(**shares: float) -> Parameters:
    own = RetrievalRecord(temperature=0.1, record=record(**shares))
    return default_parameters().model_copy(update={"retrieval": {kind.value: own for kind in AtlasKind}})


def test_weights_follow_similarity_within_a_kind_and_kinds_count_alike() -> None:
    found = [
        candidate(PARIS, 0.9, 0),
        candidate(TOKYO, 0.8, 1),
        candidate(LISBON, 0.1, 0, AtlasKind.GPS),
    ]
    weights = candidate_weights(found, with_record(s25=0.5), ENCODER)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[2] == pytest.approx(0.5)
    assert weights[0] > weights[1]
    assert candidate_weights([], with_record(s25=0.5), ENCODER).tolist() == []


def test_a_ratio_is_one_on_average_and_highest_at_the_most_similar() -> None:
    found = [candidate(PARIS, 0.9, 0), candidate(TOKYO, 0.6, 1)]
    support = make_support(pinned(found))
    nats = retrieval_log_ratio(support, found, with_record(s25=0.5), ENCODER)
    assert support.prior_mass @ np.exp(nats) == pytest.approx(1.0)
    paris, tokyo = (int(support.distance_km(at)[:, 0].argmin()) for at in (PARIS, TOKYO))
    assert nats[paris] > nats[tokyo] > nats.min()
    assert nats.min() == pytest.approx(np.log(0.5), abs=0.01)


def test_retrieval_that_has_been_worth_nothing_says_nothing_and_no_candidate_neither() -> None:
    support = make_support()
    found = [candidate(PARIS, 0.9, 0)]
    assert retrieval_log_ratio(support, found, with_record(), ENCODER) == pytest.approx(0.0)
    assert retrieval_log_ratio(support, [], with_record(s25=0.5), ENCODER) == pytest.approx(0.0)


def test_the_record_of_the_encoder_comes_before_that_of_any() -> None:
    own = RetrievalRecord(temperature=0.5, record=record(s25=1.0))
    parameters = with_record(s25=0.1)
    parameters = parameters.model_copy(update={"retrieval": {**parameters.retrieval, "photo@clip": own}})
    assert parameters.retrieval_of(AtlasKind.PHOTO, "clip") is own
    assert parameters.retrieval_of(AtlasKind.PHOTO, ENCODER).temperature == 0.1


def test_the_best_of_each_kind_are_pinned() -> None:
    found = [candidate((k, 0.0), 0.5, k) for k in range(9)] + [
        candidate((k, 90.0), 0.5, k, AtlasKind.GPS) for k in (1, 0)
    ]
    at = pinned(found)
    assert len(at) == PINNED + 2
    assert [lat for lat, lon in at if lon == 0.0] == list(range(PINNED))
