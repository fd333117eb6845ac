# SPDX-License-Identifier: Apache-2.0
"""Time `monocon shrink` and its peak of memory on many vectors in Parquet shards.

    python benchmarks/shrink_speed.py VECTORS.npy ROWS FOLDER

Rows are made of real ones (N, D): each is one of them plus half the difference of two others, so that mean and spectrum
are those of the given rows. 5 000 queries are made in the same way. FOLDER gets the shards and the result.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

QUERIES, SHARD = 5_000, 100_000


def made(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return ``count`` rows ``(count, D)`` float32 like the given ones."""
    draw = np.random.default_rng(seed)
    first, second, third = (rows[draw.integers(len(rows), size=count)] for _ in range(3))
    found = first + 0.5 * (second - third)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def written(rows: np.ndarray, path: Path) -> None:
    """Write rows as a Parquet column of lists of one length."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    pq.write_table(pa.table({"embedding": column}), path, row_group_size=10_000)


def main(vectors: str, count: str, folder: str) -> None:
    """Make the shards that are missing, run the command, and print what it took as JSON."""
    rows, out = np.load(vectors), Path(folder)
    (out / "rows").mkdir(parents=True, exist_ok=True)
    written(made(rows, QUERIES, seed=1_000_000), out / "query.parquet")
    for shard, start in enumerate(range(0, int(count), SHARD)):
        path = out / "rows" / f"{shard:05}.parquet"
        if not path.exists():
            written(made(rows, min(SHARD, int(count) - start), seed=shard), path)

    command = ["shrink", str(out / "rows"), "--queries", str(out / "query.parquet"), "--keep", "0.8"]
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "lightning_monocon", *command, "--out", str(out / "result")], check=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads((out / "result" / "shrink.json").read_text())
    took = {
        "rows": int(count),
        "wall_s": round(time.perf_counter() - began),
        "cpu_s": round(used.ru_utime + used.ru_stime),
        "peak_gb": round(used.ru_maxrss / 1e6, 2),
        "codes": len(found["codes"]),
        "chosen": found["chosen"],
    }
    print(json.dumps(took))


if __name__ == "__main__":
    main(*sys.argv[1:])
