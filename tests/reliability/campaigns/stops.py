# SPDX-License-Identifier: Apache-2.0
"""SIGTERM, SIGINT and exceptions: each leaves a checkpoint, a status, a whole record, and the command that goes on."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

import torch

from reliability.outcome import Campaign, Outcome
from reliability.plans import FAIL_AT
from reliability.processes import finish, fit, kill, log, same_end, trace, wait_for

OPTIONS = ["--model.warmup_epochs=3", "--trainer.max_epochs=8", "--trainer.check_val_every_n_epoch=2"]
SAVES = [*OPTIONS, "--save_every_n_steps=1000", "--resume=auto"]  # what is saved is saved by the stop
STATUS = {"SIGTERM": 143, "SIGINT": 130, "exception": 1}
STOPS = [("SIGTERM", 2), ("SIGINT", 17), ("exception", 22), ("SIGINT", 4), ("exception", 8), ("SIGTERM", 19)]
"""How a run is stopped, and after which step: three signals in warm-up (12 steps) and joint phase."""


def stops(trials: int, folder: Path) -> Outcome:
    """Stop one run by every signal in turn, in the order of the steps; compare its end."""
    whole, run = folder / "whole", folder / "run"
    if finish(fit(whole, *OPTIONS, "--save_every_n_steps=1000")) != 0:
        raise RuntimeError(log(whole))
    found: list[str] = []
    lost = 0
    for how, step in sorted(STOPS[:trials], key=lambda stop: stop[1]):
        said = len(log(run))
        status = _stop(run, how, step)
        printed = log(run)[said:]
        if status != STATUS[how]:
            found.append(f"{how}: status {status}")
        if f"Resume with:\n  monocon fit --config {run}/config.yaml" not in printed or "--resume auto" not in printed:
            found.append(f"{how}: no command")
        lost += not is_saved(run)
    lost += finish(fit(run, *SAVES)) != 0
    found += same_end(whole, run)
    if not record_is_whole(whole, run):
        found.append("the record differs")
    note = "status 143, 130, 1; nothing but what the stop saved; weights, moments and record equal at the end"
    return Outcome(
        "SIGTERM, SIGINT and exception, in warm-up and joint phase", min(trials, len(STOPS)), lost, len(found),
        note if not found else "; ".join(found)[:300],
    )  # fmt: skip


def _stop(run: Path, how: str, step: int) -> int:
    if how == "exception":
        return finish(fit(run, *SAVES, **{FAIL_AT: str(step)}))
    process = fit(run, *SAVES)
    if not wait_for(lambda: max((made for made, _ in trace(run)), default=0) >= step, process):
        raise RuntimeError(log(run))
    return kill(process, signal.SIGTERM if how == "SIGTERM" else signal.SIGINT)


def is_saved(run: Path) -> bool:
    """Whether the checkpoint is of the last step that was made."""
    path = run / "checkpoints" / "last.ckpt"
    if not path.exists():
        return False
    return bool(torch.load(path, weights_only=True)["global_step"] == max(step for step, _ in trace(run)))


def record_is_whole(whole: Path, run: Path, stopped_at: Sequence[int] = ()) -> bool:
    """Whether a run's record, of which no row was half written, has every metric that the uninterrupted one has.

    A run that was stopped in the validation after a step lacks the epoch's mean loss: docs/resume.md, Limits.
    """
    lacking = {(step - 1, "train/loss") for step in stopped_at}
    metrics = []
    for folder in (whole, run):
        rows = [json.loads(line) for line in (folder / "record.jsonl").read_text().splitlines()]
        found = {(row["step"], name): value for row in rows for name, value in row.get("metrics", {}).items()}
        metrics.append({place: value for place, value in found.items() if place not in lacking})
    return metrics[0] == metrics[1]


def printed_command(trials: int, folder: Path) -> Outcome:
    """Stop a run and do what it says, word by word."""
    run = folder / "run"
    _stop(run, "exception", 5)
    line = log(run).split("Resume with:\n")[1].splitlines()[0]
    name, verb, _, config, *options = shlex.split(line)
    from reliability import targets
    from reliability.processes import start

    said = len(log(run))
    status = finish(start(targets.command, [verb, "--config", config, *options], f"{run}.log", {}))
    ended = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 32
    held = (name, verb, status, ended) == ("monocon", "fit", 0, True)
    return Outcome("the command that a stopped run prints", 1, int(not held), 0, "" if held else log(run)[said:][-300:])


CAMPAIGNS = {
    "stops": Campaign(stops, fast=3, full=6),
    "printed_command": Campaign(printed_command, fast=1, full=1),
}
