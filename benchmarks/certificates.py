# SPDX-License-Identifier: Apache-2.0
"""Measure how many answers a monotone head can prove against small changes of its features, beside its rivals.

Run    python benchmarks/certificates.py --data CIFAR100 --scratch FOLDER
Heads on the frozen features of EfficientNet-Lite0 (CIFAR-100 at 64 pixels). For each change of the features: the share
of queries whose 5-NN label is right, right under an attack by projected gradients, and right and proved, by all that
the package can prove and by the ranges of single outputs alone. Three seeds. A finished run is a line of
results/certificates.jsonl and is not made again. Writes results/DATE-certificates.md.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from embedded_images import features
from harness import RESULTS, Row, write
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor, nn

from lightning_monocon import MonoCon
from lightning_monocon.functional import certified_neighbours
from lightning_monocon.heads import certify_neighbours
from lightning_monocon.heads.attack import attack_labels
from lightning_monocon.heads.base import Head
from lightning_monocon.learnt import EmbeddingData

SEEDS = (0, 1, 2)
CHANGES = ("0.003", "0.01", "int8", "bfloat16")
COLUMNS = (
    "right", "right under attack", "right and proved", "right and proved by ranges alone", "nearest proved",
    "label proved",
)  # fmt: skip
RUNS = RESULTS / "certificates.jsonl"
HEADS = {"monotonic, identity": ("monotonic", {"init": "identity"}), "MLP": ("mlp", {}), "linear": ("linear", {})}
WIDTH, HIDDEN = 64, 512


def trained(name: str, file: Path, width: int, epochs: int, seed: int) -> Head:
    kind, options = HEADS[name]
    seed_everything(seed, verbose=False)
    sizes = {} if kind == "linear" else {"hidden_features": HIDDEN}
    model = MonoCon(
        nn.Identity(), head=kind, in_features=width, out_features=WIDTH, head_options={**sizes, **options},
        warmup_epochs=epochs - 1, lr_warmup=1e-3, lr_encoder=0.0, lr_head=1e-3,
    )  # fmt: skip
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    data = EmbeddingData(str(file), batch_size=512, val_size=0.05, seed=seed)
    Trainer(**quiet, max_epochs=epochs, limit_val_batches=0, enable_model_summary=False).fit(model, data)
    return model.head.eval()


def judged(head: Head, task: Task, change: str) -> dict[str, float]:
    """Return shares of the queries; the attack moves features by one size and is left out for roundings."""
    eps = task.sizes(change)
    found = certify_neighbours(head, task.rows, task.labels, task.query, eps, least=0.0)
    lower, upper = head.bounds((task.query - eps).clamp(min=0), task.query + eps)
    with torch.no_grad():
        gallery, middle = head(task.rows), head(task.query).clamp(lower, upper)
        ranges = certified_neighbours(gallery, task.labels, middle, lower, upper)
    right = found.vote == task.truth
    shares = {
        "right": right, "nearest proved": found.nearest, "label proved": found.label,
        "right and proved": right & found.label, "right and proved by ranges alone": right & ranges.label,
    }  # fmt: skip
    if isinstance(eps, float):
        shares["right under attack"] = right & attack_labels(
            head, task.rows, task.labels, task.query, task.truth, eps, least=0.0
        )
    return {name: float(share.double().mean()) for name, share in shares.items()}


class Task(NamedTuple):
    """Hold the features, in units of their deviation, and what is to be found."""

    rows: Tensor
    labels: Tensor
    query: Tensor
    truth: Tensor

    @classmethod
    def of(cls, files: tuple[Path, Path], queries: int) -> Task:
        """Read train and test rows, and as many of the latter."""
        (rows, labels), (query, truth) = (
            [torch.from_numpy(np.load(file)[part]) for part in ("embeddings", "labels")] for file in files
        )
        unit = float(rows.std())
        return cls(rows / unit, labels, query[:queries] / unit, truth[:queries])

    def sizes(self, change: str) -> float | Tensor:
        """Return how far each feature may move."""
        if change == "int8":
            return self.query.abs().amax(0).clamp_min(1e-6) / 127 / 2
        # a number has 8 binary digits, so half its last one is at most a 256th of it
        return self.query.abs() / 256 if change == "bfloat16" else float(change)


def finished() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RUNS.read_text().splitlines()] if RUNS.exists() else []


def table(lines: list[dict[str, Any]], head: str, change: str) -> Row:
    own = [line for line in lines if line["head"] == head and line["change"] == change]
    found: Row = {"change of each feature": change, "head": head, "seeds": len(own)}
    for name in COLUMNS:
        values = np.array([line[name] for line in own if name in line])
        spread = f" ± {100 * values.std(ddof=1):.1f}" if len(values) > 1 else ""
        found[f"{name} %"] = f"{100 * values.mean():.1f}{spread}" if len(values) else ""
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--queries", type=int, default=200)
    arguments = parser.parse_args()
    task = Task.of(features(arguments.data, arguments.scratch), arguments.queries)
    scaled = arguments.scratch / "certificates_train.npz"
    np.savez(scaled, embeddings=task.rows.numpy(), labels=task.labels.numpy())
    for seed, name in product(SEEDS, HEADS):
        kept = {line["change"] for line in finished() if (line["head"], line["seed"]) == (name, seed)}
        if kept == set(CHANGES):
            continue
        head = trained(name, scaled, task.rows.shape[1], arguments.epochs, seed)
        for change in CHANGES:
            if change not in kept:
                line = {"head": name, "seed": seed, "change": change, **judged(head, task, change)}
                with RUNS.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(line, flush=True)
    lines = [table(finished(), name, change) for change in CHANGES for name in HEADS]
    title = (
        f"{len(task.rows):,} rows, {len(task.query)} queries, heads of {WIDTH} numbers after {arguments.epochs} "
        "epochs; mean and deviation over seeds; changes in units of the features' deviation"
    )
    print(write("certificates", "Answers that are proved against changes of the features", {title: lines}))


if __name__ == "__main__":
    main()
