# SPDX-License-Identifier: Apache-2.0
"""Kill a process while it writes a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PL_"))}


STOPPED = """
import os, sys
import numpy as np
from lightning_monocon.inference import shards
def stop(*_):
    print("ready", flush=True)
    sys.stdin.read()
rows = shards.Rows(np.arange(2), np.zeros((2, 3), np.float32), None)
KILLED
"""


def killed_while_writing(code: str, out: Path) -> None:
    """Kill a process after it has written a temporary file and before the file has its name."""
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED.replace("KILLED", code), str(out)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=CLEAN,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.communicate()


def temporary(folder: Path) -> list[str]:
    return sorted(path.name.rpartition(".tmp")[0].rpartition(".")[0] for path in folder.glob(".*.tmp"))
