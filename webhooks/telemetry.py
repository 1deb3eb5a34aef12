"""What happened, told twice: one wide JSON line a delivery, and counters for Prometheus."""

import logging
import os
from collections import Counter as Tally
from functools import cache
from typing import Any, TypeVar

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY

from webhooks.ingest import Delivery

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

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Metric = TypeVar("Metric", Counter, Histogram)

log = structlog.get_logger()


def configure_logging(level: str) -> None:
    structlog.configure(
        cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=to_json),
        ],
        logger_factory=structlog.BytesLoggerFactory(),
    )


def to_json(event: dict[str, Any], **_: Any) -> bytes:
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    return msgspec.json.encode(first | event, enc_hook=repr)


@cache
def labelled(metric: Metric, *labels: str) -> Metric:
    """One of a metric's series; looking it up anew for each delivery costs more than counting."""
    return metric.labels(*labels)


def tell(source: str, status: int, seconds: float, size: int, delivery: Delivery | None, error: str | None) -> None:  # noqa: PLR0913, PLR0917 - a wide line
    """Of one delivery. Nothing of the people in it."""
    labelled(DELIVERIES, source, str(status)).inc()
    labelled(SECONDS, source).observe(seconds)
    told: dict[str, Any] = {"source": source, "status": status, "bytes": size, "ms": round(seconds * 1000, 2)}
    if delivery:
        told |= count(source, delivery)
    if error:
        log.warning("delivery", **told, error=error)
    else:
        log.info("delivery", **told)


def count(source: str, delivery: Delivery) -> dict[str, Any]:
    receipt = delivery.receipt
    types = Tally(event.type.value for event in delivery.batch.events)
    for name, number in types.items():
        labelled(EVENTS, source, name).inc(number)
    for outcome in ("recorded", "duplicates", "dead"):
        if number := getattr(receipt, outcome):
            labelled(RECORDS, source, outcome).inc(number)
    if receipt.opted_out:
        labelled(FLIPS, source, "false").inc(receipt.opted_out)
    if receipt.opted_in:
        labelled(FLIPS, source, "true").inc(receipt.opted_in)
    return {
        "received": receipt.received,
        "recorded": receipt.recorded,
        "duplicates": receipt.duplicates,
        "dead": receipt.dead,
        "opted_out": receipt.opted_out,
        "opted_in": receipt.opted_in,
        "types": types,
        **({"why_dead": delivery.batch.dead_letters[0].error} if delivery.batch.dead_letters else {}),
    }


def metrics() -> bytes:
    """Of all the workers of this service."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
