# SPDX-License-Identifier: Apache-2.0
"""NaN and infinity at each place where they can come up: the run ends at that step, and no checkpoint holds them."""

from __future__ import annotations

import random
from pathlib import Path

from lightning_monocon.callbacks import NaNGuard
from lightning_monocon.callbacks._finite import NonFiniteError
from reliability.outcome import Campaign, Outcome
from reliability.poisoned_runs import BATCHES, EPOCHS, PLACES, Where, fit, poison, saved_steps


def injections(trials: int, folder: Path) -> Outcome:
    """Break a short run at a random step, place after place."""
    lost = wrong = 0
    steps = random.Random(0)
    for trial in range(trials):
        place, step = PLACES[trial % len(PLACES)], steps.randrange(2, BATCHES * EPOCHS - 1)
        home = folder / str(trial)
        named = _restored(home) if place == "restore" else _broken(home, place, step)
        saved = saved_steps(home)
        newest = 1 if place == "restore" else step
        lost += max(saved, default=0) < newest
        wrong += not (named and all(saved.values()))
    return Outcome(
        "NaN or infinity in a run", trials, lost, wrong, f"in turn {', '.join(PLACES)}; step and batch named"
    )


def _broken(folder: Path, place: Where, step: int) -> bool:
    """Return whether the guard stopped the run at the step and named it."""
    try:
        fit(folder, place, step, NaNGuard())
    except NonFiniteError as error:
        return f"at epoch {step // BATCHES}, batch {step % BATCHES} (step {step})" in str(error)
    return False


def _restored(folder: Path) -> bool:
    """Return whether the guard refused to start from poisoned weights."""
    fit(folder, None, 0, NaNGuard(), max_steps=2)
    try:
        fit(folder, None, 0, NaNGuard(), ckpt=poison(folder / "step=1.ckpt"))
    except NonFiniteError as error:
        return "when training starts" in str(error)
    return False


CAMPAIGNS = {"nonfinite": Campaign(injections, 5, 50)}
