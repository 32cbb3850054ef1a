"""What an answer says fits together: chances and radii, status, level and confidence, the order of alternatives."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.schemas import LEVEL_KM, AnswerStatus
from tests.fakes.machine import CANDIDATES, candidates, context, run

SIGNS = st.lists(st.sampled_from(["Lisbon", "www.obchod.cz", "Praha", "Sortie"]), max_size=2, unique=True)
ROUNDED = 5e-5
"""Chances are rounded to four decimals."""
FOUND = st.lists(
    st.tuples(
        st.tuples(st.floats(-60.0, 70.0), st.floats(-179.0, 179.0)) | st.sampled_from([at for at, _ in CANDIDATES]),
        st.floats(0.05, 0.95),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(signs=SIGNS, found=FOUND, min_confidence=st.sampled_from([0.0, 0.005, 0.2, 0.9]))
def test_an_answer_does_not_contradict_itself(
    signs: list[str], found: list[tuple[tuple[float, float], float]], min_confidence: float
) -> None:
    at = context(tuple(signs), found=candidates(found), min_confidence=min_confidence)
    answer = run(at)
    chances = [answer.chance_within_km[km] for km in sorted(answer.chance_within_km)]
    assert chances == sorted(chances)
    if answer.status is not AnswerStatus.ANSWERED:
        assert answer.point is None
        return
    assert answer.point is not None
    assert answer.level is not None
    assert answer.confidence == answer.chance_within_km[int(LEVEL_KM[answer.level])]
    if answer.radius_50_km is not None and answer.radius_90_km is not None:
        assert answer.radius_50_km <= answer.radius_90_km
    assert answer.chance_within_km[at.aim.wanted_km] >= min_confidence - ROUNDED
    next_likely = answer.reasoning.partition("Next likely: ")[2].partition("Somewhere else")[0]
    likelier: set[str] = set()  # two hypotheses can have one name
    others: set[str] = set()
    for hypothesis in answer.hypotheses[1:]:
        is_likelier = hypothesis.probability > answer.hypotheses[0].probability
        (likelier if is_likelier else others).add(f"{hypothesis.name} (")
    assert not [words for words in likelier - others if words in next_likely]
    listed = [hypothesis.probability for hypothesis in answer.hypotheses[1:]]
    assert all(first >= second for first, second in itertools.pairwise(listed))
