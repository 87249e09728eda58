"""What the server counts, for Prometheus: TensorFlow Serving's names where it has one."""

import collections
import time
from collections.abc import Callable, Iterator
from typing import Any

import prometheus_client
from prometheus_client import core
from prometheus_client.registry import Collector

# 10 microseconds to some 20 minutes, as there (servables/tensorflow/util.cc).
_LATENCY_BUCKETS = [10 * 1.8**power for power in range(33)]
_EXAMPLE_BUCKETS = [2**power for power in range(15)]
CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST

prometheus_client.disable_created_metrics()


class Metrics(Collector):
    """Counts of one server, in a registry of its own."""

    def __init__(self) -> None:
        """Starts at nothing."""
        self.registry = prometheus_client.CollectorRegistry()
        self._requests: collections.Counter[tuple[str, str]] = collections.Counter()
        self._examples: collections.Counter[str] = collections.Counter()
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._latency = prometheus_client.Histogram(
            ":tensorflow:serving:request_latency",
            "Wall time of a request in microseconds.",
            ("model_name", "API", "entrypoint"),
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self._counts = prometheus_client.Histogram(
            ":tensorflow:serving:request_example_counts",
            "Images of a request.",
            ("model",),
            buckets=_EXAMPLE_BUCKETS,
            registry=self.registry,
        )
        self.registry.register(self)
        prometheus_client.ProcessCollector(registry=self.registry)

    def add_gauge(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """Shows what `value` gives whenever somebody asks."""
        self._gauges[name] = help_text, value

    def add_collector(self, collector: Collector) -> None:
        """Shows what another part of the server counts."""
        self.registry.register(collector)

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
        self._requests[model, status] += 1
        seconds = time.perf_counter() - started
        self._latency.labels(model, api, entrypoint).observe(1e6 * seconds)

    def examples(self, model: str, count: int) -> None:
        """Counts the images of a request that was answered."""
        self._examples[model] += count
        self._counts.labels(model).observe(count)

    def request_count(self) -> int:
        """Requests that are over, answered or refused."""
        return self._requests.total()

    def page(self) -> bytes:
        """All of it as Prometheus reads it."""
        return prometheus_client.generate_latest(self.registry)

    def collect(self) -> Iterator[Any]:
        """See base class.

        Untyped, because the client library would add `_total` to the names of counters, and
        those of TensorFlow Serving have none.
        """
        requests = core.UntypedMetricFamily(
            ":tensorflow:serving:request_count",
            "The total number of requests.",
            labels=("model_name", "status"),
        )
        for labels, count in sorted(self._requests.items()):
            requests.add_metric(labels, count)
        yield requests
        examples = core.UntypedMetricFamily(
            ":tensorflow:serving:request_example_count_total",
            "The total number of images.",
            labels=("model",),
        )
        for model, count in sorted(self._examples.items()):
            examples.add_metric((model,), count)
        yield examples
        for name, (help_text, value) in self._gauges.items():
            yield core.GaugeMetricFamily(name, help_text, value())
