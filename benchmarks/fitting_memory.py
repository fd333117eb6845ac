# SPDX-License-Identifier: Apache-2.0
"""Fit codes on more rows than memory holds, and print the time and the peak of memory.

    python benchmarks/fitting_memory.py VECTORS.npy FOLDER [MILLIONS...]

A million rows like the given ones (N, D) are written to ten Parquet shards in FOLDER and read as often as it takes: the
moments are of all rows, and the sample is drawn by their numbers. Each count runs in a process of its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from shrink_speed import SHARD, made, written

SHARDS = 10
CODES = ("transform-32", "scalar2-32", "int8-384")


def main(vectors: str, folder: str, *millions: str) -> None:
    """Write the shards that are missing, and measure every count."""
    rows, out = np.load(vectors), Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    for shard in range(SHARDS):
        path = out / f"{shard:05}.parquet"
        if not path.exists():
            written(made(rows, SHARD, seed=shard), path)
    for count in millions or ("1", "10", "100"):
        subprocess.run([sys.executable, __file__, "--measure", folder, count], check=True)


def measure(folder: str, millions: str) -> None:
    """Fit the codes on so many million rows, and print what it took as JSON."""
    from lightning_monocon.codes import FittingStream
    from lightning_monocon.codes.candidates import named
    from lightning_monocon.scorecard.row_files.source import blocks_of
    from lightning_monocon.shrink.task import rows_of_places

    shards = sorted(Path(folder).glob("*.parquet"))
    source = rows_of_places(shards)
    began, stream = time.perf_counter(), FittingStream(source.width)
    for _ in range(int(millions)):
        for block in blocks_of(source):
            stream.add(block)
    rows, collected = stream.result(), time.perf_counter()
    for code in CODES:
        candidate = named(code, source.width)
        candidate.fit(rows, candidate.bytes)
    used = resource.getrusage(resource.RUSAGE_SELF)
    took = {
        "rows": rows.count,
        "collecting_s": round(collected - began),
        "fitting_s": round(time.perf_counter() - collected, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime),
        "peak_gb": round(used.ru_maxrss / 1e6, 2),
    }
    print(json.dumps(took), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--measure":
        measure(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
