"""OpenTelemetry: only where the environment asks, and nothing of the photo in a span."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

import pytest

from core.errors import UserError
from graphs.events.telemetry import Spans, spans_go_to, spans_wanted, telling_spans
from graphs.events.tracing import recording
from graphs.geolocate import build_geolocate
from tests.fakes.conversations import ended, shot, talk
from tests.fakes.machine import context, given


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, False),
    ],
)
def test_spans_are_made_only_where_the_environment_asks(environment: dict[str, str], wanted: bool) -> None:
    assert spans_wanted(environment) is wanted


def test_where_spans_go_is_said() -> None:
    assert spans_go_to({"OTEL_TRACES_EXPORTER": "console"}) == "standard error"
    assert spans_go_to({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:1"}) == "http://x:1"
    assert spans_go_to({"OTEL_TRACES_EXPORTER": "otlp"}) == "http://localhost:4318"


@pytest.fixture
def spans() -> Iterator[Any]:
    pytest.importorskip("opentelemetry.sdk", reason="OpenTelemetry is an extra: pip install 'geosleuth[otel]'")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with recording(Spans(provider.get_tracer("test"))):
        yield exporter
    provider.shutdown()


def test_calls_are_children_of_their_nodes_and_hold_no_content(spans: Any) -> None:
    build_geolocate(context(("Lisbon",))).invoke(given())  # type: ignore[call-overload]  # a plain dictionary
    finished = {span.context.span_id: span for span in spans.get_finished_spans()}
    names = {span.name for span in finished.values()}
    assert {"node look", "node commit", "tool search_photos", "model OfflineReasoner"} <= names
    tools = [span for span in finished.values() if span.name.startswith("tool ")]
    assert all(finished[span.parent.span_id].name.startswith("node ") for span in tools)
    assert all(span.end_time >= span.start_time for span in tools)
    text = " ".join(span.to_json() for span in finished.values())
    assert not any(secret in text for secret in ("Lisbon", "38.72", "Secretcam"))


def test_a_conversations_steps_are_within_its_turn(spans: Any) -> None:
    ended(talk().show(shot()))
    finished = {span.context.span_id: span for span in spans.get_finished_spans()}
    look = next(span for span in finished.values() if span.name == "node look")
    assert finished[look.parent.span_id].name == "node locate"


def test_tracing_that_is_not_installed_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UserError, match=r"geosleuth\[otel\]"), telling_spans({"OTEL_TRACES_EXPORTER": "console"}):
        pass
