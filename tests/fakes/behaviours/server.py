"""A server with a scripted model that behaves as servers of today do: what it refuses, and how it sends its replies.

The words of its errors are those of the servers: Qwen's (https://github.com/cloudwego/eino/issues/994), DeepSeek's
(https://github.com/XiaomiMiMo/MiMo-Code/issues/2068, https://github.com/earendil-works/pi/issues/3636), Anthropic's,
vLLM's, OpenAI's, and those of chat templates.
"""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.fakes.behaviours import model
from tests.fakes.behaviours.replies import (
    Json,
    Said,
    anthropic_events,
    anthropic_reply,
    openai_events,
    openai_reply,
)
from tests.fakes.proxy import Closable, served

Check = Callable[[Json], str | None]
"""From a request to why it is refused; None: it is not."""


@dataclass(frozen=True)
class Behaviour:
    """How a server behaves.

    Attributes:
        checks: what it refuses.
        status: of its refusals.
        takes_tools: whether the model sees the tools that a request offers.
        says: what becomes of what the model says.
        cuts: streams that it breaks off before it sends whole ones.
        is_compressed: whether replies are compressed.
        drips_s: pause between pieces of a reply.
        max_samples: replies to one request, whatever was asked for.
    """

    checks: tuple[Check, ...] = ()
    status: int = 400
    takes_tools: bool = True
    says: Callable[[Said], Said] = field(default=lambda said: said)
    cuts: int = 0
    is_compressed: bool = False
    drips_s: float = 0.0
    max_samples: int = 8


def forced(asked: Json) -> bool:
    """Whether a request forces a call, in either protocol."""
    choice = asked.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, dict) else choice
    return kind not in (None, "auto", "none")


def _blocks(asked: Json, role: str | None = None) -> list[Json]:
    messages = [m for m in asked["messages"] if role in (None, m["role"])]
    return [block for m in messages if isinstance(m.get("content"), list) for block in m["content"]]


def _images(blocks: list[Json]) -> int:
    inside = [block["content"] for block in blocks if isinstance(block.get("content"), list)]
    own = sum(block["type"] in ("image_url", "image") for block in blocks)
    return own + sum(_images(part) for part in inside)


def refuses_forced_choice(words: str) -> Check:
    return lambda asked: words if forced(asked) else None


def wants_reasoning_back(asked: Json) -> str | None:
    calls = [m for m in asked["messages"] if m["role"] == "assistant" and m.get("tool_calls")]
    lost = any("reasoning_content" not in m for m in calls)
    return "The `reasoning_content` in the thinking mode must be passed back to the API." if lost else None


def wants_thinking_back(asked: Json) -> str | None:
    """As Anthropic's server does while the model thinks: an assistant turn with a call begins with its thinking."""
    turns = [m["content"] for m in asked["messages"] if m["role"] == "assistant" and isinstance(m["content"], list)]
    calling = [blocks for blocks in turns if any(block["type"] == "tool_use" for block in blocks)]
    if all(blocks[0]["type"] == "thinking" and blocks[0].get("signature") for blocks in calling):
        return None
    return "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`"


def wants_alternation(asked: Json) -> str | None:
    """As chat templates of Mistral do: user and assistant in turn; calls and their results do not count."""
    counted = [m["role"] for m in asked["messages"] if m["role"] in ("user", "assistant") and not m.get("tool_calls")]
    wanted = ["user" if n % 2 == 0 else "assistant" for n in range(len(counted))]
    problem = "After the optional system message, conversation roles must alternate user/assistant/user/assistant/..."
    return None if counted == wanted else problem


def refuses_system(asked: Json) -> str | None:
    return "System role not supported" if asked["messages"][0]["role"] == "system" else None


def refuses_tools(asked: Json) -> str | None:
    wanted = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    return wanted if asked.get("tools") else None


def refuses_tool_role(asked: Json) -> str | None:
    has = any(m["role"] == "tool" or m.get("tool_calls") for m in asked["messages"])
    return "Only user and assistant roles are supported!" if has else None


def refuses_images(asked: Json) -> str | None:
    problem = "Failed to deserialize the JSON body into the target type: unknown variant `image_url`, expected `text`"
    return problem if _images(_blocks(asked)) else None


def takes_one_image(asked: Json) -> str | None:
    return "At most 1 image(s) may be provided in one prompt." if _images(_blocks(asked)) > 1 else None


def refuses_images_in_results(asked: Json) -> str | None:
    results = [block for block in _blocks(asked) if block["type"] == "tool_result"]
    return "image content is not supported in tool_result" if _images(results) else None


def refuses_temperature(asked: Json) -> str | None:
    problem = "Unsupported value: 'temperature' does not support 0.7 with this model. Only 1, the default, is."
    return problem if asked.get("temperature") is not None else None


def refuses_max_tokens(asked: Json) -> str | None:
    problem = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    )
    return problem if "max_tokens" in asked else None


def refuses_any_length(asked: Json) -> str | None:
    has = {"max_tokens", "max_completion_tokens"} & asked.keys()
    return f"max_tokens is too large: {[*has]}" if has else None


def refuses_samples(asked: Json) -> str | None:
    return "Invalid value: 'n' must be 1" if (asked.get("n") or 1) > 1 else None


def refuses_without_a_word(check: Check) -> Check:
    return lambda asked: "Bad Request" if check(asked) else None


def thinks_in_tags(said: Said) -> Said:
    return said._replace(text=f"<think>{model.REASONING}</think>\n\n{said.text}")


def thinks_in_an_open_tag(said: Said) -> Said:
    return said._replace(text=f"{model.REASONING}</think>{said.text}")


def thinks_aside(said: Said) -> Said:
    return said._replace(reasoning=model.REASONING)


def answers_in_tags(said: Said) -> Said:
    """A call in the text, behind reasoning: of a server without a parser for its model's calls."""
    calls = "".join(
        f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"
        for name, arguments, _ in said.calls
    )
    return thinks_in_tags(Said(text=f"{said.text}{calls}"))


QWEN = "<400> InternalError.Algo.InvalidParameter: The tool_choice parameter does not support being set to required or"
BEHAVIOURS: dict[str, Behaviour] = {
    "plain": Behaviour(),
    "thinks, no forced call (Qwen)": Behaviour(
        (refuses_forced_choice(f"{QWEN} object in thinking mode"),), says=thinks_aside
    ),
    "thinks, wants it back (DeepSeek)": Behaviour(
        (refuses_forced_choice("Thinking mode does not support this tool_choice"), wants_reasoning_back),
        says=thinks_aside,
    ),
    "thinks (Anthropic)": Behaviour(
        (refuses_forced_choice("Thinking may not be enabled when tool_choice forces tool use."), wants_thinking_back),
        says=thinks_aside,
    ),
    "no forced call, without a word": Behaviour((refuses_without_a_word(refuses_forced_choice("x")),)),
    "roles alternate": Behaviour((wants_alternation,)),
    "roles alternate (500)": Behaviour((wants_alternation,), status=500),
    "only user and assistant": Behaviour((refuses_system, refuses_tool_role, wants_alternation)),
    "ignores tools": Behaviour(takes_tools=False),
    "refuses tools": Behaviour((refuses_tools, wants_alternation)),
    "no pictures": Behaviour((refuses_images,)),
    "one picture": Behaviour((takes_one_image,)),
    "no pictures in results (Anthropic)": Behaviour((refuses_images_in_results,)),
    "no temperature, other token limit": Behaviour((refuses_temperature, refuses_max_tokens)),
    "no token limit": Behaviour((refuses_any_length,)),
    "one sample a request": Behaviour((refuses_samples,)),
    "fewer samples than asked": Behaviour(max_samples=2),
    "<think> in the text": Behaviour(says=thinks_in_tags, takes_tools=False),
    "…</think> in the text": Behaviour(says=thinks_in_an_open_tag, takes_tools=False),
    "<think> and calls in the text": Behaviour(says=answers_in_tags),
    "cut streams": Behaviour(cuts=2),
    "gzip": Behaviour(is_compressed=True),
    "drips": Behaviour(drips_s=0.002),
}


class BehavingServer(Closable):
    """Serves one behaviour, of Anthropic's protocol below the same host; keeps what it was asked and refused."""

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__(_Handler)
        self.behaviour = behaviour
        self.asked: list[Json] = []
        self.refused: list[str] = []
        self.cuts_left = behaviour.cuts


class _Handler(BaseHTTPRequestHandler):
    server: BehavingServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        asked: Json = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        behaviour = self.server.behaviour
        self.server.asked.append(asked)
        problem = next(filter(None, (check(asked) for check in behaviour.checks)), None)
        if problem:
            self.server.refused.append(problem)
            error = {"type": "error", "error": {"message": problem, "type": "invalid_request_error", "param": None}}
            self._send(json.dumps(error), behaviour.status)
            return
        said = behaviour.says(model.reply(asked, behaviour.takes_tools))
        is_anthropic = self.path.endswith("/messages")
        if asked.get("stream"):
            self._stream(list(anthropic_events(said) if is_anthropic else openai_events(said)))
        elif is_anthropic:
            self._send(json.dumps(anthropic_reply(said)))
        else:
            self._send(json.dumps(openai_reply([said] * min(asked.get("n") or 1, behaviour.max_samples))))

    def _send(self, text: str, status: int = 200) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if self.server.behaviour.is_compressed:
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        pause_s = self.server.behaviour.drips_s
        size = max(1, len(body) // 20) if pause_s else len(body)
        for start in range(0, len(body), size):
            self.wfile.write(body[start : start + size])
            self.server.closing.wait(pause_s)

    def _stream(self, events: list[str]) -> None:
        """The events as chunks; a cut one ends amid them, as one that is whole or as a lost connection, in turn."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        is_cut = self.server.cuts_left > 0
        self.server.cuts_left -= is_cut
        for event in events[: len(events) // 2] if is_cut else events:
            data = event.encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            time.sleep(self.server.behaviour.drips_s)
        if is_cut and self.server.cuts_left % 2:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def behaving(behaviour: str | Behaviour) -> AbstractContextManager[BehavingServer]:
    """The server, in this process."""
    return served(BehavingServer(BEHAVIOURS[behaviour] if isinstance(behaviour, str) else behaviour))
