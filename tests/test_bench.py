"""The bench runs, loses nothing, and tells every figure. No test looks at how large they are."""

import json
import subprocess
import sys
from pathlib import Path

import providers
from bench.figures import AIMS
from bench.rows import EVENTS, Rows


def test_the_bench_runs(tmp_path: Path) -> None:
    told = tmp_path / "figures.json"
    ran = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--json", str(told)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    figures = json.loads(told.read_text())
    assert len(figures["writing"]) == 13
    assert len(figures["ratios"]) == len(AIMS)
    assert all(each["events_per_second"] > 0 for each in figures["writing"].values())
    assert set(figures["parsing_us"]) == set(providers.ADAPTERS)
    assert len(figures["round_trips"]) == 9


def test_every_opt_out_has_something_to_change() -> None:
    """Another person each, and never older than what came before: else nothing would be written for it."""
    kind = providers.load("sendgrid")
    rows = Rows(kind("sendgrid", [kind.new_key()]), "person")
    batches = rows.batches(10, 100)
    events = [event for batch in batches for event in batch.events]
    times = [event.occurred_at for event in events]
    assert times == sorted(times)
    assert len({event.id for event in events}) == len(events) == rows.handed_out
    decided = [decision.email_address for batch in batches for decision in batch.decisions]
    assert len(set(decided)) == len(decided) == rows.opted_out == len(events) // len(EVENTS)
