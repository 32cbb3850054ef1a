"""OpenTelemetry: only where the environment asks, and nothing of the photo in a span."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from core.errors import UserError
from graphs.events.telemetry import INSTALL, exporting_spans, spans_go_to, spans_wanted
from graphs.geolocate import build_geolocate
from tests.fakes.conversations import ended, shot, talk
from tests.fakes.machine import BrokenSearch, ScriptedModel, context, given

SIGNS = ("Lisbon", "www.obchod.cz")


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


@contextmanager
def collected_spans() -> Iterator[list[Any]]:
    """The spans of the runs inside; the list is filled at the end."""
    pytest.importorskip("openinference.instrumentation.langchain", reason=f"an extra: {INSTALL}")
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, spans = InMemorySpanExporter(), list[Any]()
    with exporting_spans({}, exporter):
        yield spans
    spans.extend(exporter.get_finished_spans())


SECRETS = ("Lisbon", "obchod", "38.72", "40.42", "Secretcam", "holiday", "base64", "what is this", "quoted material")


def test_nodes_tool_calls_and_model_calls_are_spans_within_one_another() -> None:
    with collected_spans() as spans:
        build_geolocate(context(SIGNS)).invoke(given())  # type: ignore[call-overload]  # a plain dictionary
    by_id = {span.context.span_id: span for span in spans}
    by_name = {span.name: span for span in spans}
    assert {"geolocate", "look", "commit", "search_photos", "OfflineReasoner"} <= by_name.keys()
    assert by_name["search_photos"].attributes["openinference.span.kind"] == "TOOL"
    assert by_name["OfflineReasoner"].attributes["openinference.span.kind"] == "LLM"
    assert by_name["look"].parent.span_id == by_name["geolocate"].context.span_id
    outer = by_name["search_photos"]
    while outer.name != "recall":
        outer = by_id[outer.parent.span_id]


def test_a_conversations_steps_are_within_its_turn() -> None:
    with collected_spans() as spans:
        ended(talk().show(shot()))
    by_name = {span.name: span for span in spans}
    assert by_name["geolocate"].parent.span_id == by_name["locate"].context.span_id


@pytest.mark.parametrize("search", [None, BrokenSearch(())])
def test_no_span_holds_photo_prompt_question_or_answer(search: BrokenSearch | None) -> None:
    with collected_spans() as spans:
        build_geolocate(context(SIGNS, search=search)).invoke(given(question="what is this in Lisbon?"))  # type: ignore[call-overload]
        ended(talk().show(shot(), "what is this?"))
    text = " ".join(span.to_json() for span in spans)
    assert len(spans) > 20
    assert not [secret for secret in SECRETS if secret in text]


def test_of_a_failed_run_only_the_errors_type_is_exported() -> None:
    def leaking(*_: Any) -> Any:
        raise ZeroDivisionError("Lisbon")

    with collected_spans() as spans, pytest.raises(ZeroDivisionError):
        build_geolocate(context(model=ScriptedModel(policy=leaking))).invoke(given())  # type: ignore[call-overload]
    failed = next(span for span in spans if span.name == "hypothesise")
    assert failed.attributes["error.type"] == "ZeroDivisionError"
    assert not failed.status.is_ok
    assert "Lisbon" not in " ".join(span.to_json() for span in spans)


def test_nothing_is_recorded_outside() -> None:
    with collected_spans() as spans:
        pass
    build_geolocate(context()).invoke(given())  # type: ignore[call-overload]
    assert spans == []


def test_tracing_that_is_not_installed_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith(("opentelemetry", "openinference")):
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UserError, match=r"geosleuth\[otel\]"), exporting_spans({"OTEL_TRACES_EXPORTER": "console"}):
        pass
