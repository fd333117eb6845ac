# SPDX-License-Identifier: Apache-2.0
"""Build pgvector's HNSW index with memory that holds the graph and with less, by one process and by several.

    OMP_NUM_THREADS=1 python benchmarks/pgvector_memory.py FOLDER ROWS

FOLDER is that of `benchmarks/stores.py`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psycopg
import torch
from stores import bundle_of, rows_of, server

from lightning_monocon.stores import load, open_store

CLASSES = {"half": "halfvec_cosine_ops", "bit": "bit_hamming_ops"}
SETTINGS = [("64MB", 2), ("256MB", 0), ("256MB", 2)]
"""Memory and workers: the server's own, and more."""


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    fit, queries = (np.load(folder / f"{name}.npy").astype(np.float32) for name in ("fit", "query"))
    rows = rows_of(folder, count)
    print("| column | maintenance_work_mem | workers | s | CPU s | rows in memory | load average |")
    print("|" + " --- |" * 7)
    with tempfile.TemporaryDirectory() as place, server() as (database, cpu), psycopg.connect(database) as connection:
        connection.autocommit = True
        notices: list[str] = []
        connection.add_notice_handler(lambda told: notices.append(told.message_primary or ""))
        for kind, operators in CLASSES.items():
            bundle = bundle_of(fit, rows, queries[:64], kind, Path(place, kind))
            load(bundle, open_store(database, kind), index=False).store.close()
            for memory, workers in SETTINGS:
                connection.execute(f"SET maintenance_work_mem = '{memory}'")
                connection.execute(f"SET max_parallel_maintenance_workers = {workers}")
                notices.clear()
                begun, taken = time.perf_counter(), cpu()
                connection.execute(f"CREATE INDEX graph ON {kind} USING hnsw (code {operators})")
                seconds, taken = time.perf_counter() - begun, cpu() - taken
                held = next((one.split()[-2] for one in notices if "no longer fits" in one), str(count))
                print(f"| {kind} | {memory} | {workers} | {seconds:.1f} | {taken:.1f} | {held} | ", end="")
                print(f"{os.getloadavg()[0]:.0f} |", flush=True)
                connection.execute("DROP INDEX graph")


if __name__ == "__main__":
    main()
