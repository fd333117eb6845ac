# SPDX-License-Identifier: Apache-2.0
"""Test how evaluations share the wall time of a run, on a clock that the test moves."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel

from lightning_monocon.watching import budget
from lightning_monocon.watching.budget import (
    EARLY_SECONDS,
    FOR_EVALUATIONS,
    FREE_EVALUATIONS,
    FREE_SECONDS,
    FREE_SPACING,
    Budget,
)
from lightning_monocon.watching.schedule import is_due, planned_steps


def watched(
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    step_ms: float,
    evaluation_ms: float,
    planned: int | None,
    first_ms: float = 0.0,
) -> tuple[list[int], Budget]:
    """Return the steps of a run that are evaluated, of those that are due, and the budget at its end.

    The first step takes ``first_ms`` more than the others, as drawing the probe and the first call of a kernel do.
    """
    now = [1.0]
    monkeypatch.setattr(budget, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    costs, taken = Budget(0.02), [0]
    costs.start(planned)
    for step in range(steps + 1):
        if step:
            now[0] += (step_ms + first_ms * (step == 1)) / 1e3
        if not step or (is_due("log", step) and costs.allows(step, taken[-1])):
            now[0] += evaluation_ms / 1e3
            costs.add(step, evaluation_ms / 1e3, evaluation_ms / 1e3)
            taken.append(step)
    return taken[1:], costs


@pytest.mark.parametrize(
    ("steps", "step_ms", "evaluation_ms"),
    [(3000, 1.3, 1.5), (2500, 6.0, 4.0), (2000, 26.0, 10.0), (200, 60.0, 9.0), (20_000, 0.4, 4.0), (50_000, 5.0, 2.0)],
)
def test_what_the_whole_run_can_afford_is_spread_over_it(
    monkeypatch: pytest.MonkeyPatch, steps: int, step_ms: float, evaluation_ms: float
) -> None:
    taken, costs = watched(monkeypatch, steps, step_ms, evaluation_ms, planned=steps)
    assert 0.02 * steps * step_ms >= FREE_EVALUATIONS * evaluation_ms  # what the case is about
    assert costs.overhead <= FOR_EVALUATIONS * 0.02
    assert len(taken) >= 15
    affordable = max(FOR_EVALUATIONS * 0.02 * steps * step_ms / evaluation_ms, FREE_EVALUATIONS)
    apart = max(FREE_SPACING, steps ** (1 / affordable))
    late = [step for step in taken if step > 20]
    gaps = [later / earlier for earlier, later in itertools.pairwise(late)]
    assert max(gaps) <= 1.2 * apart  # the schedule itself is due every 5 %


@pytest.mark.parametrize("first_ms", [200.0, 1000.0])
def test_a_slow_start_is_not_taken_for_the_pace_of_the_run(monkeypatch: pytest.MonkeyPatch, first_ms: float) -> None:
    taken, costs = watched(monkeypatch, 3000, 1.3, 2.0, planned=3000, first_ms=first_ms)
    assert costs.overhead <= FOR_EVALUATIONS * 0.02
    assert len(taken) >= 25
    assert taken[-1] > 2000


def test_twenty_evaluations_of_a_short_run_take_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, costs = watched(monkeypatch, 96, 530.0, 95.0, planned=96)  # as of a sentence encoder
    assert costs.spent <= FREE_SECONDS
    assert costs.overhead <= 0.02
    assert len(taken) >= 10
    assert max(later / earlier for earlier, later in itertools.pairwise(taken) if earlier > 9) <= 2.5


def test_a_long_run_is_seen_early_too(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, _ = watched(monkeypatch, 120, 1000.0, 300.0, planned=2000)  # of the first two minutes
    assert FREE_SECONDS / 0.3 < sum(step < 0.5 * EARLY_SECONDS / 0.02 for step in taken) <= EARLY_SECONDS / 0.3 + 1


def test_a_run_of_a_second_is_seen_twenty_times(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, costs = watched(monkeypatch, 1000, 1.0, 20.0, planned=1000)
    assert 14 <= len(taken) <= FREE_EVALUATIONS + 1
    assert taken[-1] > 600
    assert costs.spent <= FREE_SECONDS


def test_slow_evaluations_keep_to_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, _ = watched(monkeypatch, 1000, 10.0, 1900.0, planned=1000)
    assert taken == [0]  # a second one fits neither 1 s nor 2 % of 10 s


def test_without_a_plan_evaluations_are_twelve_per_cent_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, _ = watched(monkeypatch, 1000, 1.0, 10.0, planned=None)
    late = [step for step in taken if step > 20]
    gaps = [later / earlier for earlier, later in itertools.pairwise(late)]
    assert min(gaps) >= FREE_SPACING
    assert max(gaps) <= 1.2 * FREE_SPACING


@pytest.mark.parametrize(
    ("options", "planned"),
    [
        ({"max_steps": 7}, 7),
        ({"max_epochs": 3, "limit_train_batches": 5}, 15),
        ({"max_epochs": 3, "limit_train_batches": 5, "accumulate_grad_batches": 2}, 9),
        ({"max_epochs": 3, "limit_train_batches": 5, "max_steps": 4}, 4),
        ({"max_epochs": -1, "max_time": {"seconds": 1}}, None),
    ],
)
def test_a_run_is_planned_for_as_many_steps_as_its_trainer_says(
    options: dict[str, object], planned: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int | None] = []
    monkeypatch.setattr(BoringModel, "on_train_start", lambda self: found.append(planned_steps(self.trainer)))
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    Trainer(**quiet, **{"enable_model_summary": False, "limit_val_batches": 0, **options}).fit(  # type: ignore[arg-type]
        BoringModel(), datamodule=BoringDataModule()
    )
    assert found == [planned]
