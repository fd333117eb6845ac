# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks that train share: one command measured in wall time and CPU time, and its output kept."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from harness import RESULTS, environment


class Measured(NamedTuple):
    """A finished command."""

    output: str
    wall: float
    """Seconds on the clock."""
    cpu: float
    """Seconds of all its processes on the processor."""


def monocon(words: Sequence[object], root: Path) -> Measured:
    """Run ``monocon WORDS`` in ``root`` and measure it, its own processes included.

    Raises:
        RuntimeError: If it fails.
    """
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "lightning_monocon", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(done.stdout, wall, cpu)


def shared_machine() -> str:
    """Return what to think of the wall times: on a busy machine they are upper bounds."""
    if os.getloadavg()[0] <= 1.5 * (os.cpu_count() or 1):
        return ""
    return "The machine was shared with other work: wall times are upper bounds, CPU seconds are of these runs alone."


def write_text(name: str, title: str, body: str) -> Path:
    """Write ``results/DATE-NAME.md``: title, versions and hardware, text."""
    facts = environment()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{facts['date']}-{name}.md"
    setting = "; ".join(f"{key} {value}" for key, value in facts.items())
    path.write_text(f"# {title}\n\n{setting}\n\n{body.rstrip()}\n", encoding="utf-8")
    return path
