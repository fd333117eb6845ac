# SPDX-License-Identifier: Apache-2.0
"""Measure what a new model is worth over the gallery of an old one: trained beside it, mapped onto it, or without it.

Run    python benchmarks/upgrade.py --data CIFAR100 --scratch FOLDER
EfficientNet-Lite0 as it comes from ImageNet, on CIFAR-100 at 64 pixels; MLP heads on its frozen features. The old head
(64 numbers) knew 50 of the 100 classes; new heads know all. Heads learn from 14,000 images; 6,000 others are the
gallery, and 6,000 test images are the queries. Three seeds.
Writes results/DATE-upgrade.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from harness import Row, write
from learnt_code import features
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_monocon import MonoCon
from lightning_monocon.functional.paired_mean import CONFIDENCE, deviations, paired_mean
from lightning_monocon.scorecard import EmbeddingSet, Upgrade, upgrade, upgrade_text

SEEDS, LEARN, OLD, NEW, HIDDEN = (0, 1, 2), 14_000, 64, 96, 512

Side = tuple[Tensor, Tensor]


def trained(rows: Side, seed: int, width: int, epochs: int, **options: object) -> MonoCon:
    seed_everything(seed, verbose=False)
    rates = {"warmup_epochs": 0, "lr_head": 1e-3, "weight_decay": 1e-2}
    head = {"in_features": rows[0].shape[1], "out_features": width, "head_options": {"hidden_features": HIDDEN}}
    model = MonoCon(nn.Identity(), "mlp", **head, **rates, **options)
    order = torch.Generator().manual_seed(seed)
    batches = DataLoader(TensorDataset(*rows), batch_size=500, shuffle=True, drop_last=True, generator=order)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    Trainer(**quiet, accelerator="cpu", max_epochs=epochs, limit_val_batches=0, enable_model_summary=False).fit(
        model, batches
    )
    return model.eval()


def embedded(model: MonoCon, gallery: Side, query: Side) -> EmbeddingSet:
    with torch.inference_mode():
        return EmbeddingSet(model(gallery[0]), gallery[1], model(query[0]), query[1])


def old_model(rows: Side, seed: int, epochs: int) -> MonoCon:
    """Train on the classes below 50, as a model of last year has not seen this year's."""
    known = rows[1] < 50
    model = trained((rows[0][known], rows[1][known]), seed, OLD, epochs)
    model.out_features = OLD
    return model


def lines(found: Sequence[Upgrade]) -> list[Row]:
    """Return means over seeds, and leads with 95 % intervals over seeds and queries, each for itself."""
    table, z = [], deviations(CONFIDENCE)
    for i, way in enumerate(found[0].ways):
        row: Row = {"queries and gallery": way.name}
        for measure, name in (("knn_accuracy", "5-NN %"), ("recall@1", "Recall@1 %")):
            row[name] = " ".join(f"{100 * each.ways[i].mean(measure):.1f}" for each in found)
        for name, other in (
            ("minus old", [each.old for each in found]),
            ("minus free, again", [each.ways[-1] for each in found]),
        ):
            gaps = [
                np.asarray((each.ways[i].values["knn_accuracy"] - base.values["knn_accuracy"]).numpy())
                for each, base in zip(found, other, strict=True)
            ]
            mean = paired_mean(gaps)
            low, high = mean.interval(z)
            row[name] = (
                ""
                if not any(gap.any() for gap in gaps)
                else (f"{100 * mean.difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})")
            )
        table.append(row)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="what CIFAR100Data reads")
    parser.add_argument("--scratch", type=Path, default=Path(), help="where features are kept")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--weights", type=float, nargs=2, default=(5.0, 1.0))
    arguments = parser.parse_args()
    (rows, labels), (query, truth) = (
        [torch.from_numpy(np.load(file)[name]) for name in ("embeddings", "labels")]
        for file in features(arguments.data, arguments.scratch)
    )
    learn, gallery = (rows[:LEARN], labels[:LEARN]), (rows[LEARN:], labels[LEARN:])
    asked = query, truth
    found: dict[int, list[Upgrade]] = {NEW: [], OLD: []}
    for seed in SEEDS:
        begun = time.process_time()
        old, free = old_model(learn, seed, arguments.epochs), trained(learn, seed + 10, NEW, arguments.epochs)
        print(seed, "free", round(time.process_time() - begun), "s", flush=True)
        sides = [embedded(model, gallery, asked) for model in (old, free)]
        for width, results in found.items():
            beside = {"compatible_with": old, "compatible_weights": tuple(arguments.weights)}
            new = trained(learn, seed + 20, width, arguments.epochs, **beside)
            results += upgrade(sides[0], embedded(new, gallery, asked), sides[1])
            print(seed, width, round(time.process_time() - begun), "s\n", upgrade_text(results[-1:]), flush=True)
    heads = {
        NEW: f"new model of {NEW} numbers, {NEW - OLD} beyond the old space",
        OLD: f"new model of {OLD} numbers, none beyond",
    }
    print(
        write(
            "upgrade",
            "A new model over the gallery of an old one",
            {heads[width]: lines(each) for width, each in found.items()},
        )
    )


if __name__ == "__main__":
    main()
