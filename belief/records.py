"""Records: how far from the truth what a witness reports has been, as shares of distance kernels.

The record of a chat model is fitted by expectation-maximisation on photos whose place is known, where the model had
answered (`python -m evals.fit_belief`, `python -m evals.model_record` for your own models). A model without a record
of its own gets that of its family, or a pooled and more cautious one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, FiniteFloat, model_validator

from belief.kernels import SCALES_KM
from core.errors import UserError
from core.files import read_model
from core.frozen import Frozen

RADIUS_FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Scales of the kernels around a place with a stated radius, in units of it."""

WIDE_SCALES_KM = SCALES_KM[2:]
"""Kernels in km beside those: 25, 150 and 800 km."""

LEAST_SCALE_KM = 0.05
ANY = "any"

Shares = tuple[FiniteFloat, ...]


class Record(Frozen):
    """Shares of the kernels around the places that a witness reports, the last one "anywhere"; they sum to 1."""

    shares: Shares = Field(description="of kernels of 0.3, 3, 25, 150 and 800 km, and of anywhere")
    stated: Shares | None = Field(
        None,
        description="where it states a radius: of kernels of 0.1, 0.3, 1, 3, 10 and 30 times that, of 25, 150 and"
        " 800 km, and of anywhere; None: not measured, the pooled ones are used",
    )
    photos: int = Field(0, ge=0, description="photos it was asked about")
    answered: int = Field(0, ge=0, description="of these, how many it gave a place for")
    worth_nats: float = Field(
        0.0, description="what its reports added to the log density at the truth, on average: its weight in a jury"
    )
    source: str = Field("", description="where these numbers come from: date, prompt, photos, or published accuracies")
    judgement_accuracy: float | None = Field(
        None, gt=0.0, lt=1.0, description="balanced accuracy of saying that a tool's result fits a place; None: unknown"
    )
    judgement_correlation: float | None = Field(
        None, ge=0.0, le=1.0, description="of its errors in several judgements of one place; None: unknown"
    )

    @model_validator(mode="after")
    def _is_distribution(self) -> Self:
        for name, shares, length in (
            ("shares", self.shares, len(SCALES_KM) + 1),
            ("stated", self.stated, len(RADIUS_FACTORS) + len(WIDE_SCALES_KM) + 1),
        ):
            if shares is None:
                continue
            if len(shares) != length or min(shares) < 0.0 or abs(sum(shares) - 1.0) > 1e-4:
                raise ValueError(f"{name} must be {length} shares that sum to 1")
        return self


class Agreement(Frozen):
    """How several models that report on one photo err together; the four shares sum to 1."""

    independent: float = Field(ge=0.0, le=1.0, description="share: each errs by itself")
    alike: float = Field(ge=0.0, le=1.0, description="share: they err alike, by `correlation`")
    one: float = Field(ge=0.0, le=1.0, description="share: only one of them is right")
    none: float = Field(gt=0.0, le=1.0, description="share: none says anything")
    correlation: float = Field(ge=0.0, le=1.0, description="of errors that are alike")


class Records(Frozen):
    """Records of chat models by a part of their name, with or without a strategy: `gpt-4.1`, `gpt-4.1@rag`."""

    models: dict[str, Record]

    @model_validator(mode="after")
    def _has_any(self) -> Self:
        if ANY not in self.models or self.models[ANY].stated is None:
            raise ValueError(f"a record for models without one of their own is missing: {ANY!r}, with `stated`")
        return self

    def of(self, model: str, strategy: str = "") -> Record:
        """The record of the model whose name holds the longest known part, for this strategy if there is one.

        >>> own = Record(shares=(0.2, 0.2, 0.2, 0.2, 0.1, 0.1))
        >>> pooled = Record(shares=(0.1, 0.1, 0.1, 0.1, 0.1, 0.5), stated=(0.1,) * 10)
        >>> records = Records(models={"gpt-4.1": own, "any": pooled})
        >>> records.of("openai:gpt-4.1-mini") is own, records.of("llava").shares[-1]
        (True, 0.5)
        """
        return self.models[self.name_of(model, strategy)]

    def name_of(self, model: str, strategy: str = "") -> str:
        """The name under which a model's record is found; `any` if it has none of its own."""
        split = {name: name.partition("@")[::2] for name in self.models}
        fits = [name for name, (part, only) in split.items() if part in model and only in ("", strategy)]
        return max(fits, key=lambda name: (len(split[name][0]), split[name][1]), default=ANY)

    def like(self, name: str) -> Self:
        """These records with that of a known model for all that have none of their own.

        Raises:
            UserError: no such record; the message lists them.
        """
        if name not in self.models:
            known = ", ".join(sorted(self.models.keys() - {ANY}))
            raise UserError(f"no record is called {name!r}: choose one of {known}")
        record = self.models[name]
        other = record.model_copy(update={"stated": self.stated_of(record)})
        return self.model_copy(update={"models": {**self.models, ANY: other}})

    def stated_of(self, record: Record) -> Shares:
        """Shares of a record for places with a stated radius; the pooled ones where it has none."""
        pooled = self.models[ANY].stated
        if record.stated is not None:
            return record.stated
        if pooled is None:
            raise ValueError("the pooled record states no radius")
        return pooled


def load_records(path: Path) -> Records:
    """Records from a file, such as `python -m evals.model_record` writes.

    Raises:
        UserError: no such file, or not records.
    """
    return read_model(path, Records, "file of model records", "make it with `python -m evals.model_record`")
