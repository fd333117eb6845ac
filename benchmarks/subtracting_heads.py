# SPDX-License-Identifier: Apache-2.0
"""Try what lets a monotonic head subtract: on cached features of CIFAR-100, against its rivals.

Run    python benchmarks/subtracting_heads.py --data CIFAR100 --scratch FOLDER
EfficientNet-Lite0 as it comes from ImageNet, at 64 pixels. Heads of 64 numbers learn by SupCon on 10 000 rows, which
are the gallery; 2 000 other train rows choose, by the rule of rivals_table.py, and 6 000 test rows report. A finished
run is a line of results/subtracting_heads.jsonl and is not made again. Writes results/DATE-subtracting-heads.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch
from embedded_images import features
from harness import RESULTS, Row, write
from torch import Tensor, nn

from lightning_monocon.functional import effective_dimension, truncation_curve
from lightning_monocon.heads import LinearHead, MLPHead, MonotonicMLP
from lightning_monocon.losses import SupConLoss

SEEDS, SIZES = (0, 1, 2), (4, 8, 16)
TRAIN, VAL, BATCH, WIDTH, HIDDEN = 10_000, 2_000, 512, 64, 512
RUNS = RESULTS / "subtracting_heads.jsonl"


class Copies(nn.Module):
    """Give a monotonic head each standardised feature and its negative: monotone in these, free in the features."""

    def __init__(self, width: int, hidden: int = HIDDEN, out: int = WIDTH) -> None:
        super().__init__()
        self.scale = nn.BatchNorm1d(width, affine=False)
        self.head = MonotonicMLP(2 * width, hidden, out, init="lognormal")

    def forward(self, x: Tensor) -> Tensor:
        """Return the embedding."""
        scaled = self.scale(x)
        return self.head(torch.cat([scaled, -scaled], dim=1))


class Signs(nn.Module):
    """Learn for each feature whether the head rises or falls in it, by a straight-through sign."""

    def __init__(self, width: int, centred: bool = True, hidden: int = HIDDEN, out: int = WIDTH) -> None:
        super().__init__()
        self.scale = nn.BatchNorm1d(width, affine=False) if centred else nn.Identity()
        self.signs = nn.Parameter(0.1 * torch.randn(width))
        self.head = MonotonicMLP(width, hidden, out, init="lognormal")

    def forward(self, x: Tensor) -> Tensor:
        """Return the embedding."""
        hard = torch.where(self.signs >= 0, 1.0, -1.0)
        return self.head(self.scale(x) * (hard + self.signs - self.signs.detach()))


class Centred(nn.Module):
    """Standardise each feature before a monotonic head, which stays monotone in all."""

    def __init__(self, width: int, init: str) -> None:
        super().__init__()
        self.scale, self.head = nn.BatchNorm1d(width, affine=False), MonotonicMLP(width, HIDDEN, WIDTH, init=init)

    def forward(self, x: Tensor) -> Tensor:
        """Return the embedding."""
        return self.head(self.scale(x))


class Skip(nn.Module):
    """Add a free linear map to a monotonic head: monotone up to that map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head, self.free = MonotonicMLP(width, HIDDEN, WIDTH, init="identity"), LinearHead(width, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Return the embedding."""
        return self.head(x) + self.free(x)


class Arm(NamedTuple):
    """Hold how a head is made, its rate, and how much longer than the others it is trained."""

    head: Callable[[int], nn.Module]
    rate: float = 1e-3
    longer: int = 1
    rival: bool = False


def monotone(init: str) -> Callable[[int], nn.Module]:
    return partial(MonotonicMLP, hidden_features=HIDDEN, out_features=WIDTH, init=init)


def mlp(width: int) -> nn.Module:
    return MLPHead(width, HIDDEN, WIDTH)


ARMS = {
    "encoder": Arm(lambda _: nn.Identity(), longer=0, rival=True),
    "mlp": Arm(mlp, rival=True),
    "mlp-fast": Arm(mlp, 5e-3, rival=True),
    **{f"linear-{size}": Arm(partial(LinearHead, out_features=size), rival=True) for size in (*SIZES, WIDTH)},
    "identity": Arm(monotone("identity")),
    "identity-fast": Arm(monotone("identity"), 5e-3),
    "identity-fast-long": Arm(monotone("identity"), 5e-3, 3),
    "lognormal-fast": Arm(monotone("lognormal"), 5e-3),
    "centred-identity-fast": Arm(partial(Centred, init="identity"), 5e-3),
    "centred-lognormal-fast": Arm(partial(Centred, init="lognormal"), 5e-3),
    "signs-fast": Arm(partial(Signs, centred=False), 5e-3),
    "centred-signs-fast": Arm(partial(Signs, centred=True), 5e-3),
    "copies-fast": Arm(Copies, 5e-3),
    "skip-fast": Arm(Skip, 5e-3),
}


class Split(NamedTuple):
    """Hold rows and labels."""

    rows: Tensor
    labels: Tensor


def trained(arm: Arm, part: Split, epochs: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    head, loss = arm.head(part.rows.shape[1]), SupConLoss(0.1)
    steps = arm.longer * epochs * (len(part.rows) // BATCH)
    if not steps:
        return head.eval()
    optimizer = torch.optim.AdamW(head.parameters(), arm.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        order = torch.randperm(len(part.rows)) if len(order) < BATCH else order
        chosen, order = order[:BATCH], order[BATCH:]
        optimizer.zero_grad()
        loss(head(part.rows[chosen]), part.labels[chosen]).backward()
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return head.eval()


@torch.no_grad()
def judged(head: nn.Module, gallery: Split, query: Split) -> dict[str, float]:
    """Return 5-NN accuracies in % by size, and the gallery's effective dimension."""
    rows, asked = head(gallery.rows), head(query.rows)
    width = rows.shape[1]
    curve = truncation_curve(rows, gallery.labels, asked, query.labels, sorted({*SIZES, width} & {*range(width + 1)}))
    # an arm that is narrower than a size competes with all it has
    found = {str(size): 100 * float(curve[min(size, width)]["knn_accuracy"]) for size in SIZES}
    whole = 100 * float(curve[width]["knn_accuracy"])
    return found | {"full": whole, "n99": float(effective_dimension(rows))}


def finished() -> list[dict[str, object]]:
    return [json.loads(line) for line in RUNS.read_text().splitlines()] if RUNS.exists() else []


def table(split: str) -> list[Row]:
    scores: dict[str, dict[str, float]] = {}
    for name in ARMS:
        own = [line[split] for line in finished() if line["arm"] == name]
        scores[name] = {size: fmean(line[size] for line in own) for size in own[0]}
    best = {str(size): max(scores[name][str(size)] for name in ARMS if ARMS[name].rival) for size in SIZES}
    margins = {name: min(scores[name][size] - best[size] for size in best) for name in ARMS}
    order = sorted(ARMS, key=lambda name: (not ARMS[name].rival, -margins[name] * (not ARMS[name].rival)))
    return [
        {
            "arm": name, "role": "rival" if ARMS[name].rival else "variant",
            "seeds": sum(line["arm"] == name for line in finished()),
            **{(f"k = {size}" if size.isdigit() else size): f"{value:.1f}" for size, value in scores[name].items()},
            "worst margin": "" if ARMS[name].rival else f"{margins[name]:+.1f}",
        }
        for name in order
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=tuple(ARMS))
    arguments = parser.parse_args()
    train, test = (
        Split(*(torch.from_numpy(np.load(file)[part]) for part in ("embeddings", "labels")))
        for file in features(arguments.data, arguments.scratch)
    )
    unit = float(train.rows.std())  # the start at the identity takes features above -4
    train, test = (Split(part.rows / unit, part.labels) for part in (train, test))
    gallery = Split(train.rows[:TRAIN], train.labels[:TRAIN])
    val = Split(train.rows[TRAIN : TRAIN + VAL], train.labels[TRAIN : TRAIN + VAL])
    for seed, name in product(arguments.seeds, arguments.arms):
        if any((line["arm"], line["seed"]) == (name, seed) for line in finished()):
            continue
        head = trained(ARMS[name], gallery, arguments.epochs, seed)
        line = {
            "arm": name,
            "seed": seed,
            **{part: judged(head, gallery, of) for part, of in (("val", val), ("test", test))},
        }
        with RUNS.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(name, seed, line["val"], flush=True)
    title = f"{arguments.epochs} epochs, 5-NN accuracy in %, means over seeds"
    tables = {f"{title}, {part}": table(part) for part in ("val", "test")}
    print(write("subtracting-heads", "Monotonic heads that may subtract", tables))


if __name__ == "__main__":
    main()
