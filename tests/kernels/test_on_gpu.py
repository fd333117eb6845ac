# SPDX-License-Identifier: Apache-2.0
"""The command for a machine with a card is honest on one without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card here")
def test_without_a_card_it_says_so_and_writes_nothing(root: Path) -> None:
    results = root / "benchmarks" / "results"
    before = {path: path.stat().st_mtime for path in results.glob("*gpu*")}
    command = [sys.executable, str(root / "benchmarks" / "on_gpu.py")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.strip() == "not measured on a GPU: no CUDA device here"
    assert {path: path.stat().st_mtime for path in results.glob("*gpu*")} == before
