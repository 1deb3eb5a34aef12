"""What happened: one wide JSON line a delivery, and whoever counts by its fields."""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from webhooks.ingest import Delivery

log = structlog.get_logger()

Observe = Callable[[dict[str, Any]], None]
observers: list[Observe] = []
"""Each is handed the fields of every delivery's line, and may add to them."""

# The fields that CloudWatch makes metrics of, out of the line itself, and their units.
CLOUDWATCH = {
    "ms": "Milliseconds",
    "received": "Count",
    "recorded": "Count",
    "duplicates": "Count",
    "dead": "Count",
    "queued": "Count",
    "opted_out": "Count",
    "opted_in": "Count",
    "refused": "Count",
}
# A name that AWS's own libraries read: two deployments in one account are counted apart.
NAMESPACE = os.environ.get("AWS_EMF_NAMESPACE", "EmailWebhooks")


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


def tell(told: dict[str, Any], delivery: Delivery | None, error: str | None) -> None:
    """Of one delivery. Nothing of the people in it. `told` is what is known of its request and its answer."""
    if delivery:
        told |= outcome(delivery)
    for observe in observers:
        observe(told)
    if error:
        log.warning("delivery", **told, error=error)
    else:
        log.info("delivery", **told)


def outcome(delivery: Delivery) -> dict[str, Any]:
    receipt, batch = delivery.receipt, delivery.batch
    return {
        "received": receipt.received + (delivery.queued or 0),
        "recorded": receipt.recorded,
        "duplicates": receipt.duplicates,
        "dead": receipt.dead,
        "opted_out": receipt.opted_out,
        "opted_in": receipt.opted_in,
        "types": Counter(event.type.value for event in batch.events),
        **({"queued": delivery.queued} if delivery.queued is not None else {}),
        **({"why_dead": batch.dead_letters[0].error} if batch.dead_letters else {}),
    }


def is_refusal(status: int) -> bool:
    """Whether the trouble is ours, in the words of any provider: it is to send again."""
    return status == 429 or status >= 500


def for_cloudwatch(told: dict[str, Any]) -> None:
    """An observer that adds to the line what makes CloudWatch count by it (its embedded metric format).

    In all, which alarms watch, and by source.
    """
    told["refused"] = int(is_refusal(told["status"]))
    metrics = [{"Name": name, "Unit": unit} for name, unit in CLOUDWATCH.items() if name in told]
    metric = {"Namespace": NAMESPACE, "Dimensions": [[], ["source"]], "Metrics": metrics}
    told["_aws"] = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [metric]}
