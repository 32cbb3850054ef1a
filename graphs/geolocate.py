"""The state machine: look, recall, cluster, hypothesise, investigate and tools, revise, commit.

The wiring comes last and holds no decision but the routes; docs/state-machine.md
shows it as a picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, Protocol

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from agents.schemas import Cost
from agents.strategies import Step
from graphs.budgets import spent_budget
from graphs.nodes.commit import commit
from graphs.nodes.hypothesise import hypothesise
from graphs.nodes.investigate import investigate, pending_calls, use_tools
from graphs.nodes.look import look
from graphs.nodes.recall import cluster, recall
from graphs.nodes.revise import revise
from graphs.state import AnswerOutput, FullState, GeolocateState, PhotoInput, add_cost
from graphs.workbench import Workbench

Node = Callable[[Workbench, GeolocateState], dict[str, Any]]
Geolocate = CompiledStateGraph[FullState, None, PhotoInput, AnswerOutput]

NODES: dict[str, Node] = {
    "look": look,
    "recall": recall,
    "cluster": cluster,
    "hypothesise": hypothesise,
    "investigate": investigate,
    "tools": use_tools,
    "revise": revise,
    "commit": commit,
}


def after_start(bench: Workbench, _: GeolocateState) -> Literal["look", "recall"]:
    """Strategies that only retrieve do not look for signs."""
    return "look" if bench.strategy.runs(Step.LOOK) else "recall"


def after_recall(bench: Workbench, _: GeolocateState) -> Literal["cluster", "commit"]:
    """The plainest strategy answers with the best candidate."""
    return "cluster" if bench.strategy.runs(Step.CLUSTER) else "commit"


def after_cluster(bench: Workbench, state: GeolocateState) -> Literal["hypothesise", "commit"]:
    """Go on to the model if the strategy has one and nothing is spent yet."""
    return "hypothesise" if bench.strategy.runs(Step.HYPOTHESISE) and _may_ask(bench, state) else "commit"


def after_hypothesise(bench: Workbench, state: GeolocateState) -> Literal["investigate", "commit"]:
    """Investigate what was proposed, while the budgets last."""
    goes_on = bench.strategy.runs(Step.INVESTIGATE) and bool(state["hypotheses"]) and _may_ask(bench, state)
    return "investigate" if goes_on else "commit"


def after_investigate(_: Workbench, state: GeolocateState) -> Literal["tools", "commit"]:
    """A model that calls no tool has nothing more to find out."""
    return "tools" if pending_calls(state) else "commit"


def after_revise(bench: Workbench, state: GeolocateState) -> Literal["investigate", "commit"]:
    """Another round unless the outcome is settled or a budget is spent."""
    return "investigate" if not state["settled"] and _may_ask(bench, state) else "commit"


def _may_ask(bench: Workbench, state: GeolocateState) -> bool:
    return spent_budget(bench.budgets, state["cost"], state["round"]) is None


class _StateNode(Protocol):
    def __call__(self, state: FullState) -> dict[str, Any]: ...


def _charged(node: Node, bench: Workbench) -> _StateNode:
    """A node at a workbench, which adds the time it took to the cost."""

    def run(state: FullState) -> dict[str, Any]:
        started = time.perf_counter()
        update = node(bench, state)
        spent = Cost(seconds=time.perf_counter() - started)
        return {**update, "cost": add_cost(update.get("cost", Cost()), spent)}

    return run


def begin(state: FullState) -> dict[str, Any]:  # noqa: ARG001 - a node takes the state
    """Give every channel its first value, so that no node has to ask whether one is there."""
    return {
        "candidates": [],
        "candidate_countries": [],
        "regions": [],
        "hypotheses": [],
        "evidence": [],
        "round": 0,
        "settled": False,
    }


def build_geolocate(bench: Workbench, checkpointer: BaseCheckpointSaver[str] | None = None) -> Geolocate:
    """Wire the machine. With a checkpointer a run that died goes on from its last finished node."""
    graph: StateGraph[FullState, None, PhotoInput, AnswerOutput] = StateGraph(
        FullState, input_schema=PhotoInput, output_schema=AnswerOutput
    )
    graph.add_node("begin", begin)
    for name, node in NODES.items():
        graph.add_node(name, _charged(node, bench))
    graph.add_edge(START, "begin")
    graph.add_conditional_edges("begin", partial(after_start, bench), ["look", "recall"])
    graph.add_edge("look", "recall")
    graph.add_conditional_edges("recall", partial(after_recall, bench), ["cluster", "commit"])
    graph.add_conditional_edges("cluster", partial(after_cluster, bench), ["hypothesise", "commit"])
    graph.add_conditional_edges("hypothesise", partial(after_hypothesise, bench), ["investigate", "commit"])
    graph.add_conditional_edges("investigate", partial(after_investigate, bench), ["tools", "commit"])
    graph.add_edge("tools", "revise")
    graph.add_conditional_edges("revise", partial(after_revise, bench), ["investigate", "commit"])
    graph.add_edge("commit", END)
    return graph.compile(checkpointer=checkpointer, name="geolocate")
