"""What was measured: medians, percentiles, and the ratios that we aim for, as tables."""

from collections import defaultdict
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.load import Measured

SERVICE = "service, {:,} a request"
NAIVE = "(a) one statement an event, behind the same HTTP, {:,} a request"
ONE_BY_ONE = "(a) one statement an event, without HTTP"
STATEMENT = "record_events.sql alone, {:,} a statement, 4 in flight"
STATEMENT_ONCE = "record_events.sql alone, {:,} a statement, 1 in flight"
COPY = "(b) COPY alone, {:,} rows at a time, 4 in flight"

# A figure, the one that it is compared with, and the least that it should be of it.
AIMS = [
    (SERVICE.format(100), STATEMENT.format(100), 0.6),
    (STATEMENT.format(1_000), COPY.format(1_000), 0.5),
    (SERVICE.format(1), NAIVE.format(1), 1.8),
    (SERVICE.format(1), ONE_BY_ONE, None),
    (SERVICE.format(100), STATEMENT_ONCE.format(100), None),
    (SERVICE.format(100), NAIVE.format(100), None),
    (SERVICE.format(1_000), NAIVE.format(1_000), None),
]
PARSING_AIM = 20

Summary = dict[str, dict[str, float]]


class Figures:
    """Of each way: events a second in each round, and every latency."""

    def __init__(self) -> None:
        self.rates: dict[str, list[float]] = defaultdict(list)
        self.latencies: dict[str, list[float]] = defaultdict(list)

    def add(self, way: str, events: int, measured: Measured | float) -> None:
        seconds = measured.seconds if isinstance(measured, Measured) else measured
        self.rates[way].append(events / seconds)
        if isinstance(measured, Measured):
            self.latencies[way] += measured.latencies

    def summary(self) -> Summary:
        told: Summary = {}
        for way, rates in self.rates.items():
            told[way] = {
                "events_per_second": round(median(rates)),
                "lowest": round(min(rates)),
                "highest": round(max(rates)),
            }
            if latencies := sorted(self.latencies[way]):
                told[way] |= {"p50_ms": percentile(latencies, 50), "p99_ms": percentile(latencies, 99)}
        return told


def percentile(ordered: list[float], percent: int) -> float:
    """In milliseconds."""
    return round(ordered[(len(ordered) - 1) * percent // 100] * 1000, 1)


def ratios(summary: Summary) -> list[tuple[str, str, float, float | None]]:
    return [
        (one, other, round(summary[one]["events_per_second"] / summary[other]["events_per_second"], 2), aim)
        for one, other, aim in AIMS
    ]


def show(console: Console, summary: Summary, parsing: dict[str, float]) -> None:
    table = Table("way", "events/s (median)", "lowest to highest", "p50 ms", "p99 ms", title="Writing")
    for way, each in summary.items():
        spread = f"{each['lowest']:,.0f} to {each['highest']:,.0f}"
        latencies = (str(each.get(name, "")) for name in ("p50_ms", "p99_ms"))
        table.add_row(way, f"{each['events_per_second']:,.0f}", spread, *latencies)
    console.print(table)
    compared = Table("of", "to", "ratio", "aim", "", title="Ratios of medians")
    for one, other, ratio, aim in ratios(summary):
        compared.add_row(one, other, f"{ratio:.2f}", *((f"at least {aim}", verdict(ratio >= aim)) if aim else ("", "")))
    console.print(compared)
    parsed = Table("provider", "parsing, µs an event", "aim", "", title="Reading a provider's own samples")
    for name, microseconds in parsing.items():
        parsed.add_row(name, str(microseconds), f"under {PARSING_AIM}", verdict(microseconds < PARSING_AIM))
    console.print(parsed)


def verdict(is_reached: bool) -> str:
    return "[green]reached[/]" if is_reached else "[red]missed[/]"
