# SPDX-License-Identifier: Apache-2.0
"""CPU time of the scorecard against that of another commit, in alternating rounds, with a check that both agree.

Run    python benchmarks/scorecard_speed.py VECTORS [--old COMMIT] [--rounds 5]
       VECTORS is a folder with gallery.npy, query.npy and held.npy: (N, D) float32 embeddings, such as MiniLM's of SNLI
Does   unpacks the old commit into a temporary folder, scores the same vectors by both, each in a process of its own
       with one thread, and writes results/DATE-scorecard-speed.md; figures of all sizes must be equal
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from harness import Row, write

CASES = ("sentences, qrels", "labels, 5-NN and recall")


def sets(case: str, folder: Path) -> dict[str, object]:
    """Return the arguments of `score` for a case."""
    from lightning_monocon.scorecard import QrelsTruth

    if case == CASES[0]:
        gallery = torch.from_numpy(np.load(folder / "gallery.npy")[:12000])
        asked = [np.load(folder / name) for name in ("query.npy", "held.npy")]
        query = torch.from_numpy(np.concatenate(asked)[:3000])
        # each query's answer is the row that it finds with every second number
        half = [torch.nn.functional.normalize(rows[:, ::2], dim=1) for rows in (gallery, query)]
        row = (half[1] @ half[0].T).argmax(1)
        number, grade = torch.arange(len(query)), torch.ones(len(query), dtype=torch.long)
        truth = QrelsTruth(query=number, row=row, grade=grade, queries=len(query), rows=len(gallery), name="qrels")
        return {"gallery": gallery, "query": query, "truths": [truth]}
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(24000) % 50
    spread = torch.arange(1, 513).pow(-0.5)
    centres = torch.randn(50, 512, generator=generator) * spread
    rows = centres[labels] + 1.2 * torch.randn(24000, 512, generator=generator) * spread
    cut = 20000
    return {
        "gallery": rows[:cut],
        "gallery_labels": labels[:cut],
        "query": rows[cut:],
        "query_labels": labels[cut:],
    }


def worker(case: str, folder: Path) -> None:
    """Score one case, and print its CPU time and a digest of all figures."""
    import lightning_monocon
    from lightning_monocon.scorecard import score

    torch.set_num_threads(1)
    given = sets(case, folder)
    start = time.process_time()
    found = score(**given)  # type: ignore[arg-type]
    seconds = time.process_time() - start
    digest = hashlib.sha256()
    for values in found.frontier.values.values():  # bytes are rounded in another way since: one step for all numbers
        digest.update(values.numpy().tobytes())
    print(json.dumps({"seconds": seconds, "digest": digest.hexdigest(), "from": lightning_monocon.__file__}))


def timed(case: str, folder: Path, package: Path) -> dict[str, object]:
    """Return what a worker prints that imports the package from a folder."""
    command = [sys.executable, __file__, str(folder), "--worker", case]
    environment = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}
    text = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    answer: dict[str, object] = json.loads(text.splitlines()[-1])
    if not str(answer["from"]).startswith(str(package)):
        raise RuntimeError(f"the worker imported {answer['from']}, not {package}")
    return answer


def row_of(case: str, folder: Path, old: Path, new: Path, rounds: int) -> Row:
    """Return the CPU times of both and the median of the ratios of a round."""
    pairs = [(timed(case, folder, old), timed(case, folder, new)) for _ in range(rounds)]
    before, after = (np.array([pair[side]["seconds"] for pair in pairs], dtype=float) for side in (0, 1))
    ratio = before / after
    equal = len({each["digest"] for pair in pairs for each in pair}) == 1
    row: Row = {
        "case": case,
        "before, s": round(float(np.median(before)), 1),
        "now, s": round(float(np.median(after)), 1),
        "ratio": round(float(np.median(ratio)), 2),
        "lowest": round(float(ratio.min()), 2),
        "highest": round(float(ratio.max()), 2),
        "figures equal": "yes" if equal else "NO",
    }
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("--old", default="b35d508")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", choices=CASES)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.vectors)
        return
    new = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "-C", str(new), "archive", options.old, "lightning_monocon"], check=True, capture_output=True
        ).stdout
        subprocess.run(["tar", "x", "-C", folder], input=archive, check=True)
        rows = [row_of(case, options.vectors, Path(folder), new, options.rounds) for case in CASES]
    title = f"CPU time of one embedding's scorecard, one thread, against commit {options.old}, {options.rounds} rounds"
    write("scorecard-speed", title, {"Rows: 12 000 + 3 000 x 384 sentences; 20 000 + 4 000 x 512 with labels": rows})


if __name__ == "__main__":
    main()
