# SPDX-License-Identifier: Apache-2.0
"""Tables of the search for a head that beats its rivals, and the rule that chooses one.

    python benchmarks/rivals_table.py --split val
    python benchmarks/rivals_table.py --split test --seeds 2 3

The rule: of the variants, the one whose worst margin over the best rival at 4, 8 and 16 dimensions is largest, on
validation queries, means over seeds. The best rival is chosen again at every size.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import torch
from rivals_arms import ARMS
from rivals_tasks import CACHE, Task, load

RESULTS = Path(__file__).parent / "results" / "rivals.jsonl"
RESAMPLES = 1000
BUDGETS = ("4", "8", "16")
TASKS = {"fashion": "Fashion-MNIST", "cifar100": "CIFAR-100", "snli": "SNLI / STS-B"}

Scores = Mapping[str, Mapping[str, Sequence[float]]]
"""For each arm and size (and ``"n99"``), one value per seed."""


def read(task: str, split: str, seeds: Sequence[int] | None = None) -> Scores:
    """The scores of one task, in per cent; an arm that is narrower than a size competes with all it has."""
    rows = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        if (row["task"], row["split"]) == (task, split) and (seeds is None or row["seed"] in seeds):
            line = found.setdefault(row["arm"], {name: [] for name in (*BUDGETS, "full", "n99")})
            for name in (*BUDGETS, "full"):
                line[name].append(100 * row["scores"].get(name, row["scores"]["full"]))
            line["n99"].append(row["n99"])
    return {name: found[name] for name in ARMS if name in found}


def best_rivals(scores: Scores) -> dict[str, tuple[str, float]]:
    """The best rival at every size, and its mean."""
    rivals = [name for name in scores if ARMS[name].role == "rival"]
    best = {k: max(rivals, key=lambda name, k=k: fmean(scores[name][k])) for k in BUDGETS}
    return {k: (name, fmean(scores[name][k])) for k, name in best.items()}


def margins(scores: Scores, arm: str) -> tuple[float, ...]:
    """Points by which an arm is ahead of the best rival at every size."""
    best = best_rivals(scores)
    return tuple(fmean(scores[arm][k]) - best[k][1] for k in BUDGETS)


def ranked(scores: Scores) -> list[str]:
    """The variants, largest worst margin first."""
    variants = [name for name in scores if ARMS[name].role == "variant"]
    return sorted(variants, key=lambda name: -min(margins(scores, name)))


def interval(judge: Task, arm: str, rival: str, k: str, seeds: Sequence[int]) -> tuple[float, float, float]:
    """Points by which ``arm`` is ahead of ``rival`` on the test queries, with its 95 % interval over them.

    A paired bootstrap over queries (images) or pairs of sentences, the same queries for every seed. It knows nothing of
    training noise, which the spread over seeds shows.
    """
    found = {}
    for name in (arm, rival):
        kept = [torch.load(CACHE / f"{judge.name}-{name}-{seed}-test-evidence.pt", weights_only=True) for seed in seeds]
        found[name] = [evidence.get(k, evidence["full"]) for evidence in kept]
    difference = fmean(judge.score(a) - judge.score(b) for a, b in zip(found[arm], found[rival], strict=True))
    generator = torch.Generator().manual_seed(0)
    draws = []
    truth = judge.query[1]
    for _ in range(RESAMPLES):
        rows = torch.randint(len(truth), (len(truth),), generator=generator)
        again = replace(judge, query=(judge.query[0], truth[rows]))
        pairs = zip(found[arm], found[rival], strict=True)
        draws.append(fmean(again.score(a[rows]) - again.score(b[rows]) for a, b in pairs))
    low, high = torch.tensor(draws).quantile(torch.tensor([0.025, 0.975])).tolist()
    return 100 * difference, 100 * low, 100 * high


def table(scores: Scores) -> str:
    """Every arm in Markdown: rivals first, then controls, then variants by the rule."""
    best = best_rivals(scores)
    order = [*(n for n in scores if ARMS[n].role != "variant"), *ranked(scores)]
    lines = ["| arm | role | k = 4 | 8 | 16 | full | n99 | worst margin |", "| --- | --- |" + " ---: |" * 6]
    for name in order:
        role = ARMS[name].role
        cells = [f"**{_cell(scores[name][k])}**" if best[k][0] == name else _cell(scores[name][k]) for k in BUDGETS]
        cells += [_cell(scores[name]["full"]), f"{fmean(scores[name]['n99']):.0f}"]
        worst = f"{min(margins(scores, name)):+.1f}" if role == "variant" else ""
        lines.append(f"| {' | '.join([name, role, *cells, worst])} |")
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    return f"{fmean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=["val", "test"], default="val")
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--data", type=Path, help="folder of the data: adds intervals, where the evidence is kept")
    options = parser.parse_args()
    for task, title in TASKS.items():
        if scores := read(task, options.split, options.seeds):
            print(f"\n### {title}, {options.split}\n\n{table(scores)}")
            if options.data:
                print("\n".join(["", *against_rivals(load(task, "test", options.data), scores, options.seeds)]))


def _seeds(task: str, *arms: str) -> list[int]:
    """Seeds of the test runs that all of these arms have."""
    rows = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    test = [row for row in rows if (row["task"], row["split"]) == (task, "test")]
    return sorted(set.intersection(*({row["seed"] for row in test if row["arm"] == arm} for arm in arms)))


def against_rivals(judge: Task, scores: Scores, among: Sequence[int] | None = None) -> list[str]:
    """Every variant against the best rival of its size, with intervals over queries."""
    lines = []
    for name in ranked(scores):
        for k, (rival, _) in best_rivals(scores).items():
            seeds = [seed for seed in _seeds(judge.name, name, rival) if among is None or seed in among]
            middle, low, high = interval(judge, name, rival, k, seeds)
            points = f"{middle:+.1f} points, 95 % {low:+.1f} to {high:+.1f}"
            trained = f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
            lines.append(f"- {name} at {k} against {rival}: {points} ({trained})")
    return lines


if __name__ == "__main__":
    main()
