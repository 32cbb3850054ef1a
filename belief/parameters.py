"""Every number of the belief: `belief/parameters.json`, which `python -m evals.fit_belief` writes."""

from __future__ import annotations

from functools import cache
from importlib import resources

from pydantic import Field

from belief.records import Agreement, Record, Records
from core.frozen import Frozen
from retrieval.candidate import AtlasKind


class RetrievalRecord(Frozen):
    """What retrieval from one kind of atlas with one encoder is worth."""

    temperature: float = Field(gt=0.0, description="cosine differences are divided by it")
    record: Record = Field(description="how far from the truth the retrieved places lie")


class Parameters(Frozen):
    """Numbers of the prior, the witnesses and the decision."""

    fitted_on: str = Field(description="what the numbers were fitted on")
    prior_shares: dict[str, float] = Field(description="of the layers of the prior")
    records: Records = Field(description="of chat models")
    agreement: Agreement = Field(description="of the models of a jury")
    retrieval: dict[str, RetrievalRecord] = Field(description="by kind of atlas; `kind@encoder` where measured")
    useless: dict[str, float] = Field(description="chance that a witness of a kind says nothing of this photo")
    place_name: Record = Field(description="of a place whose name is read on a sign; its `stated` shares are used")
    judgement_accuracy: float = Field(
        gt=0.5, lt=1.0, description="of a model whose record has none: how often it is right about a tool's result"
    )
    person_accuracy: float = Field(gt=0.5, lt=1.0, description="how often a person's answer is right; set by hand")
    utility: dict[str, dict[float, float]] = Field(
        description="by aim: weights of exp(-(d / s)) by scale s in km, of an answer d km from the truth"
    )

    def retrieval_of(self, kind: AtlasKind, encoder: str) -> RetrievalRecord:
        """The record of retrieval from a kind of atlas with an encoder (`name@revision`), or with any."""
        name = encoder.partition("@")[0]
        keys = (f"{kind.value}@{encoder}", f"{kind.value}@{name}", kind.value)
        return next(self.retrieval[key] for key in keys if key in self.retrieval)


@cache
def default_parameters() -> Parameters:
    """The parameters that come with the package."""
    text = resources.files("belief").joinpath("parameters.json").read_text(encoding="utf-8")
    return Parameters.model_validate_json(text)
