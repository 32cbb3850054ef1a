"""Several replies to one question: in one request where the server takes it, so that the photo is paid for once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration
from langchain_core.runnables import RunnableBinding
from langchain_core.runnables.config import ContextThreadPoolExecutor, ensure_config
from pydantic import BaseModel

from agents.chat_models.adapter import AdaptedChat
from agents.chat_models.base import current_sample, sample_number
from agents.chat_models.failures import ModelFailure
from agents.chat_models.registry import LoadedModel
from agents.chat_models.retry import Attempts
from agents.structured_output.ask import (
    Offered,
    Reply,
    StructuredQuestion,
    deadline_in,
    first_reply,
    parsed,
    read_answer,
    repaired,
)

T = TypeVar("T", bound=BaseModel)
R = TypeVar("R")
SAMPLES_AT_ONCE = 4
"""Requests for samples that are under way side by side."""


def ask_structured_samples(
    model: LoadedModel,
    messages: Sequence[BaseMessage],
    schema: type[T],
    n: int,
    *,
    seconds: float | None = None,
    beside: Sequence[Offered] = (),
) -> list[Reply[T]]:
    """Ask the same `n` times; one reply a sample, each as of `ask_structured`, whose other arguments are the same.

    Where the server takes it, all samples are one request: the first reply has the cost of it, the others none. What
    is missing of them, as where the server refuses `n`, is asked for one by one, side by side.
    """
    question = StructuredQuestion(model, messages, schema, deadline_in(seconds), beside)
    together = _ask_together(question, n) if n > 1 and _takes_samples(model) else []
    tasks = [partial(repaired, question, reply) for reply in together]
    tasks += [partial(_ask_alone, question, current_sample() + number) for number in range(len(together), n)]
    return side_by_side(tasks)


def _takes_samples(model: LoadedModel) -> bool:
    return isinstance(model.chat, AdaptedChat) and model.chat.capabilities.samples


def _ask_alone(question: StructuredQuestion[T], number: int) -> Reply[T]:
    with sample_number(number):
        return repaired(question, first_reply(question))


def _ask_together(question: StructuredQuestion[T], n: int) -> list[Reply[T]]:
    """The replies of one request; none if it fails: then each is asked for by itself."""
    model = question.model
    started, attempts = time.perf_counter(), Attempts(model.options, question.deadline, model.name)
    try:
        answers = attempts(partial(_generate, model.chat, question, n))[:n]
    except ModelFailure:
        return []
    seconds = (time.perf_counter() - started) / max(1, len(answers))
    # One request, or several attempts at it, have brought them all.
    replies = [read_answer(model, answer, 0 if k else attempts.made) for k, answer in enumerate(answers)]
    return [parsed(reply._replace(model=model.name, seconds=seconds), question.schema) for reply in replies]


def _generate(chat: BaseChatModel, question: StructuredQuestion[T], n: int) -> list[AIMessage]:
    """All replies to one request, with the callbacks of the run that it is part of; `invoke` gives only the first."""
    config = ensure_config()
    bound = chat.bind_tools(question.tools, tool_choice=question.schema.__name__)
    tools = bound.kwargs if isinstance(bound, RunnableBinding) else {}
    result = chat.generate(
        [list(question.messages)],
        callbacks=config.get("callbacks"),
        tags=config["tags"],
        metadata=config["metadata"],
        **tools,
        n=n,
        stream=False,
    )
    messages = [item.message for item in result.generations[0] if isinstance(item, ChatGeneration)]
    return [message for message in messages if isinstance(message, AIMessage)]


def side_by_side(tasks: Sequence[Callable[[], R]], at_once: int = SAMPLES_AT_ONCE) -> list[R]:
    """Results in the order of the tasks; each thread gets this one's context, so that its events belong to the run."""
    if len(tasks) == 1:
        return [tasks[0]()]
    with ContextThreadPoolExecutor(max_workers=at_once) as pool:
        return [started.result() for started in [pool.submit(task) for task in tasks]]
