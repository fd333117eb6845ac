# SPDX-License-Identifier: Apache-2.0
"""Memory is bounded by a block and by a few numbers a row; a fresh process shows it, whose peak nothing else moved."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.patience import PATIENCE
from safetensors.numpy import save_file

SCORE = """
import resource, sys
from pathlib import Path
import torch
from lightning_monocon.scorecard.row_files.folder import FileRows
from lightning_monocon.scorecard.streamed import StreamedSet, measure_streamed

files = sorted(Path(sys.argv[1]).iterdir())
query = torch.randn(16, 256, generator=torch.Generator().manual_seed(0))
for some in (files[:1], files):
    measure_streamed(StreamedSet(FileRows(some), query), dims=(4,), rounded=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss differs")
def test_memory_grows_by_a_few_numbers_a_row(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for number in range(6):
        rows = draw.standard_normal((12_000, 256), dtype=np.float32)
        save_file({"embeddings": rows}, tmp_path / f"{number}.safetensors")
    words = [sys.executable, "-c", SCORE, str(tmp_path)]
    # glibc gives large blocks back at once only below a threshold that moves; a fixed one makes the peak repeatable
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 18)}
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=True, env=environment)
    small, large = map(int, done.stdout.split())
    held = 60_000 * 256 * 4 / 1024  # KiB that the further rows take
    assert large - small < held / 2


SURVEY = """
from collections.abc import Iterator

import torch
from lightning_monocon.scorecard.row_files.passes import survey
from lightning_monocon.scorecard.row_files.source import Piece
from lightning_monocon.shrink import rows as shrink


class Watched:
    # rows that come from nowhere, and the memory of no file in kB before each piece of them

    length, width, dtype, has_ids, named = 240_000, 384, torch.float32, False, False
    anonymous = []

    def pieces(self) -> Iterator[Piece]:
        for start in range(0, self.length, 5_000):
            lines = open("/proc/self/status").read().splitlines()
            self.anonymous += [int(line.split()[1]) for line in lines if line.startswith("RssAnon")]
            yield Piece("", start, torch.randn(5_000, self.width))


rows = Watched()
{}
print(max(rows.anonymous[:16]), max(rows.anonymous))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("call", ["survey(rows, 10)", "shrink.survey(shrink.StoredRows(rows))"])
def test_what_is_kept_leaves_no_holes_in_the_heap(call: str) -> None:
    words = [sys.executable, "-c", SURVEY.format(call)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=True)
    third, whole = map(int, done.stdout.split())
    held = 160_000 * 384 * 4 / 1024  # kB of the other two thirds; holes took half of it
    assert whole - third < held / 4
