# SPDX-License-Identifier: Apache-2.0
"""How often a scorecard of equal arms claims a winner, how often an interval misses, and what a real lead needs.

Run    python benchmarks/scorecard_error_rates.py [--cards 300] [--intervals 2000] [--jobs 2]
Does   draws which queries each arm gets right at each size, from arms that are equally good, or of which one is better,
       and asks the product's own functions; writes results/DATE-scorecard-error-rates.md
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from math import sqrt
from multiprocessing import Pool

import numpy as np
import torch
from harness import Row, write
from numpy.typing import NDArray
from scipy.stats import binom, norm

from lightning_monocon.functional.paired_mean import CONFIDENCE, deviations, paired_mean
from lightning_monocon.scorecard import EmbeddingSet, Frontier, LabelTruth, Score, measure, winner
from lightning_monocon.scorecard.ranking import family, float_forms

SIZES = (1, 2, 4, 8, 16, 32)
ACCURACY = 0.9


@dataclass(frozen=True)
class Population:
    """Hold what the arms are drawn from.

    Attributes:
        arms: Their number.
        seeds: Training runs of each.
        queries: That judge all of them.
        seed_deviation: Standard deviation in points of a run's true accuracy around its arm's.
        wild: How many times as much the runs of the first arm vary.
        lead: Points by which the first arm is better.
        alike: Whether a run is as far off at one size as at every other; else each size is drawn independently.
    """

    arms: int
    seeds: int
    queries: int
    seed_deviation: float = 0.5
    wild: float = 1.0
    lead: float = 0.0
    alike: bool = True


def hits(of: Population, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw which queries are right, ``(arms, seeds, sizes, queries)``.

    How hard a query is has a part of all arms (half of the variance), one of each arm, one of each run, and one of each
    size, in which neighbouring sizes are alike.
    """
    shape = (of.arms, of.seeds, len(SIZES), of.queries)
    hard = sqrt(0.5) * rng.standard_normal((1, 1, 1, of.queries))
    arm = sqrt(0.15) * _walk(rng, (of.arms, 1, len(SIZES), of.queries))
    run = sqrt(0.35) * _walk(rng, shape)
    deviation = 0.01 * of.seed_deviation * np.array([of.wild] + [1.0] * (of.arms - 1))
    sizes = 1 if of.alike else len(SIZES)
    share = ACCURACY + deviation[:, None, None] * rng.standard_normal((of.arms, of.seeds, sizes))
    share[0] += 0.01 * of.lead
    return np.asarray(hard + arm + run < norm.ppf(share.clip(0.01, 0.999))[..., None])


def cards(of: Population, count: int, template: Score, rng: np.random.Generator) -> tuple[float, float]:
    """Return the share of cards that name any arm as beaten, and the share that name the first as winner at a size."""
    claims = wins = 0
    for _ in range(count):
        arms = as_scores(hits(of, rng), template)
        card = family(arms, [float_forms(arms, k) for k in SIZES])
        best = [winner(arms, k, card=card) for k in SIZES]
        claims += any(len(each.ties) < of.arms - 1 for each in best)
        wins += best[-1].arm == "0" and best[-1].distinguishable
    return claims / count, wins / count


def as_scores(drawn: NDArray[np.bool_], template: Score) -> dict[str, list[Score]]:
    """Return scores of which only the queries they get right matter."""
    truth = LabelTruth(torch.arange(4), torch.zeros(drawn.shape[-1], dtype=torch.long))
    return {
        str(arm): [
            replace(
                template,
                arm=str(arm),
                seed=seed,
                truth=truth,
                frontier=Frontier(SIZES, {"knn_accuracy": torch.from_numpy(table).double()}),
            )
            for seed, table in enumerate(runs)
        ]
        for arm, runs in enumerate(drawn)
    }


def misses(of: Population, count: int, rng: np.random.Generator) -> tuple[float, float]:
    """Return how often the interval of two arms' difference misses the truth, and its mean half-width in points."""
    missed, reach = 0, 0.0
    for _ in range(count):
        first, second = hits(of, rng)[:, :, -1].astype(np.float64)
        low, high = paired_mean(list(first - second)).interval(deviations(CONFIDENCE))
        missed += not low <= 0 <= high
        reach += 100 * (high - low) / 2
    return missed / count, reach / count


def template() -> Score:
    """Return any score."""
    rows, labels = torch.eye(4).repeat(3, 1), torch.arange(4).repeat(3)
    return measure(EmbeddingSet(rows, labels, rows, labels))


def _walk(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Draw standard normal numbers of which neighbouring sizes share eight tenths."""
    steps = rng.standard_normal(shape)
    for size in range(1, shape[2]):
        steps[:, :, size] = 0.8 * steps[:, :, size - 1] + 0.6 * steps[:, :, size]
    return np.asarray(steps)


def _highest(count: int) -> float:
    """Return the share that an error rate of 5 % exceeds in one of a thousand tries."""
    return float(binom.ppf(0.999, count, 1 - CONFIDENCE)) / count


def claim_row(of: Population, count: int) -> Row:
    """Return how often a card of equal arms claims a winner."""
    claims, _ = cards(of, count, template(), np.random.default_rng(0))
    return _shown({**_named(of), "claims %": round(100 * claims, 1)})


def power_row(of: Population, count: int) -> Row:
    """Return how often the better arm wins at the largest size."""
    _, wins = cards(of, count, template(), np.random.default_rng(1))
    return _shown({**_named(of), "lead": of.lead, "wins %": round(100 * wins)})


def interval_row(of: Population, count: int) -> Row:
    """Return how often the interval of one comparison misses."""
    missed, reach = misses(of, count, np.random.default_rng(2))
    return _shown({**_named(of), "misses %": round(100 * missed, 1), "half-width": round(reach, 2)})


# One seed knows nothing of how runs differ, so its cards are of runs that are equally good, but for the last line.
EQUAL = (
    *(Population(arms, seeds, 300, 0.5 if seeds > 1 else 0.0) for arms in (2, 6, 9) for seeds in (1, 3, 10)),
    *(Population(6, 1, queries, 0.0) for queries in (100, 2000)),
    *(Population(6, 2, 300), Population(6, 5, 300)),
    *(Population(3, seeds, 300, 2.0) for seeds in (3, 10)),
    *(Population(3, seeds, 300, 2.0, alike=False) for seeds in (3, 10)),
    *(Population(3, seeds, 300, 1.0, wild=4.0) for seeds in (3, 10)),
    Population(6, 1, 2000, 0.5),
)
BETTER = tuple(
    Population(arms, seeds, 1000, lead=lead) for arms in (2, 4) for seeds in (1, 3, 5, 10) for lead in (2.0, 4.0)
)
PAIRS = tuple(
    Population(2, seeds, 500, deviation)
    for seeds in range(1, 11)
    for deviation in ((0.0, 1.0, 3.0) if seeds > 1 else (0.0,))
)


def _shown(row: Row) -> Row:
    print(row, flush=True)
    return row


def _named(of: Population) -> Row:
    deviation = f"{of.seed_deviation:g}{'' if of.alike else ', independent at each size'}"
    wild = f"; first arm {of.wild * of.seed_deviation:g}" if of.wild != 1 else ""
    return {"arms": of.arms, "seeds": of.seeds, "queries": of.queries, "seed deviation": deviation + wild}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cards", type=int, default=300)
    parser.add_argument("--intervals", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    bound = 100 * _highest(options.cards)
    heads = {
        f"Cards of equal arms that claim a winner at any of {len(SIZES)} sizes (an error rate of 5 % stays within "
        f"{bound:.0f} % in 999 of 1000 tries)": (claim_row, EQUAL, options.cards),
        "Intervals of one comparison that miss the truth": (interval_row, PAIRS, options.intervals),
        f"Cards on which an arm that is better at every size wins at k = {SIZES[-1]}": (
            power_row,
            BETTER,
            options.cards // 2,
        ),
    }
    with Pool(options.jobs, torch.set_num_threads, (1,)) as pool:
        tables = {
            head: pool.starmap(row, [(of, count) for of in grid], chunksize=1)
            for head, (row, grid, count) in heads.items()
        }
    title = f"Error rates of the scorecard, {options.cards} cards and {options.intervals} intervals a line"
    write("scorecard-error-rates", title, tables)


if __name__ == "__main__":
    main()
