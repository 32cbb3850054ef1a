"""Every benchmark by name: the rows of `benchmarks.json`.

Its addresses were looked up in November 2026; some sources are gone, and the notes say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

from pydantic import TypeAdapter

from core.errors import UserError
from evals.benchmarks.description import Benchmark

_ROWS = TypeAdapter(tuple[Benchmark, ...]).validate_json(
    resources.files("evals.benchmarks").joinpath("benchmarks.json").read_bytes()
)
BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType({benchmark.name: benchmark for benchmark in _ROWS})


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of a name.

    Raises:
        UserError: no such benchmark; the message lists the valid ones.
    """
    if name not in BENCHMARKS:
        raise UserError(f"unknown benchmark {name!r}: choose one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]
