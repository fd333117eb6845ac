# SPDX-License-Identifier: Apache-2.0
"""How often the certificate of `monocon shrink` is wrong, and how often it is given, on tasks with known quality.

Run    python benchmarks/shrink_coverage.py [--tasks 1000] [--jobs 2] [--rows ROWS.npy --queries QUERY.npy]
Does   draws the quality of certifying queries for six codes, three of which keep just too little, and asks the
       product's own functions; with --rows it also draws from the qualities that real codes have for real queries;
       writes results/DATE-shrink-coverage.md
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from math import pi, sin, sqrt
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import torch
from harness import Row, write
from numpy.typing import NDArray
from scipy.special import stdtrit
from scipy.stats import binom

from lightning_monocon.codes import FittingRows
from lightning_monocon.codes.families import ScalarOptions, fit_scalar, fit_transform
from lightning_monocon.functional.correlation_values import spearman_values
from lightning_monocon.shrink import read_task
from lightning_monocon.shrink.betting import exceeds
from lightning_monocon.shrink.certificate import certify, correlation_low
from lightning_monocon.shrink.judge import encoded, qualities

Array = NDArray[np.float64]

KEEP, CONFIDENCE = 0.9, 0.95
SHARES = (1.08, 1.03, 1.0, 0.998, 0.998, 0.998)
"""Quality of the codes over what is asked, from large codes to small."""

QUERIES = (20, 60, 200, 1000, 5000)
STEPS = 100_000
"""Queries of all tasks of a line together, at most."""

WHOLE = 0.8
"""Quality of the whole vectors where it is not 1."""

# A draw returns the qualities (U,) of each code, and those of the whole vectors.
Draw = Callable[[np.random.Generator, int], tuple[list[Array], Array]]


def binary(quality: float, hard: Array, rng: np.random.Generator) -> Array:
    return (hard < quality).astype(np.float64)


def tenths(quality: float, hard: Array, rng: np.random.Generator) -> Array:
    return np.asarray(rng.binomial(10, 1 - 2 * (1 - quality) * hard) / 10)


def near_one(quality: float, hard: Array, rng: np.random.Generator) -> Array:
    """Three quarters are exactly 1."""
    return 1 - 8 * (1 - quality) * (hard > 0.75) * rng.random(len(hard))


def tied(quality: float, hard: Array, rng: np.random.Generator) -> Array:
    """Only 1 and 1/2."""
    return 1 - 0.5 * (hard < 2 * (1 - quality))


def continuous(quality: float, hard: Array, rng: np.random.Generator) -> Array:
    return rng.beta(8 * quality, 8 * (1 - quality), len(hard))


def perfect(kind: Callable[[float, Array, np.random.Generator], Array]) -> Draw:
    """Return draws where whole vectors have quality 1, as with neighbours."""

    def draw(rng: np.random.Generator, count: int) -> tuple[list[Array], Array]:
        hard = rng.random(count)  # the same for all codes, so that their luck is shared
        return [kind(KEEP * share, hard, rng) for share in SHARES], np.ones(count)

    return draw


def labels(rng: np.random.Generator, count: int) -> tuple[list[Array], Array]:
    """Whole vectors are right for eight queries of ten; a code is right for a tenth of the others, too."""
    whole = rng.random(count) < WHOLE
    luck, lost = rng.random(count) < 0.1, rng.random(count)
    rights = [KEEP * share - 0.1 * (1 - WHOLE) / WHOLE for share in SHARES]
    return [np.where(whole, lost < right, luck).astype(np.float64) for right in rights], whole.astype(np.float64)


def pairs(rng: np.random.Generator, count: int, whole: float) -> tuple[list[Array], Array]:
    """Cosines and scores are normal, with Spearman correlations that are known."""
    score, noise = rng.standard_normal((2, count))

    def values(spearman: float) -> Array:
        rho = 2 * sin(pi * spearman / 6)
        own = 0.9 * noise + sqrt(1 - 0.81) * rng.standard_normal(count)
        cosine = torch.from_numpy(rho * score + sqrt(1 - rho**2) * own)
        return spearman_values(cosine, torch.from_numpy(score)).numpy()

    return [values(KEEP * share * whole) for share in SHARES], values(whole)


def resampled(found: Array, rng: np.random.Generator, count: int) -> tuple[list[Array], Array]:
    """Draw queries with replacement from real ones, whose qualities ``(codes, U)`` are then the truth."""
    drawn = found[:, rng.integers(0, found.shape[1], count)]
    return list(drawn), np.ones(count)


def real_qualities(rows: Path, queries: Path) -> Array:
    """Return the qualities ``(codes, U)`` that real codes have for real queries, from the best to the worst."""
    task = read_task([rows], queries)
    fitting = FittingRows.of(task.gallery[::2])
    fits = [partial(fit_transform, size=size) for size in (128, 96, 64, 48, 32)]
    fits.append(partial(fit_scalar, size=16, options=ScalarOptions(1, rotation="random")))
    codecs = [fit(fitting) for fit in fits]
    return np.stack([qualities(task, codec, encoded(codec, task.gallery)).numpy() for codec in codecs])


def coverage(name: str, draw: Draw, truth: Array, keep: float, whole: float, count: int, tasks: int) -> Row:
    """Return how often either statement of the certificate is wrong, and how often there is one.

    Args:
        name: Of the line.
        draw: Draws a task.
        truth: True quality of each code.
        keep: Share that is asked for.
        whole: True quality of the whole vectors.
        count: Certifying queries.
        tasks: Tasks that are drawn.
    """
    rng = np.random.default_rng(count)
    wrong = low = given = 0
    for _ in range(tasks):
        codes, reference = draw(rng, count)
        found = certify(
            codes,
            reference,
            keep,
            CONFIDENCE,
            bounded="pairs" not in name,
            whole_is_perfect=bool((reference == 1).all()),
        )
        chosen = truth[max(found.passed - 1, 0)]
        failed = bool(found.passed > 0 and chosen < keep * whole - 1e-12)
        wrong += failed
        low += bool(found.low > chosen) and not failed
        given += found.passed > 0
    share = (wrong + low) / tasks
    allowed = float(binom.ppf(0.999, tasks, 1 - CONFIDENCE)) / tasks
    return _shown(
        {
            "qualities": name,
            "queries": count,
            "tasks": tasks,
            "wrong code %": round(100 * wrong / tasks, 1),
            "wrong bound alone %": round(100 * low / tasks, 1),
            "allowed %": round(100 * allowed, 1),
            "within": "yes" if share <= allowed else "NO",
            "certified %": round(100 * given / tasks),
        }
    )


def rivals(name: str, kind: Callable[[float, Array, np.random.Generator], Array], count: int, tasks: int) -> Row:
    """Return how often one test at 5 % passes a code on the border, and one that keeps a third of the slack more."""
    row: Row = {"qualities": name, "queries": count}
    better = KEEP + (1 - KEEP) / 2
    for title, quality in (("border", KEEP), (f"at {better:g}", better)):
        rng = np.random.default_rng(count)
        drawn = np.stack([kind(quality, rng.random(count), rng) for _ in range(tasks)], 1)
        bets = exceeds(drawn - KEEP, np.zeros(tasks), -KEEP, 0.05)
        error = drawn.std(0, ddof=1) / sqrt(count)
        student = drawn.mean(0) - KEEP > error * stdtrit(count - 1, CONFIDENCE)
        row |= {f"bets, {title} %": _percent(bets), f"t-test, {title} %": _percent(student)}
        exact = binom.sf(drawn.sum(0) - 1, count, KEEP) <= 0.05
        row[f"binomial, {title} %"] = _percent(exact) if name == "binary" else ""
    return _shown(row)


def pair_row(count: int, whole: float, tasks: int) -> Row:
    """Return how often the bound of one correlation is too high, beside a normal approximation."""
    rng, error = np.random.default_rng(count), 1 - CONFIDENCE
    true, missed, normal, reach = KEEP * SHARES[2] * whole, 0, 0, 0.0
    for _ in range(tasks):
        values = pairs(rng, count, whole)[0][2]
        low = correlation_low(values, error)
        missed += low > true
        normal += values.mean() - 1.645 * values.std(ddof=1) / sqrt(count) > true
        reach += (values.mean() - low) / tasks
    return _shown(
        {
            "Spearman": round(true, 3),
            "pairs": count,
            "too high %": round(100 * missed / tasks, 1),
            "normal approximation %": round(100 * normal / tasks, 1),
            "below the estimate by": round(reach, 3),
        }
    )


def _percent(found: NDArray[np.bool_]) -> float:
    return round(100 * float(found.mean()), 1)


def _shown(row: Row) -> Row:
    print(row, flush=True)
    return row


KINDS = {"binary": binary, "tenths": tenths, "near 1": near_one, "1 or 1/2": tied, "continuous": continuous}


def _line(job: tuple[str, int, int, Array | None]) -> Row:
    """Return one line of the first table; draws are made here, because they do not travel between processes."""
    name, count, tasks, found = job
    if found is not None:
        truth = found.mean(1)
        keep = float(truth[3])  # the fourth is on the border, and the two after it keep too little
        return coverage(name, partial(resampled, found), truth, keep, 1.0, count, tasks)
    shares = KEEP * np.array(SHARES)
    if name == "labels":
        return coverage(name, labels, WHOLE * shares, KEEP, WHOLE, count, tasks)
    if name.startswith("pairs"):
        whole = float(name.split()[-1])
        return coverage(name, partial(pairs, whole=whole), whole * shares, KEEP, whole, count, tasks)
    return coverage(name, perfect(KINDS[name]), shares, KEEP, 1.0, count, tasks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--queries", type=Path)
    options = parser.parse_args()

    def tasks(count: int) -> int:
        return max(20, min(options.tasks, STEPS * options.tasks // 1000 // count))

    names = [*KINDS, "labels", "pairs, whole .8", "pairs, whole .5"]
    jobs = [(name, count, tasks(count), None) for name in names for count in QUERIES]
    if options.rows:
        found = real_qualities(options.rows, options.queries)
        print("true qualities", found.mean(1), flush=True)
        jobs += [("real", count, tasks(count), found) for count in QUERIES]
    with Pool(options.jobs, torch.set_num_threads, (1,)) as pool:
        tables = {
            "Wrong certificates of six codes in order, the last three of which keep just too little": pool.map(
                _line, jobs, chunksize=1
            ),
            "One test at 5 %: of a code on the border, and of one that loses half of what it may": pool.starmap(
                rivals, [(name, kind, count, options.tasks) for name, kind in KINDS.items() for count in QUERIES]
            ),
            "Lower bounds of Spearman's correlation at 95 % that are too high": pool.starmap(
                pair_row, [(count, whole, options.tasks) for whole in (0.9, 0.6) for count in QUERIES[:-1]]
            ),
        }
    write("shrink-coverage", f"Coverage of the certificate, at most {options.tasks} tasks a line", tables)


if __name__ == "__main__":
    main()
