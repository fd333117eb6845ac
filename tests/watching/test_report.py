# SPDX-License-Identifier: Apache-2.0
"""The sections of the report whose numbers are planted, and their refusals."""

from __future__ import annotations

import numpy as np
import pytest
from oracles.credence_paths import STRATA, grokking

from lightning_monocon.landscape import LandscapeTracker, merge_runs
from lightning_monocon.scorecard.render.outline import Outline, Section
from lightning_monocon.scorecard.render.text import markdown
from lightning_monocon.watching.escapes import escape_of
from lightning_monocon.watching.report import (
    delay_section,
    escape_section,
    events_section,
    forecast_section,
    passage_section,
    percolation_section,
)
from lightning_monocon.watching.runs import Run


def said(section: Section) -> str:
    """What a section says below its heading, in Markdown."""
    return markdown(Outline("", (), (), [section])).partition(section.title)[2].strip()


def _run(name: str, size: int, generalised: float, stop: int, measure: str = "logits", lr: float = 1e-3) -> Run:
    tracker = LandscapeTracker(STRATA, probe="p", measure=measure)
    steps = np.arange(0, stop + 1, 50)
    for step, profile in zip(steps, grokking(steps.astype(float), generalised=generalised, width=120.0), strict=True):
        tracker.update(int(step), profile)
    settings: dict[str, float | int | str] = {"train_size": size, "batch_size": 8, "lr": lr, "optimizer": "AdamW"}
    return Run(name, tracker, settings)


def test_a_run_that_has_not_generalised_is_forecast() -> None:
    early, about, done = (_run(name, 500, 2000.0, stop) for name, stop in (("a", 800), ("b", 1850), ("c", 3000)))
    first, second = said(forecast_section([early, about, done])).splitlines()
    assert first.startswith("- **a**: validation credence 0.0") and first.endswith("only several runs can tell")
    name, step, low, _, high = (
        second.removeprefix("- ").replace("*", "").replace("step ", "").replace("(", "").rstrip(")").split()
    )
    assert name == "b:"
    assert float(step) == pytest.approx(2000, rel=0.15)  # the credence starts at 0.02, not at 0: forecasts err late
    assert float(low) < 2000 < float(high)
    assert said(forecast_section([done])) == "- All runs have generalised."


def test_events_are_a_table_with_the_gain_of_each_role() -> None:
    table = events_section([_run("a", 500, 1500.0, 3000)]).tables[0]
    rows = {row[1]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert {"memorisation", "grokking"} <= set(rows)
    assert (rows["grokking"]["run"], rows["grokking"]["state"]) == ("a", "0 → 1")
    assert float(str(rows["grokking"]["left at"])) < 1500 < float(str(rows["grokking"]["confirmed"]))
    assert float(str(rows["grokking"]["held out"])) > 0.8 > 0.2 > abs(float(str(rows["grokking"]["train"])))
    silent = events_section([_run("early", 500, 1500.0, 100)])
    assert not silent.tables and said(silent) == "- No event in early."


def test_votes_of_neighbours_are_not_forecast() -> None:
    text = said(forecast_section([_run("b", 500, 2000.0, 1850, measure="soft_knn at temperature 0.1")]))
    assert text.startswith("- **b**: no forecast is made from the votes of neighbours")


def test_an_escape_lasts_from_entering_memorising_to_leaving_it() -> None:
    done, late = (_run("a", 500, generalised, 3000) for generalised in (1500.0, 2e4))
    found = escape_of(done.tracker, done.settings)
    assert found is not None and not found.is_late
    memorised = next(event.step_entered for event in done.tracker.events if event.kind == "memorisation")
    left = next(event.step_left for event in done.tracker.events if event.kind == "grokking")
    assert memorised is not None and left is not None
    assert found.time == left - memorised
    assert found.time < done.delay - memorised  # the credence reaches one half after the state was left
    waiting = escape_of(late.tracker, late.settings)
    assert waiting is not None and waiting.is_late
    assert waiting.time == 3000 - memorised
    assert escape_of(_run("c", 500, 2e4, 40).tracker, late.settings) is None


def test_a_rise_of_both_credences_from_chance_is_no_escape() -> None:
    tracker = LandscapeTracker(["train"] * 8 + ["val"] * 8)
    for step in range(0, 3001, 50):
        tracker.update(step, np.full(16, 0.1 + 0.85 / (1 + np.exp((1000 - step) / 60))))
    assert [event.kind for event in tracker.events if event.is_transition] == ["acquisition"]
    settings: dict[str, float | int | str] = {"train_size": 500, "batch_size": 8, "lr": 1e-3, "optimizer": "AdamW"}
    assert escape_of(tracker, settings) is None
    text = said(escape_section([Run(name, tracker, settings) for name in "abcdefgh"]))
    assert text == "- No barrier is fitted below 5 runs that left memorising; there are 0."


def test_runs_that_never_left_memorising_are_late_escapes() -> None:
    rates = [1e-3, 2e-3, 4e-3]
    runs = [_run("a", 500, 1.0 / rate + 20 * seed, 3000, lr=rate) for rate in rates for seed in range(2)]
    text = said(escape_section([*runs, _run("late", 500, 2e4, 3000)]))
    assert text.startswith("- 6 runs left memorising and 1 ended there first. Akaike weights: learning_rate ")
    assert "norm_contraction" not in text


def test_runs_that_became_whole_later_are_told_beside_those_that_grokked() -> None:
    partial = LandscapeTracker(STRATA)
    for step in range(260):
        held_out = 0.02 if step < 100 else 0.8 if step < 200 else 0.95
        partial.update(step, np.where(STRATA == 0, 0.02 if step < 3 else 0.98, held_out))
    text = said(passage_section([_run("whole", 300, 900.0, 4000), Run("in part", partial, {})]))
    assert "1 of 2 runs grokked" in text
    assert text.endswith(" 1 became whole after a partial change (completion), and count as censored.")
    alone = said(passage_section([_run("whole", 300, 900.0, 4000)]))
    assert alone.endswith(": step 850."), "the last evaluation before halfway"


def test_a_threshold_that_falls_as_the_budget_doubles_is_not_claimed() -> None:
    runs = [_run(f"d{size}", size, 4e8 * size**-2.0, 4000) for size in (300, 400, 500, 700, 1000)]
    text = said(percolation_section(runs, merge_runs([run.tracker for run in runs])))
    assert "- **300 samples**: 0.00 (0.00 to 0.79) generalise within 4000 steps" in text
    assert "**Budget-shift test**: threshold fell by " in text and "no threshold shown" in text


def test_a_run_that_ended_early_is_censored() -> None:
    """It says nothing on the steps after its end: not that it would have failed there."""
    runs = [_run("short", 300, 2e4, 1000), *(_run(f"d{size}", size, 800.0, 4000) for size in (600, 900))]
    runs += [_run("short too", 600, 2e4, 500)]
    text = said(percolation_section(runs, merge_runs([run.tracker for run in runs])))
    told = "- **300 samples**: unknown within 4000 steps, as all that have not generalised ended earlier"
    assert told in text.splitlines()
    assert "- **600 samples**: 1.00 (0.21 to 1.00) generalise within 4000 steps" in text
    assert "**Budget-shift test**: the share does not cross one half at both ends of a doubling." in text


def test_the_delay_section_prints_the_critical_size_and_who_leads() -> None:
    sizes = [s for s in (700, 800, 1000, 1400, 2000) for _ in range(2)]
    runs = [_run(f"d{i}", size, 4e5 / (size - 500) * (1 + 0.05 * (i % 2)), 3500) for i, size in enumerate(sizes)]
    text = said(delay_section(runs))
    row = next(line for line in text.splitlines() if line.startswith("| critical |"))
    low, high = row.split("(")[1].rstrip(") |").split(" to ")
    assert float(low) < 500 < float(high)
    assert "Winner: critical, by " in text or "Undecided: critical leads by " in text
