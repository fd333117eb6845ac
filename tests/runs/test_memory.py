# SPDX-License-Identifier: Apache-2.0
"""Test that memory which was freed goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from lightning_monocon.runs.memory import give_back

HELD = """
import torch
from lightning_monocon.runs.memory import give_back

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

torch.ones(7 << 20)  # 28 MB: blocks up to its size come from the heap from now on
blocks = [torch.ones(1 << 18) for _ in range(200)]
last = blocks[-1]
del blocks
before = resident()
give_back()
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to give memory back")
def test_memory_below_a_block_in_use_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 150  # of the 199 MB that were freed


def test_another_system_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_monocon.runs.memory._malloc_trim", lambda: None)
    assert give_back() is None  # type: ignore[func-returns-value]
