"""Replies in the form of two providers' protocols, whole and as events of a stream.

OpenAI's protocol as DeepSeek and Qwen speak it, with `reasoning_content` beside the text and DeepSeek's counts of
cached tokens: https://api-docs.deepseek.com/guides/thinking_mode and
https://api-docs.deepseek.com/api/create-chat-completion. Anthropic's messages, with blocks of thinking and their
signature: https://platform.claude.com/docs/en/build-with-claude/extended-thinking and
https://platform.claude.com/docs/en/build-with-claude/streaming.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

Json = dict[str, Any]
PIECE_CHARACTERS = 50
PROMPT_TOKENS, CACHED_TOKENS, COMPLETION_TOKENS = 1_000, 600, 100
SIGNATURE = "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds"


class Said(NamedTuple):
    """What a model says: its reasoning, its text, its calls (name, arguments, id), and whether it was cut off."""

    text: str = ""
    calls: tuple[tuple[str, Json, str], ...] = ()
    reasoning: str = ""
    is_cut: bool = False


def openai_reply(said: list[Said]) -> Json:
    """A chat completion with one choice a sample."""
    return {
        "id": "930c60df-bf64-41c9-a88e-3ec75f81e00e",
        "object": "chat.completion",
        "created": 1_705_651_092,
        "model": "m",
        "choices": [
            {"index": n, "message": _openai_message(one), "logprobs": None, "finish_reason": _openai_reason(one)}
            for n, one in enumerate(said)
        ],
        "usage": _openai_usage(len(said)),
    }


def _openai_message(said: Said) -> Json:
    message: Json = {"role": "assistant", "content": said.text}
    if said.reasoning:
        message["reasoning_content"] = said.reasoning
    if said.calls:
        message["tool_calls"] = [
            {"index": n, "id": id_, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for n, (name, arguments, id_) in enumerate(said.calls)
        ]
    return message


def _openai_reason(said: Said) -> str:
    return "length" if said.is_cut else "tool_calls" if said.calls else "stop"


def _openai_usage(samples: int) -> Json:
    written = COMPLETION_TOKENS * samples
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": written,
        "total_tokens": PROMPT_TOKENS + written,
        "prompt_cache_hit_tokens": CACHED_TOKENS,
        "prompt_cache_miss_tokens": PROMPT_TOKENS - CACHED_TOKENS,
    }


def openai_events(said: Said) -> Iterator[str]:
    """The data of a stream's events."""
    yield from (_openai_event({"reasoning_content": piece, "content": None}) for piece in _pieces(said.reasoning))
    yield from (_openai_event({"content": piece}) for piece in _pieces(said.text))
    for n, (name, arguments, id_) in enumerate(said.calls):
        begun = {"index": n, "id": id_, "type": "function", "function": {"name": name, "arguments": ""}}
        yield _openai_event({"tool_calls": [begun]})
        for piece in _pieces(json.dumps(arguments)):
            yield _openai_event({"tool_calls": [{"index": n, "function": {"arguments": piece}}]})
    yield _openai_event({"content": ""}, finish_reason=_openai_reason(said), usage=_openai_usage(1))
    yield "data: [DONE]\n\n"


def _openai_event(delta: Json, finish_reason: str | None = None, usage: Json | None = None) -> str:
    choice = {"index": 0, "delta": {"role": "assistant", **delta}, "logprobs": None, "finish_reason": finish_reason}
    event = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
    return f"data: {json.dumps({**event, 'usage': usage})}\n\n"


def anthropic_reply(said: Said) -> Json:
    """A message."""
    return {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": _anthropic_blocks(said),
        "stop_reason": _anthropic_reason(said),
        "stop_sequence": None,
        "usage": _anthropic_usage(),
    }


def _anthropic_blocks(said: Said) -> list[Json]:
    thinking = [{"type": "thinking", "thinking": said.reasoning, "signature": SIGNATURE}] if said.reasoning else []
    text = [{"type": "text", "text": said.text}] if said.text else []
    calls = [{"type": "tool_use", "id": id_, "name": name, "input": args} for name, args, id_ in said.calls]
    return [*thinking, *text, *calls]


def _anthropic_reason(said: Said) -> str:
    return "max_tokens" if said.is_cut else "tool_use" if said.calls else "end_turn"


def _anthropic_usage() -> Json:
    return {
        "input_tokens": PROMPT_TOKENS - CACHED_TOKENS,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": CACHED_TOKENS,
        "output_tokens": COMPLETION_TOKENS,
    }


def anthropic_events(said: Said) -> Iterator[str]:
    """The events of a stream."""
    begun = {**anthropic_reply(said), "content": [], "stop_reason": None}
    yield _anthropic_event("message_start", message=begun)
    for n, block in enumerate(_anthropic_blocks(said)):
        yield from _anthropic_block(n, block)
    delta = {"stop_reason": _anthropic_reason(said), "stop_sequence": None}
    yield _anthropic_event("message_delta", delta=delta, usage=_anthropic_usage())
    yield _anthropic_event("message_stop")


def _anthropic_block(n: int, block: Json) -> Iterator[str]:
    kind = block["type"]
    field, delta_kind, delta_field = {
        "thinking": ("thinking", "thinking_delta", "thinking"),
        "text": ("text", "text_delta", "text"),
        "tool_use": ("input", "input_json_delta", "partial_json"),
    }[kind]
    empty = {**block, field: {} if kind == "tool_use" else ""}
    yield _anthropic_event("content_block_start", index=n, content_block={**empty, **_unsigned(block)})
    whole = json.dumps(block[field]) if kind == "tool_use" else block[field]
    for piece in _pieces(whole):
        yield _anthropic_event("content_block_delta", index=n, delta={"type": delta_kind, delta_field: piece})
    if kind == "thinking":
        signed = {"type": "signature_delta", "signature": SIGNATURE}
        yield _anthropic_event("content_block_delta", index=n, delta=signed)
    yield _anthropic_event("content_block_stop", index=n)


def _unsigned(block: Json) -> Json:
    return {"signature": ""} if "signature" in block else {}


def _anthropic_event(kind: str, **fields: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"


def _pieces(text: str) -> Iterator[str]:
    return (text[start : start + PIECE_CHARACTERS] for start in range(0, len(text), PIECE_CHARACTERS))
