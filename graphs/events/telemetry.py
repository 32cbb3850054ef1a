"""OpenTelemetry spans of nodes, tool calls and model calls, if the environment asks for them.

A span holds what an event holds: names, times, hashes, errors; no photo, no question, no answer. Where spans go is
OpenTelemetry's own environment: OTEL_EXPORTER_OTLP_ENDPOINT, or OTEL_TRACES_EXPORTER=console for standard error.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

from core.errors import UserError
from graphs.events.tracing import Phase, TraceEvent, recording

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
EXPORTER = "OTEL_TRACES_EXPORTER"
INSTALL = "pip install 'geosleuth[otel]'"


class Exporter(Protocol):
    """The part of an OpenTelemetry span exporter that is made here."""

    def shutdown(self) -> None:
        """Send what is left."""
        ...


def spans_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the environment asks for spans."""
    exporter = environment.get(EXPORTER, "").strip().lower()
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or exporter == "none":
        return False
    return exporter in ("console", "otlp") or any(environment.get(name) for name in ENDPOINTS)


def spans_go_to(environment: Mapping[str, str]) -> str:
    """Where they go, in words."""
    if environment.get(EXPORTER, "").strip().lower() == "console":
        return "standard error"
    return next((environment[name] for name in ENDPOINTS if environment.get(name)), "http://localhost:4318")


@contextmanager
def telling_spans(environment: Mapping[str, str]) -> Iterator[None]:
    """Make spans of every run inside.

    Raises:
        UserError: OpenTelemetry is wanted and not installed.
    """
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise UserError(f"the environment asks for OpenTelemetry, which is not installed: {INSTALL}") from error
    provider = TracerProvider(resource=Resource.create({"service.name": "geosleuth"}))
    provider.add_span_processor(BatchSpanProcessor(_exporter(environment)))
    try:
        with recording(Spans(provider.get_tracer("geosleuth"))):
            yield
    finally:
        provider.shutdown()


def _exporter(environment: Mapping[str, str]) -> Any:
    if environment.get(EXPORTER, "").strip().lower() == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise UserError(f"the environment asks for OTLP, which is not installed: {INSTALL}") from error
    return OTLPSpanExporter()


class Spans:
    """Turns events into spans; a node's tool and model calls are its children."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer
        self._open: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, event: TraceEvent) -> None:
        """Begin or end a span."""
        key = event.id.rsplit("/", 1)[0]
        with self._lock:
            if event.phase is Phase.START:
                self._open[key] = self._begun(event, key)
                return
            span = self._open.pop(key, None)
        if span is not None:
            self._ended(span, event)

    def _begun(self, event: TraceEvent, key: str) -> Any:
        from opentelemetry.trace import set_span_in_context

        node = f"{key.rsplit('/', 1)[0]}/node:{event.node}"
        parent = self._open.get(node) or self._outer(key)
        context = set_span_in_context(parent) if parent else None
        span = self._tracer.start_span(f"{event.what.value} {event.name}", context=context, start_time=_ns(event))
        for name in ("thread", "step", "call_id", "arguments_sha256"):
            value = getattr(event, name)
            if value is not None:
                span.set_attribute(f"geosleuth.{name}", value)
        return span

    def _outer(self, key: str) -> Any:
        """The span of the node whose subgraph this node is in."""
        outer, inner, _ = key.rpartition("|")
        if not inner:
            return None
        name = outer.rsplit("|", 1)[-1].split(":", 1)[0]
        return self._open.get(f"{outer}/node:{name}")

    def _ended(self, span: Any, event: TraceEvent) -> None:
        from opentelemetry.trace import Status, StatusCode

        for name in ("result_sha256", "tokens", "paused"):
            value = getattr(event, name)
            if value is not None:
                span.set_attribute(f"geosleuth.{name}", value)
        if event.error:
            span.set_status(Status(StatusCode.ERROR, event.error))
        span.end(end_time=_ns(event))


def _ns(event: TraceEvent) -> int:
    return int(datetime.fromisoformat(event.time).timestamp() * 1e9)
