"""Prometheus metrics of one process: requests, runs, photos of jobs, calls of the encoder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.types import Scope
from typing_extensions import override

from apps.service.service import GeolocationService
from retrieval.encoders.batching import BatchingPhotoEncoder

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_BATCH_PHOTOS = (1, 2, 4, 8, 16, 32, 64)


class EncoderBatches(Collector):
    """A histogram of the photos in each call of the encoder, read from the encoder when it is asked for."""

    def __init__(self, encoder: BatchingPhotoEncoder) -> None:
        self._encoder = encoder

    @override
    def collect(self) -> Iterator[HistogramMetricFamily]:
        sizes = self._encoder.batch_sizes
        counts = [(f"{most:.1f}", sum(n for size, n in sizes.items() if size <= most)) for most in _BATCH_PHOTOS]
        yield HistogramMetricFamily(
            "geosleuth_encoder_batch_photos",
            "Photos of one call of the encoder",
            [*counts, ("+Inf", sum(sizes.values()))],
            sum(size * n for size, n in sizes.items()),
        )


class ServerMetrics:
    """What is counted; labels are the routes' own paths, so that no caller can make new ones."""

    def __init__(self, service: GeolocationService) -> None:
        self._service = service
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        labels = ("method", "route")
        self._requests = Counter(
            "geosleuth_requests", "Requests that were answered", (*labels, "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "geosleuth_request_seconds",
            "Seconds to the end of an answer",
            labels,
            registry=self._registry,
            buckets=_SECONDS,
        )
        under_way = Gauge("geosleuth_requests_under_way", "Requests under way", registry=self._registry)
        self._under_way = under_way
        runs = Gauge("geosleuth_runs_under_way", "Photos and turns that run or wait", registry=self._registry)
        runs.set_function(lambda: service.pool.under_way)
        if service.system.components.encoder is not None:
            self._registry.register(EncoderBatches(service.system.components.encoder))
        self._items = Gauge("geosleuth_job_items", "Photos of all jobs", ("status",), registry=self._registry)

    @contextmanager
    def request(self, scope: Scope) -> Iterator[Callable[[int], None]]:
        """Count a request; yields a function to call with its status."""
        begun_s, statuses = time.perf_counter(), [499]
        self._under_way.inc()
        try:
            yield statuses.append
        finally:
            self._under_way.dec()
            labels = _method(scope), _route(scope)
            self._requests.labels(*labels, str(statuses[-1])).inc()
            self._seconds.labels(*labels).observe(time.perf_counter() - begun_s)

    def text(self) -> bytes:
        """The metrics in Prometheus's text format; asks the database."""
        for status, count in self._service.jobs.counts().items():
            self._items.labels(status).set(count)
        return generate_latest(self._registry)


def _route(scope: Scope) -> str:
    """The path of the route, with names where it has ids; `none` for a request that came to none."""
    path = getattr(scope.get("route"), "path", None)
    if path is None:
        return "none"
    return f"/v1{path}" if scope["path"].startswith("/v1/") and not path.startswith("/v1/") else str(path)


def _method(scope: Scope) -> str:
    """The method, if it is one that HTTP has: a caller may send any word."""
    known = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    return scope["method"] if scope["method"] in known else "other"
