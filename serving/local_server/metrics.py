"""Metrics for Prometheus, under TensorFlow Serving's names where it has one."""

import functools
import time
from collections.abc import Callable

import prometheus_client

_PREFIX = ":tensorflow:serving:"
# 10 microseconds to about 20 minutes, as in TensorFlow Serving (servables/tensorflow/util.cc).
_LATENCY_BUCKETS = [10 * 1.8**power for power in range(33)]
_EXAMPLE_BUCKETS = [2**power for power in range(15)]
CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST

prometheus_client.disable_created_metrics()


class Metrics:
    """Counts of one server, in a registry of its own."""

    def __init__(self) -> None:
        """Starts all counts at 0."""
        self.registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        gauge = functools.partial(prometheus_client.Gauge, registry=self.registry)
        histogram = functools.partial(
            prometheus_client.Histogram, registry=self.registry
        )
        # Gauges, because the client library appends `_total` to the names of counters, and
        # TensorFlow Serving's have none.
        self._requests = gauge(
            f"{_PREFIX}request_count",
            "The total number of requests.",
            ("model_name", "status"),
        )
        self._examples = gauge(
            f"{_PREFIX}request_example_count_total",
            "The total number of examples.",
            ("model",),
        )
        self._latency = histogram(
            f"{_PREFIX}request_latency",
            "Wall time of a request in microseconds.",
            ("model_name", "API", "entrypoint"),
            buckets=_LATENCY_BUCKETS,
        )
        self._counts = histogram(
            f"{_PREFIX}request_example_counts",
            "Examples of a request.",
            ("model",),
            buckets=_EXAMPLE_BUCKETS,
        )
        self.request_count = 0

    def add_gauge(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """Adds a gauge whose value is computed for each page."""
        gauge = prometheus_client.Gauge(name, help_text, registry=self.registry)
        gauge.set_function(value)

    def request(
        self, model: str, api: str, entrypoint: str, status: str, started: float
    ) -> None:
        """Counts a finished request.

        Args:
          model: name of a served model, or '': unknown names would fill the memory.
          api: 'Predict', 'Classify' and so on.
          entrypoint: 'REST' or 'GRPC'.
          status: name of a gRPC code.
          started: by `time.perf_counter`.
        """
        self.request_count += 1
        self._requests.labels(model, status).inc()
        seconds = time.perf_counter() - started
        self._latency.labels(model, api, entrypoint).observe(1e6 * seconds)

    def examples(self, model: str, count: int) -> None:
        """Counts the examples of an answered request."""
        self._examples.labels(model).inc(count)
        self._counts.labels(model).observe(count)

    def page(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return prometheus_client.generate_latest(self.registry)
