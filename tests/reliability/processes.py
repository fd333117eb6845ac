# SPDX-License-Identifier: Apache-2.0
"""Start the product in processes that can be killed, without paying for its imports each time.

A server imports everything once and forks a child per run, before torch has started any thread: a fork after that
hangs.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import torch

TESTS = Path(__file__).parents[1]
IDLE = 240.0
"""Seconds without any work after which a process hangs. How long it works depends on the machine and is not bounded."""


def context() -> ForkServerContext:
    """The context of the one server; its children find this package, and run on one thread."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(TESTS) not in known:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), *filter(None, known)])
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["reliability.targets"])
    return server


def start(target: Callable[..., None], *arguments: object) -> ForkServerProcess:
    """Start a function of `reliability.targets` in a child of the server."""
    # by name: the parent need not import what the server has
    process = context().Process(target=_call, args=(target.__module__, target.__name__, arguments))
    process.start()
    return process


def _call(module: str, name: str, arguments: tuple[Any, ...]) -> None:
    from importlib import import_module

    getattr(import_module(module), name)(*arguments)


def fit(
    folder: Path, *options: str, user: int | None = None, room: str | None = None, **environment: str
) -> ForkServerProcess:
    """Start ``monocon fit`` of the campaign's recipe in a run folder; its output goes to ``<folder>.log``."""
    from reliability import targets

    recipe = folder.parent / "recipe.yaml"
    recipe.write_text(targets.RECIPE)
    words = ["fit", "--config", str(recipe), "--run_dir", str(folder), *options]
    return start(targets.command, words, f"{folder}.log", environment, user, room)


def log(folder: Path) -> str:
    """What the processes of a run folder have printed."""
    path = Path(f"{folder}.log")
    return path.read_text() if path.exists() else ""


class Patience:
    """Tell a process that hangs from one that is slow: it, and its children, use no processor time at all."""

    def __init__(self, process: ForkServerProcess) -> None:
        self.process, self._work = process, ""
        self._since = self._asked = time.monotonic()

    def check(self) -> None:
        """Look at most once a second; kill a process that hangs.

        Raises:
            TimeoutError: If it does.
        """
        now = time.monotonic()
        if now - self._asked < 1:
            return
        self._asked = now
        if (work := _processor_time(self.process.pid or 0)) != self._work:
            self._work, self._since = work, now
        elif now - self._since > IDLE:
            self.process.kill()
            self.process.join()
            raise TimeoutError(f"the process has done nothing for {IDLE:.0f} s")


def _processor_time(pid: int) -> str:
    """Return ticks of user and system time of a process and its children, as Linux counts them."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return ""
    ticks = []
    for number in (str(pid), *children):
        try:
            ticks += Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[11:15]
        except OSError:  # it has just ended
            continue
    return " ".join(ticks)


def finish(process: ForkServerProcess) -> int:
    """Wait for a process and return its exit status; one that hangs is killed and an error."""
    patience = Patience(process)
    while process.exitcode is None:
        process.join(1.0)
        patience.check()
    return process.exitcode


def kill(process: ForkServerProcess, number: signal.Signals = signal.SIGKILL) -> int:
    """Send a signal and return the exit status."""
    if process.is_alive() and process.pid is not None:
        os.kill(process.pid, number)
    return finish(process)


def wait_for(condition: Callable[[], bool], process: ForkServerProcess) -> bool:
    """Wait until something holds; ``False`` if the process ends before it does."""
    patience = Patience(process)
    while not condition():
        if not process.is_alive():
            return condition()
        patience.check()
        time.sleep(0.002)
    return True


def trace(folder: Path) -> list[tuple[int, Any]]:
    """Rows of ``trace.jsonl``: step, and what it did; half a row is left out."""
    path = folder / "trace.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [(step, row) for step, row in map(json.loads, lines)]


def same_end(whole: Path, interrupted: Path) -> list[str]:
    """Say where an interrupted run ended otherwise than an uninterrupted one: to the bit, or at any step on the way."""
    found: list[str] = []
    truth = dict(trace(whole))
    for step, row in trace(interrupted):  # steps that were made twice included
        if truth.get(step) != row:
            found.append(f"step {step}: {row}, not {truth.get(step)}")
    if dict(trace(interrupted)).keys() != truth.keys():
        found.append("not the same steps")
    return [*found, *same_state(whole, interrupted)]


def same_state(whole: Path, interrupted: Path) -> list[str]:
    """Say which parts of the last checkpoints of two runs differ, to the bit."""
    found: list[str] = []
    ends = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (whole, interrupted)]
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        if not _equal(*(end[part] for end in ends)):
            found.append(f"{part} differs")
    return found


def _equal(left: object, right: object) -> bool:
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(value, right[key]) for key, value in left.items())
    if isinstance(left, Sequence) and isinstance(right, Sequence) and not isinstance(left, str):
        return len(left) == len(right) and all(map(_equal, left, right))
    return left == right
