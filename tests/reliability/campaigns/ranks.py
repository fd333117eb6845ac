# SPDX-License-Identifier: Apache-2.0
"""Two gloo ranks: resumed from the warm-up, its end and the joint phase, stopped together, killed one at a time."""

from __future__ import annotations

import socket
from pathlib import Path

import torch

from reliability import targets
from reliability.outcome import Campaign, Outcome
from reliability.plans import PLAN
from reliability.processes import finish, fit, log, same_end, start

OPTIONS = ["--model.warmup_epochs=1", "--trainer.max_epochs=6", "--trainer.check_val_every_n_epoch=2"]
STOPPED = [
    ("SIGTERM,update,3", None, (143, 143)),
    ("SIGKILL,update,7", 1, (1, -9)),
    ("SIGINT,update,10", None, (130, 130)),
    ("SIGKILL,update,13", 0, (-9, 1)),
    ("SIGTERM,update,17", 0, (143, 143)),
]
"""What is sent, to which rank (or to both), and their statuses."""
PHASES = ("warm-up", "boundary", "joint")


def resumed(trials: int, folder: Path) -> Outcome:
    """Compare the parameters of both ranks with each other and with those of the uninterrupted run."""
    port = _free_port()
    processes = [start(targets.fit_on_two_ranks, str(folder), rank, port) for rank in range(2)]
    if any([finish(process) for process in processes]):  # a list: both are waited for
        raise RuntimeError((folder / "rank0.log").read_text()[-3000:])
    truth = _end(folder, "whole", 0)
    wrong = [
        f"{name}, rank {rank}"
        for name in ("whole", *PHASES[:trials])
        for rank in range(2)
        if not _same(_end(folder, name, rank), truth)
    ]
    note = "parameters equal on both ranks and to the uninterrupted run" if not wrong else "; ".join(wrong)
    return Outcome("two gloo ranks resumed: warm-up, boundary, joint", trials, 0, len(wrong), note)


def stopped(trials: int, folder: Path) -> Outcome:
    """Stop both ranks by a signal, or kill one; no rank may hang, and the run goes on with both."""
    whole, run = folder / "whole", folder / "run"
    if _fit(whole, *OPTIONS) != (0, 0):
        raise RuntimeError(log(whole))
    lost, found = 0, []
    for plan, rank, statuses in STOPPED[:trials]:
        said = len(log(run))
        ended = _fit(run, *OPTIONS, "--save_every_n_steps=2", "--resume=auto", plan=plan, planned=rank)
        if ended != statuses:
            found.append(f"{plan} on rank {rank}: {ended}")
        lost += rank != 0 and "--resume auto" not in log(run)[said:]  # rank 0 speaks, unless it is killed
    lost += _fit(run, *OPTIONS, "--resume=auto") != (0, 0)
    found += same_end(whole, run)
    note = "no rank hangs; equal at the end, parameters, moments and every step" if not found else "; ".join(found)
    return Outcome("two gloo ranks stopped, or one of them killed", min(trials, len(STOPPED)), lost, len(found), note)


def _fit(run: Path, *options: str, plan: str = "", planned: int | None = None) -> tuple[int, int]:
    """Run both ranks of a fit; ``plan`` is for one of them, or for both."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": "2", "NODE_RANK": "0"}
    ddp = ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=128"]
    first, second = (
        fit(run, *options, *ddp, **shared, LOCAL_RANK=str(rank), **{PLAN: plan if planned in (rank, None) else ""})
        for rank in range(2)
    )
    return finish(first), finish(second)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _end(folder: Path, name: str, rank: int) -> dict[str, object]:
    return torch.load(folder / f"{name}-{rank}.pt", weights_only=True)  # type: ignore[no-any-return]


def _same(state: dict[str, object], truth: dict[str, object]) -> bool:
    weights, others = (end["weights"] for end in (state, truth))
    assert isinstance(weights, dict) and isinstance(others, dict)
    plain = all(state[name] == truth[name] for name in ("steps", "phase"))
    return plain and all(torch.equal(value, others[name]) for name, value in weights.items())


CAMPAIGNS = {
    "ranks": Campaign(resumed, fast=3, full=3),
    "ranks_stopped": Campaign(stopped, fast=0, full=len(STOPPED)),
}
