"""One real server for all tests of the protocol, with two tiny models to load."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes import model_server

CALL = (
    "<tool_call>",
    '{"name": "GivePosition", "arguments": ',
    '{"lat": 48.85, "lon": 2.29,',
    ' "name": "Paris"}}',
    "</tool_call>",
)
NEEDED = ("torch", "transformers", "fastapi", "uvicorn", "langchain_openai")


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[model_server.RealServer]:
    for package in NEEDED:
        pytest.importorskip(package, reason=f"a real model server needs {package}: pip install 'geosleuth[dev]'")
    from tests.fakes.tiny_models import build_random, build_reciter

    folder = tmp_path_factory.mktemp("protocol")
    random, reciter = build_random(folder / "random"), build_reciter(folder / "reciter", CALL)
    port = model_server.free_port()
    with model_server.process(model_server.transformers_serve(port), port, folder / "serve.log"):
        yield model_server.RealServer(port, random, reciter)
