"""OpenTelemetry spans of graphs, nodes, tool calls and model calls, if the environment asks for them.

OpenInference's instrumentation of LangChain makes the spans. What is exported of them is names, times, token counts
and types of errors: no photo, no prompt, no question and no answer. Where spans go is OpenTelemetry's own environment:
OTEL_EXPORTER_OTLP_ENDPOINT, or OTEL_TRACES_EXPORTER=console for standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from core.errors import UserError
from core.redaction import redacted

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
EXPORTER = "OTEL_TRACES_EXPORTER"
INSTALL = "pip install 'geosleuth[otel]'"

EXPORTED_ATTRIBUTES = frozenset(
    {
        "openinference.span.kind",
        "llm.model_name",
        "llm.provider",
        "llm.token_count.prompt",
        "llm.token_count.completion",
        "llm.token_count.total",
        "tool.name",
        "metadata",  # LangGraph's: thread, step, node and checkpoint
    }
)
"""The only attributes that leave: all others may hold what went in or came out."""


def spans_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the environment asks for spans."""
    exporter = environment.get(EXPORTER, "").strip().lower()
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or exporter == "none":
        return False
    return exporter in ("console", "otlp") or any(environment.get(name) for name in ENDPOINTS)


def spans_go_to(environment: Mapping[str, str]) -> str:
    """Where they go, in words, without credentials."""
    if environment.get(EXPORTER, "").strip().lower() == "console":
        return "standard error"
    return redacted(next((environment[name] for name in ENDPOINTS if environment.get(name)), "http://localhost:4318"))


@contextmanager
def exporting_spans(environment: Mapping[str, str], exporter: SpanExporter | None = None) -> Iterator[None]:
    """Export the spans of every run inside.

    Args:
        environment: says where they go.
        exporter: where they go instead; for tests.

    Raises:
        UserError: the `otel` extra is not installed.
    """
    try:
        from openinference.instrumentation import TraceConfig
        from openinference.instrumentation.langchain import LangChainInstrumentor
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
    except ImportError as error:
        raise UserError(f"the environment asks for OpenTelemetry, which is not installed: {INSTALL}") from error
    if exporter is None:
        to_console = environment.get(EXPORTER, "").strip().lower() == "console"
        exporter = ConsoleSpanExporter(out=sys.stderr) if to_console else OTLPSpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": "geosleuth"}))
    provider.add_span_processor(BatchSpanProcessor(cast("SpanExporter", ContentFilter(exporter))))
    instrumentor = LangChainInstrumentor()
    instrumentor.instrument(tracer_provider=provider, config=TraceConfig(hide_inputs=True, hide_outputs=True))
    try:
        yield
    finally:
        instrumentor.uninstrument()
        provider.shutdown()


class ContentFilter:
    """A span exporter that passes on what `EXPORTED_ATTRIBUTES` allows, and of an error its type only."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.shutdown = exporter.shutdown
        self.force_flush = exporter.force_flush

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans without content."""
        return self._exporter.export([without_content(span) for span in spans])


def without_content(span: ReadableSpan) -> ReadableSpan:
    """A span with its name, times and place in the trace, the allowed attributes and the type of its error."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Status

    errors = [(event.attributes or {}).get("exception.type") for event in span.events if event.name == "exception"]
    attributes = {name: value for name, value in (span.attributes or {}).items() if name in EXPORTED_ATTRIBUTES}
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes | ({"error.type": str(errors[-1])} if errors else {}),
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
