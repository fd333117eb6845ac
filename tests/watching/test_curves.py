# SPDX-License-Identifier: Apache-2.0
"""The figures of a report: what they show, and that no label lies on another."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.picture_geometry import check_texts, drawn, texts
from helpers.watched_runs import follow
from oracles.credence_paths import grokking

from lightning_monocon.landscape import LandscapeTracker, merge_runs
from lightning_monocon.watching.curves import (
    CAPTIONS,
    delays_figure,
    draw_curves,
    geometry_figure,
    runs_figure,
    sizes_figure,
)
from lightning_monocon.watching.figure import visits
from lightning_monocon.watching.report import states_section
from lightning_monocon.watching.runs import Run


def _run(size: int, seed: int = 0, stop: int = 9000, generalised: float | None = None) -> Run:
    """A run that generalises at step 1e9 / size^2, or at the one given."""
    at = (1 + 0.1 * seed) * 1e9 * size**-2.0 if generalised is None else generalised
    steps = np.unique(np.geomspace(1, stop, 80).round())
    tracker = follow(grokking(steps, generalised=at, width=at / 16), steps)
    return Run(f"train_size={size},seed={seed}", tracker, {"train_size": size})


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return [_run(size, seed) for size in (300, 700, 900, 1200, 1600) for seed in range(2)]


def test_no_label_covers_another(runs: list[Run]) -> None:
    figures = draw_curves(runs)
    assert set(figures) == {"runs.png", "sizes.png", "delays.png"} <= set(CAPTIONS)
    for figure in figures.values():
        check_texts(drawn(figure))


def test_each_run_has_its_curves_states_and_events(runs: list[Run]) -> None:
    figure = runs_figure(runs[2:5])
    for panel, run in zip(figure.axes, runs[2:5], strict=True):
        train, held_out, *marks = panel.get_lines()
        assert np.array_equal(train.get_ydata(), run.tracker.trajectory.column("credence/train"))
        assert np.array_equal(held_out.get_ydata(), run.tracker.trajectory.column("credence/val"))
        events = [event for event in run.tracker.events if event.kind in ("memorisation", "grokking")]
        assert [mark.get_xdata()[0] - 1 for mark in marks] == [event.step_entered for event in events]
        assert len(panel.patches) == len(visits(run.tracker.trajectory)) >= 2, "a band for each stay in a state"
    assert {"trained on", "held out", "state 0", "state 1", "memorisation", "grokking"} <= {t for t, _ in texts(figure)}


def test_wrong_labels_have_a_curve_and_a_column_of_their_own() -> None:
    tracker = LandscapeTracker(np.repeat(["train/right", "train/wrong", "val"], 20))
    for step in range(1, 40):
        tracker.update(step, np.repeat([0.9, 0.1 if step < 20 else 0.8, 0.6], 20))
    run = Run("noisy", tracker, {"train_size": 100})
    lines = {str(line.get_label()): line for line in runs_figure([run]).axes[0].get_lines()}
    assert [*lines][:3] == ["trained on", "held out", "wrong labels"]
    assert np.array_equal(lines["wrong labels"].get_ydata(), tracker.trajectory.column("credence/train/wrong"))
    (table,) = states_section(merge_runs([tracker])).tables
    place = table.header.index("wrong labels")
    assert [row[place] for row in table.rows] == ["0.10", "0.80"]
    assert "wrong labels" not in {line.get_label() for line in runs_figure([_run(300)]).axes[0].get_lines()}


def test_all_panels_have_one_scale_of_steps(runs: list[Run]) -> None:
    short = _run(1600, stop=3000)
    for draw in (runs_figure, sizes_figure):
        figure = draw([short, runs[0]])
        assert figure is not None
        assert {panel.get_xlim() for panel in figure.axes} == {(1.0, 9001.0)}
        assert short.followed == 3000


def test_a_curve_of_few_points_has_a_marker_at_each() -> None:
    steps = np.array([1.0, 10.0, 100.0, 1000.0])
    few = Run("few", follow(grokking(steps, generalised=400.0), steps), {"train_size": 100})
    for run, marker in ((few, "o"), (_run(1600), "None")):
        credence = runs_figure([run]).axes[0].get_lines()[:2]
        shares = sizes_figure([run, run])
        assert shares is not None
        assert {line.get_marker() for line in (*credence, *shares.axes[0].get_lines())} == {marker}


def test_curves_under_one_entry_of_the_legend_are_marked_alike() -> None:
    steps = np.array([1.0, 10.0, 100.0, 1000.0])
    few = Run("few", follow(grokking(steps, generalised=400.0), steps), {"train_size": 1600})
    many = _run(1600)
    for run, ranks in ((few, np.full(4, 5.0)), (many, np.full(80, 9.0))):
        place = run.tracker.trajectory.names.index("effective_rank")
        for row, rank in zip(run.tracker.trajectory.values, ranks, strict=False):
            row[place] = rank
    for draw in (geometry_figure, sizes_figure):
        figure = draw([many, few])
        assert figure is not None
        for panel in figure.axes:
            assert [line.get_marker() for line in panel.get_lines()] == ["o", "o"]


def test_many_runs_have_at_most_twelve_panels(runs: list[Run]) -> None:
    figure = draw_curves([*runs, *runs])["runs.png"]
    assert sum(panel.get_visible() for panel in figure.axes) == 12


def test_delays_censored_runs_and_laws_are_told_apart(runs: list[Run]) -> None:
    figure = delays_figure(runs)
    assert figure is not None
    lines = {str(line.get_label()): line for line in figure.axes[0].get_lines()}
    seen, hidden = lines["generalised"], lines["ended before"]
    assert sorted(set(seen.get_xdata())) == [700, 900, 1200, 1600]
    assert list(hidden.get_xdata()) == [300, 300] and min(hidden.get_ydata()) == 9000
    power = next(line for label, line in lines.items() if label.startswith("power, weight"))
    at = np.abs(power.get_xdata() - 1200).argmin()
    assert power.get_ydata()[at] == pytest.approx(1.05 * 1e9 * 1200**-2.0, rel=0.05)
    assert delays_figure(runs[:4]) is None


def test_the_rank_is_drawn_where_it_was_measured(runs: list[Run]) -> None:
    assert geometry_figure(runs[:1]) is None
    run = _run(1000)
    place = run.tracker.trajectory.names.index("effective_rank")
    ranks = np.interp(np.arange(80), [0, 30, 60, 79], [20, 5, 9, 9])
    for row, rank in zip(run.tracker.trajectory.values, ranks, strict=False):
        row[place] = rank
    figure = geometry_figure([run])
    assert figure is not None
    check_texts(drawn(figure))
    (panel,) = figure.axes
    assert panel.get_ylim()[0] == 0 and not any(math.isnan(y) for y in panel.get_lines()[0].get_ydata())
    turn = panel.get_lines()[1]
    assert turn.get_marker() == "^" and turn.get_ydata()[0] == pytest.approx(5, abs=0.3)
