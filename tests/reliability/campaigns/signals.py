# SPDX-License-Identifier: Apache-2.0
"""What batch systems, terminals and people do to a run: signals to one process or all, closed output, moved folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reliability.campaigns.stops import OPTIONS, SAVES, is_saved, record_is_whole
from reliability.outcome import Campaign, Outcome
from reliability.plans import PLAN
from reliability.processes import finish, fit, log, same_end
from reliability.targets import OUTPUT

WORKERS = "--data.num_workers=2"
SIGNALS = [
    ("SIGTERM-group,update,5", 143, [WORKERS]),
    ("SIGTERM-group,validation,16", 143, [WORKERS]),
    ("SIGINT-group,update,7", 130, [WORKERS]),
    ("SIGHUP,update,17", 129, []),
    ("SIGTERM,validation,24", 143, []),
    ("SIGINT-group,validation,24", 130, [WORKERS]),
    ("SIGHUP-group,step,26", 129, [WORKERS]),
    ("SIGTERM-group,step,29", 143, [WORKERS]),
]
"""What is sent, where, and at which step; the status that it must give; options. In the order of the steps."""
TWICE = [
    ("SIGINT,update,6;SIGINT,update,6", 130),
    ("SIGINT,update,14;SIGINT,validation,16", 130),
    ("SIGTERM,update,19;SIGINT,update,19;SIGINT,update,19", 143),
    ("SIGHUP,update,22;SIGHUP,update,22", 129),
]

SMALL = [
    "--data.batch_size=64", "--model.warmup_epochs=1", "--trainer.max_epochs=4", "--trainer.check_val_every_n_epoch=1",
]  # fmt: skip
DEAD = [
    "SIGKILL-workers,update,5",
    "SIGKILL-workers,validation,34",
    "SIGKILL-workers,step,40",
    "SIGTERM-workers,update,55",
]
"""At 17 steps an epoch: more than loaders fetch in advance, so that a dead one is missed."""


def signals(trials: int, folder: Path) -> Outcome:
    """Stop one run by every signal in turn; each leaves the last step, its status, one sentence and no traceback."""
    whole, run = _whole(folder), folder / "run"
    found: list[str] = []
    lost = 0
    for plan, expected, options in sorted(SIGNALS[:trials], key=lambda signal: int(signal[0].split(",")[2])):
        said = len(log(run))
        status = finish(fit(run, *SAVES, *options, **{PLAN: plan}))
        found += _not_as_promised(plan, status, expected, log(run)[said:])
        lost += not is_saved(run)
    lost += finish(fit(run, *SAVES)) != 0
    return _ended(
        "signals to a run and to its whole process group, with loader processes", min(trials, len(SIGNALS)),
        lost, found, whole, run, "statuses 143, 130, 129; the last step is saved; equal at the end, record included",
        [int(plan.split(",")[2]) for plan, _, _ in SIGNALS[:trials] if "validation" in plan],
    )  # fmt: skip


def twice(trials: int, folder: Path) -> Outcome:
    """Interrupt again before the first interrupt is obeyed: at once, with what was saved before."""
    whole, run = _whole(folder), folder / "run"
    found: list[str] = []
    often = [*OPTIONS, "--save_every_n_steps=2", "--resume=auto"]
    for plan, expected in TWICE[:trials]:
        said = len(log(run))
        status = finish(fit(run, *often, **{PLAN: plan}))
        found += _not_as_promised(plan, status, expected, log(run)[said:])
    note = "at once, also within an update; statuses 130, 143, 129; equal at the end"
    fault, lost = "a second Ctrl-C, or another signal after it", int(finish(fit(run, *SAVES)) != 0)
    return _ended(fault, min(trials, len(TWICE)), lost, found, whole, run, note, [16])


def dead_workers(trials: int, folder: Path) -> Outcome:
    """Kill the loaders' processes within an update, between two steps and in a validation."""
    whole, run = _whole(folder, SMALL), folder / "run"
    saves = [*SMALL, "--save_every_n_steps=1000", "--resume=auto"]
    found: list[str] = []
    lost = 0
    for plan in DEAD[:trials]:
        said = len(log(run))
        status = finish(fit(run, *saves, WORKERS, **{PLAN: plan}))
        printed = log(run)[said:]
        if status != 1 or "a data worker died (often out of memory)" not in printed or "--resume auto" not in printed:
            found.append(f"{plan}: status {status}, {printed[-200:]!r}")
        lost += not is_saved(run)
    stopped_at = [int(plan.split(",")[2]) for plan in DEAD[:trials] if "validation" in plan]
    note = "the advice, status 1; the last step is saved; equal at the end, record included"
    lost += finish(fit(run, *saves)) != 0
    return _ended("loaders' processes killed", min(trials, len(DEAD)), lost, found, whole, run, note, stopped_at)


def closed_output(trials: int, folder: Path) -> Outcome:
    """Train to the end while nobody reads what is printed."""
    whole = _whole(folder)
    lost = wrong = 0
    for how in ("pipe", "closed", "pipes")[:trials]:
        run = folder / how
        lost += finish(fit(run, *OPTIONS, "--trainer.enable_progress_bar=true", **{OUTPUT: how})) != 0
        wrong += bool(lost or same_end(whole, run) or not record_is_whole(whole, run))
    return Outcome("standard output closed", min(trials, 3), lost, wrong, "the run ends as one that is read")


def moved(trials: int, folder: Path) -> Outcome:
    """Rename the run's folder while it trains; no second one may appear, and the run is resumed where it is."""
    whole = _whole(folder)
    lost = wrong = 0
    note = "one sentence, status 1; nothing at the old place; resumed exactly at the new one"
    for trial in range(trials):
        run, new = folder / f"run{trial}", folder / f"run{trial}-moved"
        plan = f"move,{('step', 'validation')[trial % 2]},{(11, 16)[trial % 2]}"
        status = finish(fit(run, *OPTIONS, "--save_every_n_steps=2", **{PLAN: plan}))
        errors = [line for line in log(run).splitlines() if line.startswith("monocon: error: ")]
        said = len(errors) == 1 and "the folder was moved or removed" in errors[0] and "Traceback" not in log(run)
        lost += status != 1 or not said or run.exists()
        lost += finish(fit(new, *SAVES)) != 0
        if different := same_end(whole, new):
            wrong, note = wrong + 1, "; ".join(different)
    return Outcome("the run's folder renamed while it trains", trials, lost, wrong, note)


def _whole(folder: Path, options: Sequence[str] = OPTIONS) -> Path:
    whole = folder / "whole"
    if finish(fit(whole, *options, "--save_every_n_steps=1000")) != 0:
        raise RuntimeError(log(whole))
    return whole


def _not_as_promised(plan: str, status: int, expected: int, printed: str) -> list[str]:
    found = [] if status == expected else [f"{plan}: status {status}"]
    if "--resume auto" not in printed or "Traceback" in printed or "a data worker died" in printed:
        found.append(f"{plan}: printed {printed[-200:]!r}")
    return found


def _ended(
    fault: str, trials: int, lost: int, found: list[str], whole: Path, run: Path, note: str,
    stopped_at: Sequence[int] = (),
) -> Outcome:  # fmt: skip
    """Compare a run with one that was not disturbed."""
    found = [*found, *same_end(whole, run)]
    if not record_is_whole(whole, run, stopped_at):
        found.append("the record differs")
    return Outcome(fault, trials, lost, len(found), note if not found else "; ".join(found)[:600])


CAMPAIGNS = {
    "signals": Campaign(signals, fast=2, full=len(SIGNALS)),
    "twice": Campaign(twice, fast=1, full=len(TWICE)),
    "dead_workers": Campaign(dead_workers, fast=1, full=len(DEAD)),
    "closed_output": Campaign(closed_output, fast=1, full=3),
    "moved": Campaign(moved, fast=1, full=2),
}
