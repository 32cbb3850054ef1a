from pathlib import Path

import pytest
from pydantic import ValidationError

from belief.decision import Aim
from belief.kernels import SCALES_KM
from belief.parameters import default_parameters
from belief.records import ANY, RADIUS_FACTORS, WIDE_SCALES_KM, Record, Records, load_records
from core.errors import UserError

STATED = (0.1,) * (len(RADIUS_FACTORS) + len(WIDE_SCALES_KM) + 1)
POOLED = Record(shares=(0.1, 0.1, 0.1, 0.1, 0.1, 0.5), stated=STATED)
SHARP = Record(shares=(0.5, 0.1, 0.1, 0.1, 0.1, 0.1))


@pytest.mark.parametrize(
    "shares",
    [(1.0,), (0.5,) * 6, (-0.1, 0.3, 0.2, 0.2, 0.2, 0.2), (0.0,) * 6, (float("nan"),) * 6],
)
def test_shares_that_are_no_distribution_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        Record(shares=shares)
    with pytest.raises(ValidationError):
        Record(shares=SHARP.shares, stated=shares)


def test_the_longest_part_of_the_name_and_then_its_strategy_counts() -> None:
    names = ("gpt-", "gpt-4.1", "gpt-4.1@rag", "gpt-4.1-mini")
    records = Records(models={ANY: POOLED, **dict.fromkeys(names, SHARP)})
    asked = [("openai:gpt-4.1-mini", "rag"), ("gpt-4.1", "rag"), ("gpt-4.1", "refine"), ("gpt-5", ""), ("llava", "rag")]
    found = [records.name_of(*one) for one in asked]
    assert found == ["gpt-4.1-mini", "gpt-4.1@rag", "gpt-4.1", "gpt-", ANY]


def test_without_a_pooled_record_for_stated_radii_records_are_refused() -> None:
    for models in ({}, {"gpt-4.1": SHARP}, {ANY: SHARP}):
        with pytest.raises(ValidationError):
            Records(models=models)


def test_stated_shares_are_the_own_ones_or_the_pooled_ones() -> None:
    records = Records(models={ANY: POOLED})
    assert records.stated_of(SHARP) == STATED
    own = tuple(reversed((0.55, *(0.05,) * 9)))
    assert records.stated_of(SHARP.model_copy(update={"stated": own})) == own


def test_a_model_without_a_record_can_be_weighed_like_a_known_one() -> None:
    records = Records(models={ANY: POOLED, "sharp": SHARP})
    assert records.of("new-model").shares == POOLED.shares
    like = records.like("sharp")
    assert like.of("new-model").shares == like.of("sharp").shares == SHARP.shares
    assert like.stated_of(like.of("new-model")) == STATED
    with pytest.raises(UserError, match="choose one of sharp"):
        records.like("blunt")


def test_records_are_read_from_a_file(tmp_path: Path) -> None:
    records = Records(models={ANY: POOLED, "mine": SHARP})
    path = tmp_path / "records.json"
    path.write_text(records.model_dump_json())
    assert load_records(path) == records
    path.write_text("{}")
    with pytest.raises(UserError):
        load_records(path)
    with pytest.raises(UserError):
        load_records(tmp_path / "none.json")


def test_packaged_parameters_are_complete() -> None:
    parameters = default_parameters()
    assert sum(parameters.prior_shares.values()) == pytest.approx(1.0, abs=1e-3)
    agreement = parameters.agreement
    assert agreement.independent + agreement.alike + agreement.one + agreement.none == pytest.approx(1.0, abs=1e-3)
    assert set(parameters.utility) <= set(Aim)
    for record in (*parameters.records.models.values(), parameters.place_name):
        assert record.source
        assert len(record.shares) == len(SCALES_KM) + 1
    for name, record in parameters.records.models.items():
        # No witness is certain: what it says may have nothing to do with the photo.
        assert record.shares[-1] > 0.0, name
