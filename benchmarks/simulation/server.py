"""An OpenAI-compatible chat server in front of a policy: real HTTP, real tool calls, real streaming.

Only what GeoSleuth's models use of the protocol: POST /v1/chat/completions, with and without `stream`. It counts how
much of each request it has read before, as servers with a prompt cache do.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

CHARACTERS_A_TOKEN = 4
TOKENS_A_PICTURE = 700
CACHE_BLOCK_TOKENS = 128
LEAST_CACHED_TOKENS = 1024
"""A cached prefix has at least so many tokens and grows in blocks, as OpenAI's
(https://platform.openai.com/docs/guides/prompt-caching)."""

Json = dict[str, Any]


class Reply(NamedTuple):
    """A reply of the model: text, tool calls, or both."""

    text: str = ""
    calls: tuple[tuple[str, Json], ...] = ()


class PrefixCache:
    """What the beginnings of all requests so far were: tools, then messages. Safe between threads.

    Attributes:
        read_tokens: of all requests.
        cached_tokens: those of them that had been read before.
    """

    def __init__(self) -> None:
        self.read_tokens, self.cached_tokens = 0, 0
        self._seen: set[bytes] = set()
        self._lock = threading.Lock()

    @property
    def share(self) -> float:
        """Share of what was read that had been read before."""
        return self.cached_tokens / self.read_tokens if self.read_tokens else 0.0

    def read(self, body: Mapping[str, Any]) -> int:
        """Tokens at the beginning of a request that an earlier one began with too."""
        text = prompt_characters(body)
        step = CACHE_BLOCK_TOKENS * CHARACTERS_A_TOKEN
        digest, cached, found = hashlib.sha256(), 0, True
        with self._lock:
            for end in range(step, len(text) + 1, step):
                digest.update(text[end - step : end].encode())
                key = digest.digest()
                found = found and key in self._seen
                cached = end // CHARACTERS_A_TOKEN if found else cached
                self._seen.add(key)
            cached = cached if cached >= LEAST_CACHED_TOKENS else 0
            self.read_tokens += len(text) // CHARACTERS_A_TOKEN
            self.cached_tokens += cached
        return cached


def prompt_characters(body: Mapping[str, Any]) -> str:
    """A request as a model reads it, tools first; a picture stands for as many characters as its tokens have."""
    parts = [json.dumps(body.get("tools", []))]
    for message in body["messages"]:
        content = message.get("content") or ""
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        parts += [message["role"], *map(_block_characters, blocks), json.dumps(message.get("tool_calls", ""))]
    return "".join(parts)


def _block_characters(block: Mapping[str, Any]) -> str:
    if block["type"] == "text":
        return str(block["text"])
    digest = hashlib.sha256(json.dumps(block, sort_keys=True).encode()).hexdigest()
    return digest.ljust(TOKENS_A_PICTURE * CHARACTERS_A_TOKEN, ".")


Policy = Callable[[Mapping[str, Any]], Reply]
"""The body of a request to a reply; called from many threads."""


@contextmanager
def serve(policy: Policy, *, seconds_an_answer: float = 0.0, cache: PrefixCache | None = None) -> Iterator[str]:
    """Serve a policy on a free port of the loopback until the block ends; gives the base URL, ending in /v1."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(policy, seconds_an_answer, cache or PrefixCache()))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(policy: Policy, seconds_an_answer: float, cache: PrefixCache) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            if not self.path.endswith("/chat/completions"):
                self.send_error(404)
                return
            body: Json = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(seconds_an_answer)
            answer = completion(body, policy(body), cache.read(body))
            if body.get("stream"):
                self._stream(answer)
            else:
                self._send(json.dumps(answer).encode(), "application/json")

        def _send(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _stream(self, answer: Json) -> None:
            lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks(answer)]
            self._send("".join([*lines, "data: [DONE]\n\n"]).encode(), "text/event-stream")

        def log_message(self, *_: object) -> None:
            """Quiet: the client's side is what is looked at."""

    return Handler


def completion(body: Mapping[str, Any], reply: Reply, cached: int = 0) -> Json:
    """A whole chat completion, with tokens estimated from characters and pictures."""
    calls = [
        {"id": f"call-{len(body['messages'])}-{i}", "type": "function", "function": _function(name, arguments)}
        for i, (name, arguments) in enumerate(reply.calls)
    ]
    message: Json = {"role": "assistant", "content": reply.text or None}
    if calls:
        message["tool_calls"] = calls
    read, written = tokens_read(body), max(1, len(json.dumps(message)) // CHARACTERS_A_TOKEN)
    return {
        "id": "scripted",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model", "scripted"),
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": cached},
        },
    }


def _function(name: str, arguments: Json) -> Json:
    return {"name": name, "arguments": json.dumps(arguments)}


def chunks(answer: Mapping[str, Any]) -> Iterator[Json]:
    """A completion as the chunks of a stream."""
    choice = answer["choices"][0]
    message = choice["message"]
    delta: Json = {"role": "assistant", "content": message["content"] or ""}
    if message.get("tool_calls"):
        delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(message["tool_calls"])]
    base = {key: answer[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    yield {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]}
    yield {**base, "choices": [], "usage": answer["usage"]}


def tokens_read(body: Mapping[str, Any]) -> int:
    """About how many tokens a request holds."""
    return len(prompt_characters(body)) // CHARACTERS_A_TOKEN
