"""A piece of evidence before it is weighed, and what it says about every position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from agents.schemas import Evidence, EvidenceKind, Source
from belief.posterior import Belief
from belief.support import Support
from graphs.state import ToolRecord

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
LogRatio = Callable[[Support], Floats]
Pins = Sequence[tuple[float, float]]


class Statement(NamedTuple):
    """A piece of evidence, and what it says about every position.

    Attributes:
        evidence: without weights yet.
        log_ratio: its log likelihood ratio on a support; None: it says nothing about where.
        pins: positions that it raises.
        by_model: the model that reported it: models err alike.
        worth_nats: of that model's reports.
        log_ratio_given: the same where that depends on what all other evidence says: a function of the belief without
            it. At most one statement of a run has it.
    """

    evidence: Evidence
    log_ratio: LogRatio | None = None
    pins: Pins = ()
    by_model: str | None = None
    worth_nats: float = 0.0
    log_ratio_given: Callable[[Belief], Floats] | None = None

    @property
    def has_weight(self) -> bool:
        """Whether it says anything about where."""
        return self.log_ratio is not None or self.log_ratio_given is not None


def evidence_of(kind: EvidenceKind, claim: str, source: Source | None) -> Evidence:
    """A piece of evidence that has no number yet."""
    return Evidence(id="E0", kind=kind, claim=claim, source=source)


def source_of(record: ToolRecord) -> Source:
    """The tool call behind a piece of evidence."""
    return Source(tool=record.tool, arguments=record.arguments, result_sha256=record.result_sha256 or "")
