# SPDX-License-Identifier: Apache-2.0
"""How often the numbers of `lightning_monocon.landscape.theory` are given, and their intervals hold a planted truth.

Run    python benchmarks/theory_coverage.py [--trials 100]
Does   draws data from a known law again and again and asks the functions that `monocon landscape` and
       docs/landscape-theory.md use; writes results/DATE-theory-coverage.md
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable

import numpy as np
from harness import Row, write
from numpy.typing import NDArray

from lightning_monocon.landscape.rates import Interval
from lightning_monocon.landscape.theory import (
    DELAY_LAWS,
    Escape,
    budget_shift,
    compare_laws,
    critical_size,
    displacement_exponent,
    distinct_exponent,
    fit_arrhenius,
    pooled_exponent,
    simulate_traps,
    spanning_probability,
)
from lightning_monocon.landscape.theory.estimate import Estimate

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator], Interval | Estimate]

SIZES = np.repeat([696, 765, 870, 1044, 1218, 1392, 1566, 1740, 2088], 3).astype(float)
BARRIER = 8.0
HORIZON = np.geomspace(300, 1e6, 17)


def scatter(rng: np.random.Generator, count: int, sigma: float = 0.1) -> Array:
    return np.exp(sigma * rng.standard_normal(count))


def barrier(rng: np.random.Generator, *, budget: float, drop: bool = False) -> Estimate:
    """Twelve exponential escapes at each of five temperatures; those beyond the budget are late, or dropped."""
    escapes = []
    for temperature in np.geomspace(1, 8, 5).repeat(12):
        time = float(rng.exponential(np.exp(1 + BARRIER / temperature)))
        escapes.append(Escape(min(time, budget), 100 * temperature, 100, 0.1, is_late=time > budget))
    fit = fit_arrhenius([escape for escape in escapes if not (drop and escape.is_late)])
    return Estimate(fit.barrier, fit.error, fit.reason)


def censored_share(rng: np.random.Generator) -> Interval:
    """Twenty exponential times of mean 1000, followed for 300 to 2500 steps."""
    times, ends = rng.exponential(1000, 20), rng.uniform(300, 2500, 20)
    return spanning_probability(np.ones(20), np.where(times <= ends, times, np.nan), 1000, ends)[1.0]


def critical(rng: np.random.Generator, size: float, budget: float = np.inf) -> Interval:
    with np.errstate(divide="ignore"):
        times = np.where(SIZES > size, 6e5 / np.abs(SIZES - size), np.inf) * scatter(rng, len(SIZES))
    return critical_size(SIZES, np.minimum(times, budget), censored=times > budget)


def brownian(rng: np.random.Generator, runs: int, length: int, dimensions: int) -> Estimate:
    paths = rng.standard_normal((runs, length, dimensions)).cumsum(axis=1)
    return displacement_exponent(paths if runs > 1 else paths[0])


def ring(rng: np.random.Generator, walks: int, length: int) -> Estimate:
    return distinct_exponent(rng.choice([-1, 1], (walks, length)).cumsum(axis=1).tolist())


def traps(rng: np.random.Generator, mu: float, runs: int) -> Estimate:
    return pooled_exponent(HORIZON, simulate_traps(mu, HORIZON, runs, rng))


def coverage(name: str, truth: float, draw: Draw, trials: int) -> Row:
    found = [draw(np.random.default_rng(seed)) for seed in range(trials)]
    bounds = [each.interval if isinstance(each, Estimate) else each for each in found]
    given = [each for each in bounds if not np.isnan(each.estimate)]
    holds = np.mean([each.low <= truth <= each.high for each in given])
    row: Row = {
        "planted": name,
        "truth": truth,
        "given": f"{len(given)} of {trials}",
        "median": round(float(np.median([each.estimate for each in given])), 3),
        "interval holds it, %": round(100 * float(holds)),
        "median width": round(float(np.median([each.high - each.low for each in given])), 3),
    }
    print(row, flush=True)
    return row


def intervals(trials: int) -> list[Row]:
    jobs: list[tuple[str, float, Draw]] = [
        ("Arrhenius barrier, all escapes seen", BARRIER, lambda rng: barrier(rng, budget=np.inf)),
        ("the same, late escapes censored", BARRIER, lambda rng: barrier(rng, budget=4000.0)),
        ("the same, late escapes left out", BARRIER, lambda rng: barrier(rng, budget=4000.0, drop=True)),
        ("share that generalises, runs of many lengths", round(float(1 - np.exp(-1)), 3), censored_share),
        ("critical size", 600.0, lambda rng: critical(rng, 600.0)),
        ("critical size, smaller", 300.0, lambda rng: critical(rng, 300.0)),
        ("critical size above the smallest sizes, censored", 1000.0, lambda rng: critical(rng, 1000.0, 8000.0)),
        ("no critical size", 0.0, lambda rng: critical(rng, 0.0)),
        *(
            (f"displacement, {runs} run(s) of 400 points in {dims} dimensions", 0.5, _brownian(runs, dims))
            for runs, dims in ((1, 1), (1, 2), (1, 8), (5, 2), (10, 8))
        ),
        *((f"distinct states, {walks} walks on a ring", 0.5, _ring(walks)) for walks in (5, 20, 200)),
        *((f"traps, {runs} runs", mu, _traps(mu, runs)) for mu in (0.1, 0.3, 0.5, 0.7, 0.9) for runs in (10, 40)),
    ]
    return [coverage(name, truth, draw, trials) for name, truth, draw in jobs]


def _brownian(runs: int, dimensions: int) -> Draw:
    return lambda rng: brownian(rng, runs, 400, dimensions)


def _ring(walks: int) -> Draw:
    return lambda rng: ring(rng, walks, 2000)


def _traps(mu: float, runs: int) -> Draw:
    return lambda rng: traps(rng, mu, runs)


def verdicts(trials: int) -> list[Row]:
    """The budget-shift test on times that diverge as D^-3.5, and on a threshold at 1000."""
    rows: list[Row] = []
    for gap in (300, 150, 50):
        sizes = np.repeat(np.arange(500.0, 2001, gap), 8)
        with np.errstate(divide="ignore"):
            planted = {"time that diverges": 3e13 * sizes**-3.5, "threshold": np.where(sizes > 1000, 800.0, np.inf)}
        for name, mean in planted.items():
            counts = Counter[str]()
            for seed in range(trials):
                noise = scatter(np.random.default_rng(seed), len(sizes), 0.3)
                shift = budget_shift(sizes, mean * noise, [1500, 3000, 6000])
                counts["stable" if shift.is_stable else "undecided" if "undecided" in shift.reason else "falls"] += 1
            rows.append(
                {"planted": name, "sizes apart": gap, **{v: counts[v] for v in ("stable", "falls", "undecided")}}
            )
    return rows


def winners(trials: int) -> list[Row]:
    """Which law is named for delays of 27 runs at 9 sizes, 10 % about each of the laws."""
    planted = {
        "6e5 / (D - 600)": ("critical", 6e5 / (SIZES - 600)),
        "400 + 17000 (D / 696)^-4.5": ("power_offset", 400 + 1.7e4 * (SIZES / 696) ** -4.5),
        "1e9 D^-2": ("power", 1e9 * SIZES**-2),
        "6e5 / D, both critical and power": ("none", 6e5 / SIZES),
    }
    rows: list[Row] = []
    for name, (truth, mean) in planted.items():
        counts = Counter[str]()
        for seed in range(trials):
            won = compare_laws(SIZES, mean * scatter(np.random.default_rng(seed), len(SIZES)), DELAY_LAWS).winner
            counts["right" if won == truth else won if won == "undecided" else "wrong"] += 1
        rows.append({"planted": name, **{verdict: counts[verdict] for verdict in ("right", "undecided", "wrong")}})
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    trials = parser.parse_args().trials
    tables = {
        "Intervals of 95 %": intervals(trials),
        "Verdicts of the budget-shift test": verdicts(trials),
        "Which delay law is named": winners(max(trials // 4, 4)),
    }
    write("theory-coverage", f"Planted truths of the landscape's theory, {trials} trials a line", tables)


if __name__ == "__main__":
    main()
