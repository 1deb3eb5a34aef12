"""The bench runs, loses nothing, and tells every figure. No test looks at how large they are."""

import json
import subprocess
import sys
from pathlib import Path

import providers


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
    assert len(figures["writing"]) == 11
    assert all(each["events_per_second"] > 0 for each in figures["writing"].values())
    assert set(figures["parsing_us"]) == set(providers.ADAPTERS)
