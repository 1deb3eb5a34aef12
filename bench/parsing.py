"""What it takes to read each provider's deliveries, without network or database."""

import time
from datetime import UTC, datetime
from statistics import median

import providers
from providers.adapter import Verified

TIMES = 5


def parse_times(number: int) -> dict[str, float]:
    """Microseconds an event, of so many events of each provider's own samples: the median of five."""
    return {name: round(parse_time(name, number), 1) for name in providers.ADAPTERS}


def parse_time(name: str, number: int) -> float:
    kind = providers.load(name)
    adapter = kind(name, [kind.new_key()], kind.trial_options)
    now = datetime.now(UTC)
    events = list(adapter.samples)
    made = [adapter.sample(events[n % len(events)], f"person{n}@example.com", now, n) for n in range(number)]
    requests = [Verified(request) for request in adapter.sign(made, now)]
    times = []
    for _ in range(TIMES):
        began = time.perf_counter()
        found = sum(len(adapter.parse(request).events) for request in requests)
        times.append((time.perf_counter() - began) / found * 1e6)
    return median(times)
