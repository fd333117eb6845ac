# SPDX-License-Identifier: Apache-2.0
"""Two runs in one folder, a run resumed as another, loader processes that die, data that gives no batch."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from reliability import targets
from reliability.outcome import Campaign, Outcome
from reliability.processes import finish, fit, kill, log, start, trace, wait_for

SHORT = ["--model.warmup_epochs=1", "--trainer.max_epochs=3", "--trainer.check_val_every_n_epoch=2"]
DRIFT = {
    "seed": "seed: 0 in the checkpoint, 5 now",
    "model.schedule.lr_head": "lr_head: 0.001 in the checkpoint, 0.01 now",
    "model.schedule.warmup_epochs": "warmup_epochs: 1 in the checkpoint, 2 now",
    "data.batch_size": "batch_size: 256 in the checkpoint, 128 now",
    "trainer.max_epochs": "max_epochs: 3 in the checkpoint, 9 now",
    "trainer.gradient_clip_algorithm": "gradient_clip_algorithm: 'norm' in the checkpoint, 'value' now",
    "precision": "precision: '32-true' in the checkpoint, 'bf16-mixed' now",
    "model.encoder.layers.1": "encoder.layers.1: 'Dropout(p=0.2)' in the checkpoint, 'Dropout(p=0.9)' now",
    "world_size": "world_size: 2 in the checkpoint, 1 now",
}


def one_folder(trials: int, folder: Path) -> Outcome:
    """Start a second run in the folder of one that is at work, kill the first, and go on with it."""
    lost = wrong = 0
    for trial in range(trials):
        run = folder / f"run{trial}"
        first = fit(run, *SHORT, TORTURE_PAUSE="1")
        wait_for(lambda run=run: bool(trace(run)), first)  # type: ignore[misc]
        before = sorted(path for path in run.rglob("*"))
        second = folder / f"second{trial}"
        words = ["fit", "--config", str(folder / "recipe.yaml"), "--run_dir", str(run), *SHORT]
        resume = ["--resume=auto"] if trial % 2 else []
        status = finish(start(targets.command, [*words, *resume], f"{second}.log", {}))
        holder = f"is being written by pid {first.pid} on {socket.gethostname()}"
        lost += status != 1 or holder not in log(second)
        wrong += sorted(path for path in run.rglob("*")) != before
        kill(first)
        lost += finish(fit(run, *SHORT, "--resume=auto")) != 0
        lost += max(step for step, _ in trace(run)) != 3 * 4
    note = "the second is refused with pid and host of the first; a killed one's lock is taken over"
    return Outcome("two processes, one run folder", trials, lost, wrong, note)


def drift(trials: int, folder: Path) -> Outcome:
    """Resume with another seed, rate, warm-up, batch, length, clipping, precision, dropout, number of ranks."""
    if finish(start(targets.resume_with_other_settings, str(folder))) != 0:
        raise RuntimeError((folder / "drift.log").read_text()[-3000:])
    said = json.loads((folder / "said.json").read_text())
    wrong = [name for name in list(DRIFT)[:trials] if DRIFT[name] not in said[name] or said[name].count(" now") != 1]
    wrong += [name for name in ("", "allowed") if said[name]]  # nothing changed, or allowed: no word
    note = f"each named with both values: {', '.join(DRIFT)}" if not wrong else f"{wrong}: {said}"
    return Outcome("resumed with another setting", min(trials, len(DRIFT)), 0, len(wrong), note)


def workers(trials: int, folder: Path) -> Outcome:
    """Let a loader's process raise, and be killed, in the second epoch; it must cost nothing that was trained."""
    lost = 0
    for how in ("raise", "kill")[:trials]:
        run = folder / how
        data = ["--data=reliability.targets.DyingDigits", f"--data.how={how}"]
        status = finish(fit(run, *SHORT, *data))
        words = "error: a data worker died (often out of memory); lower num_workers or batch size"
        lost += status != 1 or words not in log(run) or "--resume auto" not in log(run)
        lost += not (run / "checkpoints" / "last.ckpt").exists()
    return Outcome(
        "a loader's process raises, or is killed", min(trials, 2), lost, 0, "the advice, a checkpoint, status 1"
    )


def no_batch(trials: int, folder: Path) -> Outcome:
    """Train on fewer samples than a batch holds, with the short batch dropped."""
    run = folder / "run"
    status = finish(fit(run, *SHORT, "--data=reliability.targets.FewDigits"))
    wrong = status == 0 or "batches of 256 from 40 samples" not in log(run)
    return Outcome("data set smaller than a batch, drop_last", 1, 0, int(wrong), "an error with both sizes")


CAMPAIGNS = {
    "one_folder": Campaign(one_folder, fast=1, full=4),
    "drift": Campaign(drift, fast=len(DRIFT), full=len(DRIFT)),
    "workers": Campaign(workers, fast=2, full=2),
    "no_batch": Campaign(no_batch, fast=1, full=1),
}
