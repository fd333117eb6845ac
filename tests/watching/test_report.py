# SPDX-License-Identifier: Apache-2.0
"""The sections of the report whose numbers are planted, and their refusals."""

from __future__ import annotations

import numpy as np
import pytest
from oracles.credence_paths import STRATA, grokking

from lightning_monocon.landscape import LandscapeTracker, merge_runs
from lightning_monocon.watching.report import Run, forecast_section, percolation_section


def _run(name: str, size: int, generalised: float, stop: int) -> Run:
    tracker = LandscapeTracker(STRATA, probe="p")
    steps = np.arange(0, stop + 1, 50)
    for step, profile in zip(steps, grokking(steps.astype(float), generalised=generalised, width=120.0), strict=True):
        tracker.update(int(step), profile)
    settings: dict[str, float | int | str] = {"train_size": size, "batch_size": 8, "lr": 1e-3, "optimizer": "AdamW"}
    return Run(name, tracker, settings)


def test_a_run_that_has_not_generalised_is_forecast() -> None:
    early, about, done = (_run(name, 500, 2000.0, stop) for name, stop in (("a", 800), ("b", 1850), ("c", 3000)))
    first, second = forecast_section([early, about, done]).splitlines()
    assert first.startswith("- a: validation credence 0.0") and first.endswith("only several runs can tell")
    name, step, low, _, high = second.removeprefix("- ").replace("step ", "").replace("(", "").rstrip(")").split()
    assert name == "b:"
    assert float(step) == pytest.approx(2000, rel=0.15)  # the credence starts at 0.02, not at 0: forecasts err late
    assert float(low) < 2000 < float(high)
    assert forecast_section([done]) == "All runs have generalised."


def test_a_threshold_that_falls_as_the_budget_doubles_is_not_claimed() -> None:
    runs = [_run(f"d{size}", size, 4e8 * size**-2.0, 4000) for size in (300, 400, 500, 700, 1000)]
    text = percolation_section(runs, merge_runs([run.tracker for run in runs]))
    assert "- 300 samples: 0.00 (0.00 to 0.79) generalise within 4000 steps" in text
    assert "Budget-shift test: threshold fell by " in text and "no threshold shown" in text


def test_the_budgets_stop_where_the_shortest_censored_run_does() -> None:
    runs = [_run("short", 300, 2e4, 1000), *(_run(f"d{size}", size, 800.0, 4000) for size in (600, 900))]
    text = percolation_section(runs, merge_runs([run.tracker for run in runs]))
    # at 1000 steps the larger sizes have generalised and at 500 they have not; at 2000 and 4000 nothing would move
    assert "Budget-shift test: the share does not cross one half at both ends of a doubling." in text
