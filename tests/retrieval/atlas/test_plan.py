"""Plans of atlases, against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from core.errors import UserError
from retrieval.atlas.plan import AtlasPlan, PlanOptions, graph_recall, plan_atlas
from retrieval.stores.base import EdgeSettings, ServerSettings


def measured(plan: AtlasPlan) -> set[str]:
    return {value.name for value in plan.values if value.basis == "measured"}


def test_a_hundred_thousand_photos_are_scanned_in_this_process() -> None:
    plan = plan_atlas(100_000)
    assert plan.store == EdgeSettings(index="scan")
    assert plan.value("memory") == 0.37  # 0.33 GB + 1e5 × 399 B
    assert plan.value("disk") == 0.21  # 0.038 GB + 1e5 × 1,722 B
    assert plan.value("encoding") == 0.21  # 740 s
    assert plan.value("indexing") == 0.0  # 11 s
    assert plan.value("recall@20") == 1.0
    assert measured(plan) == {"disk", "indexing", "recall@20"}
    assert "memory" in measured(plan_atlas(100_000, PlanOptions(dim=1024)))
    assert not measured(plan_atlas(99_999))
    assert not measured(plan_atlas(100_000, PlanOptions(dim=128)))


def test_ten_million_photos_are_on_a_server() -> None:
    plan = plan_atlas(10_000_000, PlanOptions(usd_per_gb_month=2.0))
    assert isinstance(plan.store, ServerSettings)
    assert (plan.store.shards, plan.store.replicas, plan.store.quantisation) == (1, 1, "int8")
    assert plan.store.on_disk
    assert plan.value("memory") == 5.31  # 1e7 × (256 + 143 + 132.27) B
    assert plan.value("disk") == 18.54  # 1e7 × (1,280 + 442 + 132.27) B
    assert plan.value("indexing") == 0.77  # 1e7 × (61.3 + 0.19 × 256 + 140 × 6 / 5) µs = 2,779 s
    assert plan.value("machines") == 1
    assert plan.value("cost") == 10.63  # 5.3127 GB × 2 USD
    assert plan.value("recall@20") == 0.982  # ten graphs of a million
    assert {value.basis for value in plan.values} == {"estimate"}


def test_a_thousand_million_photos_are_sharded_and_replicated() -> None:
    plan = plan_atlas(1_000_000_000)
    assert isinstance(plan.store, ServerSettings)
    assert (plan.store.shards, plan.store.replicas) == (100, 2)
    assert plan.value("memory") == 1062.53  # twice 1e9 × 531.27 B
    assert plan.value("machines") == 23  # 1,062.53 GB / (0.75 × 64 GB) = 22.1
    assert plan.value("encoding") == 2055.56  # 7.4e6 s
    assert plan.value("indexing") == 154.41  # as for 1e7 in each of 100 shards, twice: 555,880 s
    assert "cost" not in {value.name for value in plan.values}


def test_a_graph_was_measured_up_to_a_million_vectors_of_256() -> None:
    plan = plan_atlas(1_000_000)
    assert plan.store == EdgeSettings(index="hnsw")
    assert measured(plan) == {"indexing", "recall@20"}
    assert plan.value("recall@20") == 0.982
    assert plan.value("indexing") == 0.08  # 278 s
    assert plan_atlas(500_000).value("recall@20") == 0.987  # 1 - 0.018 × log10(5)
    assert plan_atlas(1_500_000).value("recall@20") == 0.984  # two graphs of 750,000: 1 - 0.018 × log10(7.5)
    assert round(graph_recall(2_000_000), 3) == 0.941  # 0.982 - 0.095 × log 2 / log 5
    assert not measured(plan_atlas(1_000_000, PlanOptions(dim=512)))


def test_replicas_are_on_machines_of_their_own() -> None:
    assert plan_atlas(20_000_000, PlanOptions(machine_gb=1000.0)).value("machines") == 2


@pytest.mark.parametrize(
    "wrong", [{"dim": 0}, {"encode_s": -1.0}, {"machine_gb": math.nan}, {"usd_per_gb_month": math.inf}]
)
def test_a_number_that_cannot_be_planned_with_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        plan_atlas(1000, PlanOptions()._replace(**wrong))
    with pytest.raises(UserError, match="photos is 0"):
        plan_atlas(0)
