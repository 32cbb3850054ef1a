"""The state machine that locates a photo.

    initialise ─► look ─► recall ─► cluster ─► hypothesise ─► match ─► investigate ⇄ tools ─► revise ─► match ─► commit

A strategy names the steps that run; the routers skip the others. `guess` stands for hypotheses in strategies that
take the model's own answer. `match` runs after each new belief where a satellite atlas is open: the photo is compared
with the tiles of the areas that the belief points at. With `ask`, a person may be asked before anything is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Literal

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from agents.schemas import Cost, add_cost
from agents.strategies import Step
from core.waiting import work_clock
from graphs.budgets import spent_budget
from graphs.context import GeolocateContext
from graphs.nodes.ask_person import ask_person, pose_question, route_after_pose
from graphs.nodes.commit import commit
from graphs.nodes.guess import guess
from graphs.nodes.hypothesise import hypothesise
from graphs.nodes.investigate import investigate, pending_calls, use_tools
from graphs.nodes.look import cluster, look, recall
from graphs.nodes.match import match
from graphs.nodes.revise import revise
from graphs.nodes.tool_calls import MAX_TOOL_CALLS_AT_ONCE
from graphs.state import AnswerOutput, FullState, GeolocateState, PhotoInput

Geolocate = CompiledStateGraph[FullState, None, PhotoInput, AnswerOutput]
Node = Callable[[GeolocateContext, GeolocateState], dict[str, Any]]
AfterRetrieval = Literal["hypothesise", "investigate", "guess", "commit"]


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
    before_commit = "pose_question" if ask else "commit"

    def node(run: Node) -> partial[dict[str, Any]]:
        return partial(_timed, run, context)

    def to(*steps: str) -> dict[Hashable, str]:
        return {step: before_commit if step == "commit" else step for step in steps}

    graph.add_node("initialise", initialise)
    graph.add_node("look", node(look))
    graph.add_node("recall", node(recall))
    graph.add_node("cluster", node(cluster))
    graph.add_node("hypothesise", node(hypothesise))
    graph.add_node("match", node(match))
    graph.add_node("investigate", node(investigate))
    graph.add_node("tools", node(use_tools))
    graph.add_node("revise", node(revise))
    graph.add_node("guess", node(guess))
    graph.add_node("commit", node(commit))

    after_belief = to("match", "investigate", "commit")
    after_retrieval = to("hypothesise", "investigate", "guess", "commit")
    graph.add_edge(START, "initialise")
    graph.add_conditional_edges("initialise", partial(route_first, context), to("look", "recall") | after_retrieval)
    graph.add_conditional_edges("look", partial(route_after_look, context), to("recall") | after_retrieval)
    graph.add_conditional_edges("recall", partial(route_after_recall, context), to("cluster") | after_retrieval)
    graph.add_conditional_edges("cluster", partial(route_after_retrieval, context), after_retrieval)
    graph.add_conditional_edges("hypothesise", partial(route_after_belief, context), after_belief)
    graph.add_conditional_edges("match", partial(route_after_match, context), to("investigate", "commit"))
    graph.add_conditional_edges(
        "investigate", partial(route_after_investigate, context), to("tools", "guess", "commit")
    )
    graph.add_conditional_edges(
        "tools", partial(route_after_tools, context), to("revise", "investigate", "guess", "commit")
    )
    graph.add_conditional_edges("revise", partial(route_after_belief, context), after_belief)
    graph.add_edge("guess", before_commit)
    # Without `ask` no step leads to these two; a run that waits for an answer goes on all the same.
    graph.add_node("pose_question", node(pose_question))
    graph.add_node("ask_person", node(ask_person))
    graph.add_conditional_edges("pose_question", route_after_pose, ["ask_person", "commit"])
    graph.add_edge("ask_person", "commit")
    graph.add_edge("commit", END)
    return graph.compile(checkpointer=checkpointer, name="geolocate").with_config(
        max_concurrency=MAX_TOOL_CALLS_AT_ONCE
    )


def initialise(state: FullState) -> dict[str, Any]:  # noqa: ARG001 - a node takes the state
    """Give every channel without a reducer its first value."""
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


def _timed(run: Node, context: GeolocateContext, state: FullState) -> dict[str, Any]:
    """The update of a node, with the seconds of work it took added to its cost."""
    with work_clock() as clock:
        update = run(context, state)
        spent = Cost(seconds=clock.seconds)
    return {**update, "cost": add_cost(update.get("cost", Cost()), spent)}


def route_first(context: GeolocateContext, state: GeolocateState) -> Literal["look", "recall"] | AfterRetrieval:
    """Go to the first step that the strategy runs."""
    return "look" if context.strategy.runs(Step.LOOK) else route_after_look(context, state)


def route_after_look(context: GeolocateContext, state: GeolocateState) -> Literal["recall"] | AfterRetrieval:
    """Retrieve candidates, if the strategy does and there is an atlas."""
    return "recall" if context.retrieves else route_after_retrieval(context, state)


def route_after_recall(context: GeolocateContext, state: GeolocateState) -> Literal["cluster"] | AfterRetrieval:
    """Cluster the candidates, if the strategy does."""
    return "cluster" if context.strategy.runs(Step.CLUSTER) else route_after_retrieval(context, state)


def route_after_retrieval(context: GeolocateContext, _: GeolocateState) -> AfterRetrieval:
    """Ask the model as the strategy says, or commit to what was retrieved; each step checks the budgets."""
    if context.strategy.runs(Step.HYPOTHESISE):
        return "hypothesise"
    if context.strategy.runs(Step.INVESTIGATE):
        return "investigate"
    return _conclusion(context)


def route_after_belief(context: GeolocateContext, state: GeolocateState) -> Literal["match", "investigate", "commit"]:
    """Compare the photo with satellite tiles where the belief now points, if an atlas of them is open."""
    return "match" if context.matches else route_after_match(context, state)


def route_after_match(context: GeolocateContext, state: GeolocateState) -> Literal["investigate", "commit"]:
    """Investigate the hypotheses, in another round too, unless they are settled or a budget is spent."""
    is_open = bool(state["hypotheses"]) and not state["settled"]
    goes_on = context.strategy.runs(Step.INVESTIGATE) and is_open and _may_ask(context, state)
    return "investigate" if goes_on else "commit"


def route_after_investigate(context: GeolocateContext, state: GeolocateState) -> Literal["tools", "guess", "commit"]:
    """Carry out the tool calls; a model that makes none has nothing more to find out."""
    return "tools" if pending_calls(state) else _conclusion(context)


def route_after_tools(
    context: GeolocateContext, state: GeolocateState
) -> Literal["revise", "investigate", "guess", "commit"]:
    """Revise the hypotheses; without any, investigate again while the budgets allow it."""
    if context.strategy.runs(Step.REVISE):
        return "revise"
    return "investigate" if _may_ask(context, state) else _conclusion(context)


def _conclusion(context: GeolocateContext) -> Literal["guess", "commit"]:
    """The model's own final answer, if the strategy asks for one."""
    return "guess" if context.strategy.runs(Step.GUESS) else "commit"


def _may_ask(context: GeolocateContext, state: GeolocateState) -> bool:
    return spent_budget(context.budgets, state["cost"], state["round"]) is None
