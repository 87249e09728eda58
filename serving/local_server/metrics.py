"""What the server counts, for Prometheus: TensorFlow Serving's names where it has one."""

import time
from collections.abc import Callable

import prometheus_client

# 10 microseconds to some 20 minutes, as there (servables/tensorflow/util.cc).
_LATENCY_BUCKETS = [10 * 1.8**power for power in range(33)]
_EXAMPLE_BUCKETS = [2**power for power in range(15)]
CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST

prometheus_client.disable_created_metrics()


class Metrics:
    """Counts of one server, in a registry of its own."""

    def __init__(self) -> None:
        """Starts at nothing."""
        self.registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        # Gauges that only rise, because the client library would add `_total` to the names
        # of counters, and those of TensorFlow Serving have none.
        self._requests = prometheus_client.Gauge(
            ":tensorflow:serving:request_count",
            "The total number of requests.",
            ("model_name", "status"),
            registry=self.registry,
        )
        self._examples = prometheus_client.Gauge(
            ":tensorflow:serving:request_example_count_total",
            "The total number of examples.",
            ("model",),
            registry=self.registry,
        )
        self._latency = prometheus_client.Histogram(
            ":tensorflow:serving:request_latency",
            "Wall time of a request in microseconds.",
            ("model_name", "API", "entrypoint"),
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self._counts = prometheus_client.Histogram(
            ":tensorflow:serving:request_example_counts",
            "Examples of a request.",
            ("model",),
            buckets=_EXAMPLE_BUCKETS,
            registry=self.registry,
        )
        self.request_count = 0

    def add_gauge(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """Shows what `value` gives whenever somebody asks."""
        gauge = prometheus_client.Gauge(name, help_text, registry=self.registry)
        gauge.set_function(value)

    def request(
        self, model: str, api: str, entrypoint: str, status: str, started: float
    ) -> None:
        """Counts a request that is over.

        Args:
          model: name of a served model, or '': names of strangers would fill the memory.
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
        """Counts the examples of a request that was answered."""
        self._examples.labels(model).inc(count)
        self._counts.labels(model).observe(count)

    def page(self) -> bytes:
        """All of it as Prometheus reads it."""
        return prometheus_client.generate_latest(self.registry)
