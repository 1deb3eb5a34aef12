"""The local Data API as a service: what it says at its start, and the faults that it was ordered to have."""

import shlex
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import ValidationError

from db import local_data_api
from db.local_data_api import CLUSTER_ARN, REGION, SECRET_ARN, Faults, create_app, environment
from db.local_data_api.side_door import Order


@dataclass(slots=True)
class Served:
    """Where it listens, and what it answers to."""

    host: str
    port: int
    cluster_arn: str = CLUSTER_ARN
    secret_arn: str = SECRET_ARN
    database: str = "postgres"

    def exports(self) -> str:
        """What points any AWS SDK at it, and our own commands."""
        region = self.cluster_arn.split(":")[3] if self.cluster_arn.count(":") > 3 else REGION
        settings = environment(f"http://{self.host}:{self.port}") | {
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "WEBHOOKS_CLUSTER_ARN": self.cluster_arn,
            "WEBHOOKS_SECRET_ARN": self.secret_arn,
            "WEBHOOKS_DATABASE": self.database,
        }
        return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in settings.items())


def serve(served: Served, url: str | Callable[[], Awaitable[str]], faults: Faults, *, side_door: bool) -> None:
    """Until it is told to stop."""
    app = create_app(
        url,
        cluster_arn=served.cluster_arn,
        secret_arn=served.secret_arn,
        faults=faults,
        side_door=side_door,
    )
    local_data_api.serve(app, host=served.host, port=served.port)


def ordered(faults: str) -> Faults:
    """Raises ValueError."""
    try:
        order = Order.model_validate_json(faults)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}".lstrip(": ") for each in error.errors()
        )
        raise ValueError(
            f"{problems}. Write JSON, such as"
            ' {"latency": 0.15, "rates": {"throttle": 0.1}, "operations": {"CommitTransaction": {"cut_after": 0.5}}}'
        ) from error
    return Faults(
        latency=order.latency,
        resuming_until=time.monotonic() + order.resuming_seconds,
        rates=order.rates,
        operations=order.operations,
        next_calls=deque(order.next_calls),
    )
