"""The OpenAPI document: version 3.1, with examples, and true of the server (schemathesis)."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.internal.conjecture import utils as cu

from apps.api.app import create_app
from apps.service.access import ApiKeys
from tests.fakes.services import listening, service

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

KEY = "k" * 20
EXAMPLES = 12
"""Requests made up for each operation: enough to meet its parameters, few enough for seconds."""


class Many(cu.many):
    """hypothesis-jsonschema 0.23.1 asks for elements as Hypothesis had it before 6.170: `while elements.more()`."""

    def more(self) -> bool:
        if self._depth is None:
            self._elements = iter(self.__enter__())
        is_over = next(self._elements, "over") == "over"
        if is_over:
            self.__exit__(None)
        return is_over is False


@pytest.fixture
def _objects_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(cu.many, "more"):
        monkeypatch.setattr("hypothesis_jsonschema._from_schema.cu", SimpleNamespace(many=Many))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    limits: dict[str, Any] = {"requests_per_minute": 100_000, "job_workers": 0}
    with (
        service(tmp_path_factory.mktemp("home"), **limits) as opened,
        listening(create_app(opened, ApiKeys.of([f"anna:{KEY}"]))) as at,
    ):
        yield at


def test_it_is_openapi_31_with_examples_and_problems_for_every_operation(url: str) -> None:
    document = httpx.get(f"{url}/openapi.json", trust_env=False).json()
    assert document["openapi"].startswith("3.1.")
    assert {"/v1/locate", "/v1/jobs", "/v1/threads/{thread_id}/messages", "/v1/search"} <= set(document["paths"])
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["description"], (method, path)
            if path.startswith("/v1/"):
                assert operation["security"] == [{"HTTPBearer": []}]
                problem = operation["responses"]["429"]["content"]["application/problem+json"]
                assert problem["example"]["status"] == 429
    assert "example" in document["paths"]["/v1/locate"]["post"]["responses"]["200"]["content"]["text/event-stream"]


@pytest.mark.usefixtures("_objects_are_made")
def test_the_server_keeps_to_it(url: str) -> None:
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    headers = {"Authorization": f"Bearer {KEY}"}
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        )
        @given(case=operation.as_strategy())
        def keeps(case: Any) -> None:
            case.call_and_validate(base_url=url, headers=headers, checks=checks)

        keeps()
        tried += 1
    assert tried >= 20
