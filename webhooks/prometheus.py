"""What happened, counted for Prometheus."""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OUTCOMES = ("recorded", "duplicates", "dead", "queued")

DELIVERIES = Counter("webhooks_deliveries", "Deliveries answered", ["source", "status"])
SECONDS = Histogram(
    "webhooks_delivery_seconds",
    "From the first byte to the answer",
    ["source"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
EVENTS = Counter("webhooks_events", "Events received, repeats included", ["source", "type"])
RECORDS = Counter("webhooks_records", "What became of what was received", ["source", "outcome"])
FLIPS = Counter(
    "webhooks_preferences_changed", "Rows of email_preferences set to another value", ["source", "opted_in"]
)
WAITING = Gauge("webhooks_waiting_records", "Records that wait for the database", multiprocess_mode="livesum")

Metric = TypeVar("Metric", Counter, Histogram)


@cache
def labelled(metric: Metric, *labels: str) -> Metric:
    """One of a metric's series; looking it up anew for each delivery costs more than counting."""
    return metric.labels(*labels)


def observe(told: Mapping[str, Any]) -> None:
    """The fields of a delivery's log line."""
    source = told["source"]
    labelled(DELIVERIES, source, str(told["status"])).inc()
    labelled(SECONDS, source).observe(told["ms"] / 1000)
    WAITING.set(told["waiting"])
    for name, number in told.get("types", {}).items():
        labelled(EVENTS, source, name).inc(number)
    for outcome in OUTCOMES:
        if number := told.get(outcome):
            labelled(RECORDS, source, outcome).inc(number)
    for field, opted_in in (("opted_out", "false"), ("opted_in", "true")):
        if number := told.get(field):
            labelled(FLIPS, source, opted_in).inc(number)


def metrics() -> bytes:
    """Of all the workers of this service."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
