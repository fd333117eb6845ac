# SPDX-License-Identifier: Apache-2.0
"""CPU time of one evaluation of the semantic landscape: the signature, the tracker and the purity coverage.

Run    OMP_NUM_THREADS=1 python benchmarks/landscape_cpu.py [--dim 128] [--rounds 30]
Arms   soft k-NN credence (bank: the train half), classifier credence over 100 classes, one tracker update inside a
       state and one while the profile drifts, purity coverage; the bar is 10 ms for soft k-NN at 512 probes
Times are milliseconds of CPU time of one thread, the arms taken in turn.
"""

from __future__ import annotations

import argparse
import statistics

import harness
import numpy as np
import torch

from lightning_monocon.landscape import LandscapeTracker, credence, soft_knn_credence
from lightning_monocon.landscape.theory import purity_coverage

BAR_MS = 10.0


def settled(probes: int) -> harness.Step:
    """Updates of a tracker that stays in one state."""
    return _updates(probes, lambda rng: 0.9 + 0.02 * rng.standard_normal(probes))


def drifting(probes: int) -> harness.Step:
    """Updates of a tracker whose profile wanders from plateau to plateau."""
    level = iter(range(10**9))
    return _updates(probes, lambda rng: 0.5 + 0.45 * np.sin(0.004 * next(level)) + 0.05 * rng.standard_normal(probes))


def _updates(probes: int, profile: object) -> harness.Step:
    rng, tracker, steps = np.random.default_rng(0), LandscapeTracker(np.arange(probes) % 2), iter(range(10**9))

    def update() -> None:
        tracker.update(next(steps), np.clip(profile(rng), 0, 1))  # type: ignore[operator]

    for _ in range(300):
        update()
    return update


def arms(probes: int, dim: int) -> dict[str, harness.Step]:
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(probes, dim, generator=generator)
    labels = torch.arange(probes) % 20
    logits = torch.randn(probes, 100, generator=generator)
    bank = torch.arange(probes // 2)
    return {
        "soft k-NN credence": lambda: soft_knn_credence(embeddings, labels, bank),
        "classifier credence": lambda: credence(logits, labels),
        "update, settled": settled(probes),
        "update, drifting": drifting(probes),
        "purity coverage": lambda: purity_coverage(embeddings, labels, permutations=0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[harness.Row] = []
    for probes in (512, 1024, 2048):
        times = harness.interleaved(arms(probes, options.dim), options.rounds)
        for name, values in times.items():
            middle, worst = 1e3 * statistics.median(values), 1e3 * max(values)
            rows.append({"arm": name, "probes": probes, "median ms": middle, "largest ms": worst})
    found = next(row["median ms"] for row in rows if row["arm"] == "soft k-NN credence" and row["probes"] == 512)
    verdict: list[harness.Row] = [
        {"claim": f"soft k-NN, 512 probes, {options.dim} dimensions <= {BAR_MS:g} ms", "measured ms": found}
    ]
    tables = {"Bar": verdict, "Milliseconds per evaluation": rows}
    print(harness.write("landscape_cpu", "CPU time of one landscape evaluation", tables).read_text())


if __name__ == "__main__":
    main()
