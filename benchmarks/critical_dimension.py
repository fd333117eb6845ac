# SPDX-License-Identifier: Apache-2.0
"""How many rows free vectors of k numbers order, by temperature: the fit of Weller et al. (2025) measured again.

    OMP_NUM_THREADS=1 python benchmarks/critical_dimension.py [--numbers 4 5 6 7 8] [--seeds 2]

Every training is a line of ``results/DATE-critical-dimension.jsonl``; a line that is there is not measured again, so
that the same command resumes a run that was stopped. The report is written from all lines, with ``--seeds 0`` alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from itertools import product
from typing import Any

import numpy as np
import torch
from harness import RESULTS, environment

from lightning_monocon.functional import critical_dimension, fitted_rows

TEMPERATURES = (0.1, 0.03, 0.01)
STEPS = 5000

Line = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=int, nargs="+", default=[4, 5, 6, 7, 8])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--date", default=environment()["date"], help="whose lines are resumed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / f"{options.date}-critical-dimension.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = {(line["k"], line["temperature"], line["seed"]) for line in lines}
    for seed, temperature, k in product(range(options.seeds), TEMPERATURES, options.numbers):
        if (k, temperature, seed) not in known:
            lines.append(measured(k, temperature, seed))
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(lines[-1]) + "\n")
    path.with_suffix(".md").write_text(report(lines), encoding="utf-8")


def measured(k: int, temperature: float, seed: int) -> Line:
    start = time.process_time()
    found = critical_dimension(k, temperature=temperature, steps=STEPS, seed=seed)
    seconds = round(time.process_time() - start, 1)
    line = {"k": k, "temperature": temperature, "seed": seed, "rows": len(found.rows), "seconds": seconds}
    print(line, flush=True)
    return line


def report(lines: list[Line]) -> str:
    """Return a table of the rows that training ordered, and the fits."""
    numbers, seeds = sorted({line["k"] for line in lines}), 1 + max(line["seed"] for line in lines)
    head = " | ".join(f"temperature {temperature}" for temperature in TEMPERATURES)
    rows = [
        f"| {k} | {fitted_rows(k)} | " + " | ".join(cell(lines, k, temperature) for temperature in TEMPERATURES) + " |"
        for k in numbers
    ]
    facts = "; ".join(f"{name} {value}" for name, value in environment().items())
    parts = [
        "# How many rows free vectors of k numbers order",
        f"`python benchmarks/critical_dimension.py --seeds {seeds}`; {facts}; other jobs running",
        f"Rows of which training found every pair in {STEPS} steps: the median of the seeds, the least and the most.",
        "\n".join([f"| k | fit of Weller et al. | {head} |", "| ---: | ---: |" + " ---: |" * len(TEMPERATURES), *rows]),
        "\n".join(f"- {fit(lines, temperature)}" for temperature in TEMPERATURES),
    ]
    return "\n\n".join(parts) + "\n"


def of(lines: list[Line], k: int, temperature: float) -> list[int]:
    return [line["rows"] for line in lines if (line["k"], line["temperature"]) == (k, temperature)]


def cell(lines: list[Line], k: int, temperature: float) -> str:
    found = of(lines, k, temperature)
    return f"{statistics.median(found):g} ({min(found)} to {max(found)})" if found else "not measured"


def fit(lines: list[Line], temperature: float) -> str:
    """Fit a parabola to the medians; so few sizes have no say in the cubic term of the paper."""
    numbers = sorted({line["k"] for line in lines if line["temperature"] == temperature})
    if len(numbers) < 4:
        return f"temperature {temperature}: too few sizes for a fit."
    medians = [statistics.median(of(lines, k, temperature)) for k in numbers]
    terms = np.polynomial.Polynomial.fit(numbers, medians, 2).convert().coef
    told = " ".join(
        f"{factor:+.4f}{' k' if power else ''}{f'^{power}' if power > 1 else ''}" for power, factor in enumerate(terms)
    )
    return f"temperature {temperature}: n(k) = {told}, over k = {numbers[0]} to {numbers[-1]}."


if __name__ == "__main__":
    main()
