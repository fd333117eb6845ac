# SPDX-License-Identifier: Apache-2.0
"""Two gloo ranks, resumed from the warm-up, its end, and the joint phase."""

from __future__ import annotations

import socket
from pathlib import Path

import torch

from reliability import targets
from reliability.outcome import Campaign, Outcome
from reliability.processes import finish, start

PHASES = ("warm-up", "boundary", "joint")


def resumed(trials: int, folder: Path) -> Outcome:
    """Compare the parameters of both ranks with each other and with those of the uninterrupted run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
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


def _end(folder: Path, name: str, rank: int) -> dict[str, object]:
    return torch.load(folder / f"{name}-{rank}.pt", weights_only=True)  # type: ignore[no-any-return]


def _same(state: dict[str, object], truth: dict[str, object]) -> bool:
    weights, others = (end["weights"] for end in (state, truth))
    assert isinstance(weights, dict) and isinstance(others, dict)
    plain = all(state[name] == truth[name] for name in ("steps", "phase"))
    return plain and all(torch.equal(value, others[name]) for name, value in weights.items())


CAMPAIGNS = {"ranks": Campaign(resumed, fast=3, full=3)}
