"""The list of everything that is fuzzed, by name: photos, tables, files of runs, threads, replies, settings' files."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from tests.fuzz.cases import Files, Target
from tests.fuzz.readers import atlases, homes, models, photos, replies, results, runs, tables, threads

TARGETS: Mapping[str, Target] = {
    target.name: target
    for module in (photos, tables, results, runs, atlases, homes, threads, models, replies)
    for target in module.TARGETS
}


@cache
def other_kinds() -> Files:
    """A file of each target, by the target's name: what may stand in place of another."""
    return {name: next(iter(target.files.values())) for name, target in TARGETS.items()}
