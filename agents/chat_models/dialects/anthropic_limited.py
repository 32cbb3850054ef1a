"""Anthropic's chat model over an HTTP client of our own: LangChain's class takes none."""

from __future__ import annotations

from functools import cached_property

import anthropic
from langchain_anthropic import ChatAnthropic

from agents.chat_models.http_limits import limited


class LimitedAnthropic(ChatAnthropic):
    """A chat model whose answers are limited in bytes and seconds; photos go to the host that was named."""

    @cached_property
    def _client(self) -> anthropic.Client:
        parameters = self._client_params
        own = limited(parameters["timeout"])
        # The library's own kind of client: it refuses those of another version of httpx.
        client = anthropic.DefaultHttpxClient(timeout=parameters["timeout"], follow_redirects=False, **own)
        return anthropic.Client(**parameters, http_client=client)
