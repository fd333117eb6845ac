# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that were cut or altered, disks that are full, folders that may not be written to."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from lightning_monocon.runs.checkpoints import DurableCheckpointIO, newest_good, read_checkpoint
from reliability import targets
from reliability.outcome import Campaign, Outcome
from reliability.processes import finish, fit, log, same_end, same_state, start, trace

SHORT = ["--model.warmup_epochs=1", "--trainer.max_epochs=4", "--trainer.check_val_every_n_epoch=2"]
NOBODY = 65534
ROOMS = (1, 2, 4, 6, 8, 12, 16, 24)  # pages of 4096 bytes; a small file takes one


def _three(folder: Path) -> None:
    """Write three checkpoints, oldest first."""
    for age, name in enumerate(("last-2", "last-1", "last")):
        weights = {"w": torch.randn(20_000, generator=torch.Generator().manual_seed(age))}
        content = {"state_dict": weights, "monocon": {"phase": "joint"}, "global_step": age}
        DurableCheckpointIO().save_checkpoint(content, folder / f"{name}.ckpt")
        os.utime(folder / f"{name}.ckpt", (1e9 + age, 1e9 + age))
    return weights


def _damage(trials: int, folder: Path, fault: str, damage: Callable[[random.Random, bytes], bytes]) -> Outcome:
    """Damage the newest checkpoint; it must be named with its size, and the next older good one be taken."""
    lost = wrong = 0
    chance = random.Random(trials)
    for trial in range(trials):
        place = folder / str(trial)
        _three(place)
        path = place / "last.ckpt"
        path.write_bytes(damage(chance, path.read_bytes()))
        for read in (read_checkpoint, DurableCheckpointIO().load_checkpoint):
            try:
                read(path)
            except ValueError as error:
                size = f"last.ckpt' ({path.stat().st_size} bytes) is damaged"
                lost += size not in str(error) or "next older good one is" not in str(error)
            else:
                wrong += 1
        found, torn = newest_good(place)
        lost += found != place / "last-1.ckpt" or torn != [path]
    return Outcome(fault, trials, lost, wrong, "refused by name and size; the next older good one is taken")


def truncated(trials: int, folder: Path) -> Outcome:
    """Cut at random places, the first byte and the last among them."""
    cuts = iter([0, 1, -1])

    def cut(chance: random.Random, content: bytes) -> bytes:
        place = next(cuts, None)
        return content[: chance.randrange(len(content)) if place is None else place]

    return _damage(trials, folder, "checkpoint truncated", cut)


def flipped(trials: int, folder: Path) -> Outcome:
    """Flip one bit anywhere."""

    def flip(chance: random.Random, content: bytes) -> bytes:
        altered = bytearray(content)
        altered[chance.randrange(len(altered))] ^= 1 << chance.randrange(8)
        return bytes(altered)

    return _damage(trials, folder, "one bit of a checkpoint flipped", flip)


def disk_full(trials: int, folder: Path) -> Outcome:
    """Train on a file system of a few MB; then go on from what is left where there is room."""
    lost = wrong = 0
    wide = [*SHORT, "--model.encoder.init_args.width=64", "--save_every_n_steps=2"]
    whole = folder / "whole"
    finish(fit(whole, *wide))
    size = (whole / "checkpoints" / "last.ckpt").stat().st_size
    for trial in range(trials):
        run = folder / f"run{trial}"
        run.mkdir()
        status = finish(fit(run, *wide, room=f"{run}:{int(size * (1.6 + 0.9 * trial))}"))
        kept = Path(f"{run}-kept")
        if not kept.exists():
            return _no_room_at_all(trials, folder, wide, whole)
        lost += _not_said(run, status, "disk full while writing")
        good, torn = newest_good(kept / "checkpoints")
        lost += bool(torn) or (good is None and len(trace(kept)) > 2 * 2)
        shutil.rmtree(run)
        kept.rename(run)
        lost += finish(fit(run, *wide, "--resume=auto")) != 0
        wrong += bool(same_end(whole, run))
    return Outcome(
        "disk full (a file system of a few MB)", trials, lost, wrong, "one sentence, status 1; resumed exactly"
    )


def disk_full_early(trials: int, folder: Path) -> Outcome:
    """Start on a file system of a few kB, which is full before the first checkpoint; then run where there is room."""
    lost, notes = 0, []
    whole = folder / "whole"
    finish(fit(whole, *SHORT))
    for trial in range(trials):
        run = folder / f"run{trial}"
        run.mkdir()
        status = finish(fit(run, *SHORT, "--save_every_n_steps=2", room=f"{run}:{4096 * ROOMS[trial % len(ROOMS)]}"))
        kept = Path(f"{run}-kept")
        if not kept.exists():
            return _no_room_at_all(trials, folder, SHORT, whole)
        if _not_said(run, status, "disk full while writing"):
            notes.append(f"{ROOMS[trial % len(ROOMS)]} pages: status {status}, {log(run)[-200:]!r}")
        shutil.rmtree(run)
        kept.rename(run)
        lost += finish(fit(run, *SHORT, "--resume=auto")) != 0
        notes += same_state(whole, run)
    note = "one sentence, status 1; the same line trains where there is room" if not notes else "; ".join(notes)[:600]
    return Outcome("disk full before the first checkpoint (a few kB)", trials, lost, len(notes), note)


def _no_room_at_all(trials: int, folder: Path, options: list[str], whole: Path) -> Outcome:
    """Where nothing can be mounted: bound the size of files instead."""
    lost = wrong = 0
    size = (whole / "checkpoints" / "last.ckpt").stat().st_size
    for trial in range(trials):
        run = folder / f"bound{trial}"
        status = finish(fit(run, *options, TORTURE_FILE_SIZE=str(size // (2 + trial))))
        lost += _not_said(run, status, "disk full while writing")
        lost += finish(fit(run, *options, "--resume=auto")) != 0
        wrong += bool(same_end(whole, run))
    return Outcome("disk full (RLIMIT_FSIZE: nothing could be mounted)", trials, lost, wrong, "one sentence, status 1")


def unwritable(trials: int, folder: Path) -> Outcome:
    """Train where this user may not write: the run's folder, then its checkpoints alone."""
    lost = wrong = 0
    user = NOBODY if os.getuid() == 0 else None
    for trial in range(trials):
        run = folder / f"place{trial}" / "run"
        forbidden = run / "checkpoints" if trial % 2 else run.parent
        forbidden.mkdir(parents=True)
        log_file = Path(f"{run}.log")
        log_file.touch()
        log_file.chmod(0o666)
        for part in (folder, run.parent, run if trial % 2 else run.parent):
            part.chmod(0o777)
        for above in folder.parents:  # another user must be able to come here
            if above.stat().st_uid == os.getuid() and not above.stat().st_mode & 0o001:
                above.chmod(above.stat().st_mode | 0o011)
        (run.parent / "recipe.yaml").write_text(targets.RECIPE)
        forbidden.chmod(0o555)
        words = ["fit", "--config", str(run.parent / "recipe.yaml"), "--run_dir", str(run), *SHORT]
        status = finish(start(targets.command, words, str(log_file), {}, user))
        forbidden.chmod(0o777)
        lost += _not_said(run, status, "cannot write")
        wrong += bool(trace(run))  # a step was made
    return Outcome("folder that may not be written to", trials, lost, wrong, "one sentence, status 1, before step 1")


def _not_said(run: Path, status: int, words: str) -> bool:
    """Whether a run ended otherwise than with status 1 and one sentence."""
    lines = [line for line in log(run).splitlines() if line.startswith("monocon: error: ")]
    return status != 1 or len(lines) != 1 or words not in lines[0] or "Traceback" in log(run)


CAMPAIGNS = {
    "truncated": Campaign(truncated, fast=10, full=10),
    "bit_flips": Campaign(flipped, fast=20, full=20),
    "disk_full": Campaign(disk_full, fast=1, full=3),
    "disk_full_early": Campaign(disk_full_early, fast=0, full=len(ROOMS)),
    "unwritable": Campaign(unwritable, fast=2, full=4),
}
