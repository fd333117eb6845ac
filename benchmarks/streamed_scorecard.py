# SPDX-License-Identifier: Apache-2.0
"""Time and memory of a scorecard whose gallery is read from its files: 5 million rows of 384 numbers by default.

    python benchmarks/streamed_scorecard.py [ROWS [QUERIES [DIMS...]]]

Writes float32 rows to temporary Parquet shards, searches them with QUERIES queries, and prints seconds and the peak of
memory. Without DIMS it searches at every size of the default frontier and in int8 and binary, as `monocon score` does;
with them at these sizes alone, in float32.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from lightning_monocon.scorecard.row_files.folder import FileRows
from lightning_monocon.scorecard.streamed import StreamedSet, measure_streamed
from lightning_monocon.scorecard.truths import QrelsTruth

WIDTH, SHARD, PLACES = 384, 50_000, 2_000


def rows_of(number: int, count: int) -> np.ndarray:
    """Return rows about some thousand centres, with a falling spectrum."""
    draw = np.random.default_rng(number)
    centres = np.random.default_rng(1 << 30).standard_normal((PLACES, WIDTH), dtype=np.float32)
    spread = np.linspace(1, 0.1, WIDTH, dtype=np.float32)
    return (
        centres[draw.integers(PLACES, size=count)] + draw.standard_normal((count, WIDTH), dtype=np.float32)
    ) * spread


def write(folder: Path, rows: int) -> None:
    """Write the gallery as Parquet shards."""
    for number, start in enumerate(range(0, rows, SHARD)):
        part = rows_of(number, min(SHARD, rows - start))
        column = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), WIDTH)
        pq.write_table(pa.table({"embedding": column}), folder / f"{number:05d}.parquet", compression="none")


def main(rows: int = 5_000_000, queries: int = 10_000, *dims: int) -> None:
    """Write, score and report."""
    with tempfile.TemporaryDirectory() as place:
        write(Path(place), rows)
        print(
            f"{rows:,} rows of {WIDTH} in {rows * WIDTH * 4 / 1e9:.2f} GB of Parquet, {queries:,} queries", flush=True
        )
        first = torch.from_numpy(rows_of(0, min(SHARD, rows))[:queries].copy())
        query = first + 0.3 * torch.randn(first.shape, generator=torch.Generator().manual_seed(0))
        one = torch.arange(len(query))
        qrels = QrelsTruth(query=one, row=one, grade=torch.ones_like(one), queries=len(query), rows=rows)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wall, cpu = time.perf_counter(), time.process_time()
        data = StreamedSet(FileRows(sorted(Path(place).iterdir())), query, (qrels,))
        (score,) = measure_streamed(data, dims or None, rounded=not dims)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{wall:.0f} s, {cpu:.0f} s of CPU; peak {peak / 1e6:.2f} GB, {before / 1e6:.2f} GB of it before the first pass"
    )
    print(f"n99 {score.n99}, nDCG@10 {score.value:.3f} at full width")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
