"""Every number of the belief: `belief/parameters.json`, which `python -m evals.fit_belief` writes."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from belief.records import Agreement, Record, Records
from core.files import read_model
from core.frozen import Frozen
from geo.sphere import Floats
from retrieval.candidate import AtlasKind


class RetrievalRecord(Frozen):
    """What retrieval from one kind of atlas with one encoder is worth."""

    temperature: float = Field(gt=0.0, description="cosine differences are divided by it")
    record: Record = Field(description="how far from the truth the retrieved places lie")


class SatelliteRecord(Frozen):
    """What matching photos to satellite tiles with one encoder is worth.

    The match is read at several temperatures at once, openly (the place may lie on no compared tile) and closed (it
    lies on one); the shares say how much each reading is believed, the last one being "this photo shows nothing that
    can be matched". They differ by how far the best tile stands out.
    """

    temperatures: tuple[float, ...] = Field(description="cosine differences are divided by them")
    edges: tuple[float, ...] = Field(description="rising, of the groups: how far the best tile stands out")
    shares: tuple[tuple[float, ...], ...] = Field(
        description="of each group, one more than there are edges: of the open readings, the closed ones, and nothing"
    )
    photos: int = Field(0, ge=0, description="places it was fitted on")
    source: str = Field("", description="where these numbers come from")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        wrong = [row for row in self.shares if len(row) != 2 * len(self.temperatures) + 1 or abs(sum(row) - 1.0) > 1e-4]
        if wrong or len(self.shares) != len(self.edges) + 1 or list(self.edges) != sorted(self.edges):
            raise ValueError("shares must be one row a group: two a temperature and one of nothing, with a sum of 1")
        return self

    def shares_at(self, stands_out: float) -> Floats:
        """The shares (2 t + 1,) of the group of a comparison whose best tile stands out so far."""
        return np.array(self.shares[int(np.searchsorted(self.edges, stands_out))])


def satellite_record_file(encoder_folder: Path, revision: str) -> Path:
    """Where the record of matching with a cross-view encoder lies: beside its weights, named by their revision."""
    return encoder_folder / f"satellite_record.{revision}.json"


def read_satellite_record(encoder_folder: Path, revision: str) -> SatelliteRecord | None:
    """The record of matching that lies beside an encoder; None: there is none of this revision.

    Raises:
        UserError: something else lies there.
    """
    file = satellite_record_file(encoder_folder, revision)
    if not file.is_file():
        return None
    return read_model(file, SatelliteRecord, "record of matching", "make it with `python -m evals.fit_satellite`")


class Parameters(Frozen):
    """Numbers of the prior, the witnesses and the decision."""

    fitted_on: str = Field(description="what the numbers were fitted on")
    prior_shares: dict[str, float] = Field(description="of the layers of the prior")
    records: Records = Field(description="of chat models")
    agreement: Agreement = Field(description="of the models of a jury")
    retrieval: dict[str, RetrievalRecord] = Field(description="by kind of atlas; `kind@encoder` where measured")
    satellite: dict[str, SatelliteRecord] = Field(
        default_factory=dict, description="by cross-view encoder, `name@revision` or name; none: a match counts nothing"
    )
    useless: dict[str, float] = Field(description="chance that a witness of a kind says nothing of this photo")
    place_name: Record = Field(description="of a place whose name is read on a sign; its `stated` shares are used")
    judgement_accuracy: float = Field(
        gt=0.5, lt=1.0, description="of a model whose record has none: how often it is right about a tool's result"
    )
    area_shares: dict[float, float] = Field(
        default_factory=dict,
        description="by how often an area is to hold the truth: the share of the belief that it is of; none: the same",
    )
    person_accuracy: float = Field(gt=0.5, lt=1.0, description="how often a person's answer is right; set by hand")
    utility: dict[str, dict[float, float]] = Field(
        description="by aim: weights of exp(-(d / s)) by scale s in km, of an answer d km from the truth"
    )

    @model_validator(mode="after")
    def _areas_are_nested(self) -> Self:
        if not (np.diff(self._area_shares) > 0.0).all():
            raise ValueError("area_shares must rise, between 0 and 1")
        return self

    @property
    def _area_shares(self) -> tuple[Floats, Floats]:
        rising = sorted(self.area_shares.items())
        return np.array([0.0, *(key for key, _ in rising), 1.0]), np.array([0.0, *(value for _, value in rising), 1.0])

    def area_share(self, holds: float) -> float:
        """The share of a belief whose smallest area holds the truth so often; linear between those that were fitted."""
        return float(np.interp(holds, *self._area_shares))

    def retrieval_of(self, kind: AtlasKind, encoder: str) -> RetrievalRecord:
        """The record of retrieval from a kind of atlas with an encoder (`name@revision`), or with any."""
        name = encoder.partition("@")[0]
        keys = (f"{kind.value}@{encoder}", f"{kind.value}@{name}", kind.value)
        return next(self.retrieval[key] for key in keys if key in self.retrieval)

    def satellite_of(self, encoder: str) -> SatelliteRecord | None:
        """The record of matching with a cross-view encoder (`name@revision`); None: nothing is known of it."""
        return self.satellite.get(encoder) or self.satellite.get(encoder.partition("@")[0])


@cache
def default_parameters() -> Parameters:
    """The parameters that come with the package."""
    text = resources.files("belief").joinpath("parameters.json").read_text(encoding="utf-8")
    return Parameters.model_validate_json(text)
