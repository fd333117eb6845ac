# SPDX-License-Identifier: Apache-2.0
"""Measure how far the package's proofs are from the truth: between CROWN and an attack, on a few queries.

Run    python benchmarks/certificates_crown.py --data CIFAR100 --scratch FOLDER
For heads with one hidden layer: the share of queries whose nearest row is proved, proved by CROWN (Zhang et al. 2018)
with the best of four choices of the lower slopes, and kept under an attack on the smallest lead. The truth lies between
the proofs and the attack. CROWN compares the nearest row with the next `RIVALS` only, so it is flattered. Heads and
features are those of certificates.py, seed 0. Writes results/DATE-certificates-crown.md.
"""

from __future__ import annotations

import argparse
from copy import deepcopy
from pathlib import Path

import torch
from certificates import Task, trained
from embedded_images import features
from harness import Row, write
from torch import Tensor
from torch.nn.functional import leaky_relu, normalize

from lightning_monocon.heads import certify_neighbours
from lightning_monocon.heads.base import Head

RIVALS, STEPS = 300, 15


def crown(head: Head, directions: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Return a lower bound of each ``directions @ head(x)`` over the box, ``(P,)``."""
    first, last = head.effective_weights
    bias, offset = (layer.bias for layer in head.layers)
    centre, reach = (lower + upper) / 2, (upper - lower) / 2
    middle, half = first @ centre + bias, first.abs() @ reach
    low, high = middle - half, middle + half
    chord = ((leaky_relu(high) - leaky_relu(low)) / (high - low)).clamp(0.01, 1.0)
    above = leaky_relu(high) - chord * high
    best = torch.full((len(directions),), -torch.inf, dtype=lower.dtype)
    weights = directions @ last
    for straight in (low >= 0, high > 0, high > -low, None):
        below = chord if straight is None else torch.where(straight, 1.0, 0.01).to(chord)
        slopes = weights * torch.where(weights > 0, below, chord)
        rest = slopes @ bias + (weights * torch.where(weights > 0, 0.0, above)).sum(1) + directions @ offset
        lines = slopes @ first
        best = torch.maximum(best, lines @ centre - lines.abs() @ reach + rest)
    return best


def survives(head: Head, directions: Tensor, point: Tensor, lower: Tensor, upper: Tensor) -> bool:
    """Return whether no step down the smallest lead makes it negative."""
    moved, eps = point.clone(), (upper - point).amax()
    for step in range(STEPS):
        moved.requires_grad_(True)
        least = (directions @ head(moved)).amin()
        if least < 0:
            return False
        (slope,) = torch.autograd.grad(least, moved)
        moved = (moved.detach() - (0.2 if step else 1.0) * eps * slope.sign()).clamp(lower, upper)
    return True


def judged(head: Head, task: Task, eps: float) -> dict[str, float]:
    found = certify_neighbours(head, task.rows, task.labels, task.query, eps, least=0.0)
    exact = deepcopy(head).double().requires_grad_(False)
    gallery = normalize(exact(task.rows.double()))
    by_crown = kept = 0
    for point in task.query.double():
        lower, upper = (point - eps).clamp(min=0), point + eps
        order = (gallery @ exact(point)).argsort(descending=True)[: RIVALS + 1]
        directions = gallery[order[0]] - gallery[order[1:]]
        by_crown += bool((crown(exact, directions, lower, upper) > 0).all())
        kept += survives(exact, directions, point, lower, upper)
    count = len(task.query)
    proved = float(found.nearest.double().mean())
    return {"proved": proved, "proved by CROWN": by_crown / count, "kept under attack": kept / count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--queries", type=int, default=50)
    arguments = parser.parse_args()
    task = Task.of(features(arguments.data, arguments.scratch), arguments.queries)
    lines: list[Row] = []
    for name in ("monotonic, identity", "MLP"):
        file = arguments.scratch / "certificates_train.npz"
        head = trained(name, file, task.rows.shape[1], arguments.epochs, 0)
        for eps in (0.003, 0.01):
            shares = {f"{key} %": f"{100 * value:.0f}" for key, value in judged(head, task, eps).items()}
            lines.append({"head": name, "change, deviations": eps, **shares})
            print(lines[-1], flush=True)
    title = f"{len(task.query)} queries, one seed: the nearest row"
    print(write("certificates-crown", "How far the proofs are from the truth", {title: lines}))


if __name__ == "__main__":
    main()
