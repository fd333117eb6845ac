# SPDX-License-Identifier: Apache-2.0
"""Compare what `monocon score --codes fast` and `--codes all` find in few bytes, and what they take.

    python benchmarks/score_codes.py GALLERY.npy QUERY.npy

Both hold (N, D) rows. Prints JSON: seconds of wall and of CPU, and for each number of bytes the code and the share of
the ten exact neighbours that float queries find among the codes. Each way has a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from lightning_monocon.scorecard import EmbeddingSet, measure_all


def main(gallery: str, query: str, codes: str = "") -> None:
    """Measure one way in this process, or both in others."""
    if not codes:
        for each in ("fast", "all"):
            subprocess.run([sys.executable, __file__, gallery, query, each], check=True)
        return
    rows, asked = (torch.from_numpy(np.load(Path(path))).float() for path in (gallery, query))
    wall, cpu = time.perf_counter(), time.process_time()
    (score,) = measure_all(EmbeddingSet(rows, None, asked, None), rounded=True, codes=codes)  # type: ignore[arg-type]
    took = {"wall_s": round(time.perf_counter() - wall), "cpu_s": round(time.process_time() - cpu)}
    line = score.codes
    assert line is not None
    best = zip(line.bytes, line.names, (round(value, 4) for value in line.means()), strict=True)
    found = {"codes": codes, "rows": len(rows), "queries": len(asked), **took, "best": list(best)}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
