# SPDX-License-Identifier: Apache-2.0
"""Run a script of `tests/processes` in processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from helpers.patience import PATIENCE


def run_ranks(script: Path, folder: Path) -> None:
    """Run a script whose Trainer starts the other ranks itself; it writes to the folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PL_"))}
    clean["PYTHONPATH"] = str(Path(__file__).parents[1])  # of these helpers, which the script shares
    done = subprocess.run([sys.executable, script, folder], env=clean, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-3000:]


def run_two_ranks(script: Path, folder: Path) -> None:
    """Run a script once for each of two ranks, side by side; each writes to the folder."""
    command = [sys.executable, "-W", "error::FutureWarning", str(script)]
    processes = [subprocess.Popen([*command, str(rank), "2", str(folder)], stderr=subprocess.PIPE) for rank in (0, 1)]
    try:
        errors = [process.communicate(timeout=PATIENCE)[1].decode() for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
