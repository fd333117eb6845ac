# SPDX-License-Identifier: Apache-2.0
"""SIGKILL: in training at random times, and inside a save."""

from __future__ import annotations

import random
import time
from pathlib import Path

from lightning_monocon.runs.checkpoints import newest_good, read_checkpoint
from reliability.outcome import Campaign, Outcome
from reliability.processes import finish, fit, kill, log, same_end, start, trace, wait_for

STEPS_AN_EPOCH = 4


def in_training(trials: int, folder: Path) -> Outcome:
    """Kill one run again and again, at random times; cut its newest checkpoint in half once; let it end."""
    warmup, epochs = (10, 50) if trials > 5 else (2, 6)
    options = [
        f"--model.warmup_epochs={warmup}",
        f"--trainer.max_epochs={epochs}",
        "--trainer.check_val_every_n_epoch=2",
    ]
    whole, run = folder / "whole", folder / "run"
    if finish(fit(whole, *options, "--save_every_n_steps=1000")) != 0:
        raise RuntimeError(log(whole))
    again = [*options, "--save_every_n_steps=2", "--resume=auto"]
    chance, kills, at = random.Random(trials), 0, []
    targets = [2 * STEPS_AN_EPOCH - 3, 2 * STEPS_AN_EPOCH, 4 * STEPS_AN_EPOCH + 1]  # warm-up, boundary, joint
    while kills < trials:
        process = fit(run, *again)
        # a random number of steps further, or while the process still starts
        rows = len(trace(run)) + chance.randint(1, 14) if trials > 5 else targets[kills]
        if kills % 6 == 5:
            time.sleep(chance.uniform(0, 1.0))
        elif not wait_for(lambda rows=rows: len(trace(run)) >= rows, process):  # type: ignore[misc]
            raise RuntimeError(f"it ended after {kills} kills: {log(run)}")
        time.sleep(chance.uniform(0, 0.03))
        kill(process)
        kills += 1
        at.append(max((step for step, _ in trace(run)), default=0))
        if kills == trials // 2 + 1:
            _cut_newest(run)
    lost = 0 if finish(fit(run, *again)) == 0 else trials
    wrong = same_end(whole, run) if not lost else [log(run)]
    named = "last.ckpt" in log(run) and "is cut short or altered and is left out" in log(run)
    note = f"parameters, Adam moments, schedules and every step's rates and loss; at steps {at}"
    return Outcome(
        "SIGKILL in training, at random times, in one run; once the newest checkpoint cut in half",
        kills,
        lost,
        0 if not wrong and named else trials,
        note if not wrong else f"{wrong[0]}",
    )


def in_a_save(trials: int, folder: Path) -> Outcome:
    """Kill a process that saves 50 MB again and again; every checkpoint with a name must load."""
    lost = wrong = 0
    chance = random.Random(0)
    for trial in range(trials):
        place = folder / str(trial)
        place.mkdir()
        process = start(_saver(), str(place))
        wait_for(lambda place=place: (place / "finished").exists(), process)  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.4))
        kill(process)
        announced = int((place / "finished").read_text() or 0)
        steps = []
        for file in place.glob("*.ckpt"):
            try:
                content = read_checkpoint(file)
            except ValueError:
                wrong += 1
            else:
                steps.append(content["step"])
                wrong += not bool((content["state_dict"]["w"] == content["step"]).all())
        found, torn = newest_good(place)
        lost += found is None or bool(torn) or max(steps, default=-1) < announced
        for file in place.iterdir():
            file.unlink()
    return Outcome(
        "SIGKILL inside a save of 50 MB", trials, lost, wrong, "every file named .ckpt loads, digest checked"
    )


def _saver() -> object:
    from reliability.targets import save_for_ever

    return save_for_ever


def _cut_newest(run: Path) -> None:
    path = run / "checkpoints" / "last.ckpt"
    content = path.read_bytes()
    path.unlink()  # its older names keep their content
    path.write_bytes(content[: len(content) // 2])


CAMPAIGNS = {
    "kills_in_training": Campaign(in_training, fast=3, full=25),
    "kills_in_a_save": Campaign(in_a_save, fast=4, full=30),
}
