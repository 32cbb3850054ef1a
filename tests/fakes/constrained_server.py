"""An OpenAI-compatible server that holds its model to a JSON schema with llguidance, as vLLM does.

`transformers serve` ignores `response_format`, so this small server of our own stands in for those that do not. The
model is the tiny one with random weights: it says nothing sensible, but in the form that was asked for.
"""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import llguidance
import llguidance.hf
import llguidance.torch
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, LogitsProcessor, LogitsProcessorList
from transformers.models.llava.processing_llava import LlavaProcessor

HASTE = 8.0
"""Added to the logits of marks that end a text, a list or an object, so that noise is brief."""


class HeldToSchema(LogitsProcessor):
    """Lets only tokens through that keep the text within the schema."""

    def __init__(self, tokenizer: llguidance.LLTokenizer, schema: dict[str, Any], endings: list[int]) -> None:
        grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema), {"whitespace_flexible": False})
        self._matcher = llguidance.LLMatcher(tokenizer, grammar)
        self._mask = llguidance.torch.allocate_token_bitmask(1, tokenizer.vocab_size)
        self._endings = endings
        self._length: int | None = None

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        if self._length is not None:
            self._matcher.consume_tokens(input_ids[0, self._length :].tolist())
        self._length = input_ids.shape[1]
        llguidance.torch.fill_next_token_bitmask(self._matcher, self._mask, 0)
        scores[:, self._endings] += HASTE
        llguidance.torch.apply_token_bitmask_inplace(scores, self._mask.to(scores.device))
        return scores


class Constrained(ThreadingHTTPServer):
    """Loads a model folder and answers one request at a time."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._processor = LlavaProcessor.from_pretrained(folder)
        self._model: Any = AutoModelForImageTextToText.from_pretrained(folder)
        self._tokens = llguidance.hf.from_tokenizer(self._processor.tokenizer)
        self._endings = [self._processor.tokenizer.encode(mark)[0] for mark in '"}],']
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """One chat completion."""
        with self._lock, torch.no_grad():
            torch.manual_seed(0)
            inputs = self._inputs(asked["messages"])
            length = inputs["input_ids"].shape[1]
            limit = min(asked.get("max_tokens") or asked.get("max_completion_tokens") or 400, 400)
            held = self._held(asked.get("response_format") or {})
            said = self._model.generate(**inputs, max_new_tokens=limit, do_sample=True, logits_processor=held)
        text = self._processor.tokenizer.decode(said[0, length:], skip_special_tokens=True)
        usage = {"prompt_tokens": length, "completion_tokens": len(said[0]) - length, "total_tokens": len(said[0])}
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}

    def _held(self, wanted: dict[str, Any]) -> LogitsProcessorList:
        if wanted.get("type") != "json_schema":
            return LogitsProcessorList()
        return LogitsProcessorList([HeldToSchema(self._tokens, wanted["json_schema"]["schema"], self._endings)])

    def _inputs(self, messages: list[dict[str, Any]]) -> Any:
        parts = [{"role": m["role"], "content": _parts(m.get("content") or "")} for m in messages]
        pictures = [_picture(part) for m in messages for part in _listed(m) if part["type"] == "image_url"]
        prompt = self._processor.apply_chat_template(parts, add_generation_prompt=True, tokenize=False)
        return self._processor(text=prompt, images=pictures or None, return_tensors="pt")


def _listed(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _parts(content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    return [{"type": "image"} if part["type"] == "image_url" else part for part in content]


def _picture(part: dict[str, Any]) -> Image.Image:
    data = part["image_url"]["url"].partition(",")[2]
    return Image.open(BytesIO(b64decode(data))).convert("RGB")


class _Handler(BaseHTTPRequestHandler):
    server: Constrained
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(self.server.answer(asked)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def constrained(folder: Path) -> Iterator[Constrained]:
    """The server, in this process."""
    server = Constrained(folder)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
