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
from graphs.context import GeolocateContext
from graphs.nodes.ask_person import after_pose, ask_person, pose_question
from graphs.nodes.commit import commit
from graphs.nodes.guess import guess
from graphs.nodes.hypothesise import hypothesise
from graphs.nodes.investigate import investigate, pending_calls, use_tools
from graphs.nodes.look import look
from graphs.nodes.recall import cluster, recall
from graphs.nodes.revise import revise
from graphs.nodes.tool_calls import MAX_TOOL_CALLS_AT_ONCE
from graphs.state import AnswerOutput, FullState, GeolocateState, PhotoInput, add_cost

Node = Callable[[GeolocateContext, GeolocateState], dict[str, Any]]
Route = Callable[[GeolocateContext, GeolocateState], str]
Preparing = Literal["look", "recall", "cluster"]
Onward = Literal["hypothesise", "investigate", "guess", "commit"]
Geolocate = CompiledStateGraph[FullState, None, PhotoInput, AnswerOutput]

NODES: dict[str, Node] = {
    "look": look,
    "recall": recall,
    "cluster": cluster,
    "hypothesise": hypothesise,
    "investigate": investigate,
    "tools": use_tools,
    "revise": revise,
    "guess": guess,
    "commit": commit,
}


def after_start(context: GeolocateContext, state: GeolocateState) -> Preparing | Onward:
    """The first step that the strategy has."""
    return "look" if context.strategy.runs(Step.LOOK) else after_look(context, state)


def after_look(context: GeolocateContext, state: GeolocateState) -> Preparing | Onward:
    """Retrieve, if the strategy does."""
    return "recall" if context.strategy.runs(Step.RECALL) else route_after_retrieval(context, state)


def after_recall(context: GeolocateContext, state: GeolocateState) -> Preparing | Onward:
    """Cluster, if the strategy does."""
    return "cluster" if context.strategy.runs(Step.CLUSTER) else route_after_retrieval(context, state)


def route_after_retrieval(context: GeolocateContext, _: GeolocateState) -> Onward:
    """From what was prepared to the model, if the strategy has one; each step sees to the budgets itself."""
    if context.strategy.runs(Step.HYPOTHESISE):
        return "hypothesise"
    if context.strategy.runs(Step.INVESTIGATE):
        return "investigate"
    return "guess" if context.strategy.runs(Step.GUESS) else "commit"


def after_hypothesise(context: GeolocateContext, state: GeolocateState) -> Literal["investigate", "commit"]:
    """Investigate what was proposed, while the budgets last."""
    goes_on = context.strategy.runs(Step.INVESTIGATE) and bool(state["hypotheses"]) and _may_ask(context, state)
    return "investigate" if goes_on else "commit"


def after_investigate(context: GeolocateContext, state: GeolocateState) -> Literal["tools", "guess", "commit"]:
    """A model that calls no tool has nothing more to find out."""
    return "tools" if pending_calls(state) else _conclusion(context)


def after_tools(
    context: GeolocateContext, state: GeolocateState
) -> Literal["revise", "investigate", "guess", "commit"]:
    """Revise the ledger, or, without one, let the model go on while the budgets last."""
    if context.strategy.runs(Step.REVISE):
        return "revise"
    return "investigate" if _may_ask(context, state) else _conclusion(context)


def after_revise(context: GeolocateContext, state: GeolocateState) -> Literal["investigate", "commit"]:
    """Another round unless the outcome is settled or a budget is spent."""
    return "investigate" if not state["settled"] and _may_ask(context, state) else "commit"


def _conclusion(context: GeolocateContext) -> Literal["guess", "commit"]:
    """The model's own last word, if the strategy wants it."""
    return "guess" if context.strategy.runs(Step.GUESS) else "commit"


def _may_ask(context: GeolocateContext, state: GeolocateState) -> bool:
    return spent_budget(context.budgets, state["cost"], state["round"]) is None


_ONWARD = ("hypothesise", "investigate", "guess", "commit")

ROUTES: dict[str, tuple[Route, tuple[str, ...]]] = {
    "initialise": (after_start, ("look", "recall", *_ONWARD)),
    "look": (after_look, ("recall", *_ONWARD)),
    "recall": (after_recall, ("cluster", *_ONWARD)),
    "cluster": (route_after_retrieval, _ONWARD),
    "hypothesise": (after_hypothesise, ("investigate", "commit")),
    "investigate": (after_investigate, ("tools", "guess", "commit")),
    "tools": (after_tools, ("revise", "investigate", "guess", "commit")),
    "revise": (after_revise, ("investigate", "commit")),
    "guess": (lambda *_: "commit", ("commit",)),
}
"""After each step, how the next is chosen and which there may be."""


class _StateNode(Protocol):
    def __call__(self, state: FullState) -> dict[str, Any]: ...


def _charged(node: Node, context: GeolocateContext) -> _StateNode:
    """A node at a workbench, which adds the time it took to the cost."""

    def run(state: FullState) -> dict[str, Any]:
        started = time.perf_counter()
        update = node(context, state)
        spent = Cost(seconds=time.perf_counter() - started)
        return {**update, "cost": add_cost(update.get("cost", Cost()), spent)}

    return run


def initialise(state: FullState) -> dict[str, Any]:  # noqa: ARG001 - a node takes the state
    """Give every channel its first value, so that no node has to ask whether one is there."""
    return {
        "candidates": [],
        "candidate_countries": [],
        "contrast": [],
        "question_posed": None,
        "regions": [],
        "hypotheses": [],
        "evidence": [],
        "round": 0,
        "settled": False,
    }


def build_geolocate(
    context: GeolocateContext, checkpointer: BaseCheckpointSaver[str] | None = None, ask: bool = False
) -> Geolocate:
    """Wire the machine. With a checkpointer a run that died goes on from its last finished node.

    Args:
        context: what the nodes work with.
        checkpointer: where the state is kept.
        ask: stop before committing to ask a person, where two hypotheses are close; resume with their answer.
    """
    graph: StateGraph[FullState, None, PhotoInput, AnswerOutput] = StateGraph(
        FullState, input_schema=PhotoInput, output_schema=AnswerOutput
    )
    graph.add_node("initialise", initialise)
    for name, node in NODES.items():
        graph.add_node(name, _charged(node, context))
    graph.add_edge(START, "initialise")
    for step, (route, destinations) in ROUTES.items():
        # Whoever asks a person does it last, before anything is committed.
        graph.add_conditional_edges(
            step,
            partial(route, context),
            {name: "pose_question" if ask and name == "commit" else name for name in destinations},
        )
    if ask:
        graph.add_node("pose_question", _charged(pose_question, context))
        graph.add_node("ask_person", _charged(ask_person, context))
        graph.add_conditional_edges("pose_question", after_pose, ["ask_person", "commit"])
        graph.add_edge("ask_person", "commit")
    graph.add_edge("commit", END)
    return graph.compile(checkpointer=checkpointer, name="geolocate").with_config(
        max_concurrency=MAX_TOOL_CALLS_AT_ONCE
    )
