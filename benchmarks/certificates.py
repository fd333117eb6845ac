# SPDX-License-Identifier: Apache-2.0
"""Measure how many answers a monotone head can prove against small changes of its features, beside its rivals.

Run    python benchmarks/certificates.py --data CIFAR100 --scratch FOLDER
Heads on the frozen features of EfficientNet-Lite0 (CIFAR-100 at 64 pixels). For each size of the change: the share of
queries whose 5-NN label is right and proved, right under an attack by projected gradients, and right as it is; then
what is proved for rounding the features to int8. Writes results/DATE-certificates.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from harness import Row, write
from learnt_code import features
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor, nn

from lightning_monocon import MonoCon
from lightning_monocon.functional import neighbours
from lightning_monocon.functional.knn_accuracy import majority_vote
from lightning_monocon.heads import certify_neighbours
from lightning_monocon.heads.base import Head
from lightning_monocon.learnt import EmbeddingData

SIZES = (0.001, 0.003, 0.01, 0.03, 0.1)
HEADS = {"monotonic, identity": ("monotonic", {"init": "identity"}), "MLP": ("mlp", {}), "linear": ("linear", {})}
STEPS, WIDTH, HIDDEN = 20, 64, 512


def trained(name: str, file: Path, width: int, epochs: int) -> Head:
    kind, options = HEADS[name]
    seed_everything(0, verbose=False)
    sizes = {} if kind == "linear" else {"hidden_features": HIDDEN}
    model = MonoCon(
        nn.Identity(), head=kind, in_features=width, out_features=WIDTH, head_options={**sizes, **options},
        warmup_epochs=epochs - 1, lr_warmup=1e-3, lr_encoder=0.0, lr_head=1e-3,
    )  # fmt: skip
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    data = EmbeddingData(str(file), batch_size=512, val_size=0.05, seed=0)
    Trainer(**quiet, max_epochs=epochs, limit_val_batches=0, enable_model_summary=False).fit(model, data)
    return model.head.eval()


def right(gallery: Tensor, labels: Tensor, query: Tensor, truth: Tensor) -> Tensor:
    return majority_vote(labels[neighbours(gallery, query, 5).indices]) == truth


def attacked(head: Head, gallery: Tensor, labels: Tensor, query: Tensor, truth: Tensor, eps: float) -> Tensor:
    """Return which queries stay right when gradients push them from their class's rows to those of others."""
    unit = nn.functional.normalize(gallery)
    own, moved = labels[None] == truth[:, None], query.clone()
    for step in range(STEPS):
        moved.requires_grad_(True)
        near = nn.functional.normalize(head(moved)) @ unit.T
        lead = near.masked_fill(own, -2).topk(5).values.mean(1) - near.masked_fill(~own, -2).topk(5).values.mean(1)
        (slope,) = torch.autograd.grad(lead.sum(), moved)
        size = 2.5 * eps / STEPS if step else eps
        moved = (moved.detach() + size * slope.sign()).clamp(query - eps, query + eps).clamp(min=0)
    with torch.no_grad():
        return right(gallery, labels, head(moved), truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--queries", type=int, default=500)
    arguments = parser.parse_args()
    files = features(arguments.data, arguments.scratch)
    (rows, labels), (query, truth) = (
        [torch.from_numpy(np.load(file)[part]) for part in ("embeddings", "labels")] for file in files
    )
    # the numbers keep their own scale, so a change is told in units of their deviation
    unit = float(rows.std())
    rows, query, truth = rows / unit, query[: arguments.queries] / unit, truth[: arguments.queries]
    scaled = arguments.scratch / "certificates_train.npz"
    np.savez(scaled, embeddings=rows.numpy(), labels=labels.numpy())
    lines: list[Row] = []
    for name in HEADS:
        head = trained(name, scaled, rows.shape[1], arguments.epochs)
        with torch.no_grad():
            gallery = head(rows)
            plain = right(gallery, labels, head(query), truth)
        half = query.abs().amax(0).clamp_min(1e-6) / 127 / 2
        step = certify_neighbours(head, rows, labels, query, half, least=0.0)
        for eps in SIZES:
            found = certify_neighbours(head, rows, labels, query, eps, least=0.0)
            kept = attacked(head, gallery, labels, query, truth, eps)
            lines.append({
                "head": name, "change, deviations": eps, "right %": f"{100 * plain.double().mean():.1f}",
                "right under attack %": f"{100 * kept.double().mean():.1f}",
                "right and proved %": f"{100 * (plain & found.label).double().mean():.1f}",
                "nearest proved %": f"{100 * found.nearest.double().mean():.1f}",
                "label proved for int8 features %": f"{100 * step.label.double().mean():.1f}",
            })  # fmt: skip
            print(lines[-1], flush=True)
    title = f"{len(rows):,} rows, {len(query)} queries, heads of {WIDTH} numbers after {arguments.epochs} epochs"
    print(write("certificates", "Answers that are proved against changes of the features", {title: lines}))


if __name__ == "__main__":
    main()
