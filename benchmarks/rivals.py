# SPDX-License-Identifier: Apache-2.0
"""Search for a monotonic head that is at least as good as every rival at 4, 8 and 16 dimensions.

    python benchmarks/rivals.py --data DATA --split val --seeds 0 1  # the search, on validation queries
    python benchmarks/rivals.py --data DATA --split test --arms ...  # once, for what the search chose
    python benchmarks/rivals_table.py --split val                   # the tables

Every finished run is a line of ``results/rivals.jsonl`` and is not made again. What was found is in
docs/research/beat_the_rivals.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from rivals_arms import ARMS, ArmSpec
from rivals_tasks import CACHE, Task, load
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_monocon.functional import effective_dimension
from lightning_monocon.losses import NestedSupConLoss, SupConLoss

RESULTS = Path(__file__).parent / "results" / "rivals.jsonl"
TASKS = ("fashion", "cifar100", "snli")


def main() -> None:
    options = _parser().parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()
    for name in options.tasks:
        done = {(r["task"], r["split"], r["arm"], r["seed"]) for r in finished()}
        todo = [(s, a) for s in options.seeds for a in options.arms or ARMS if (name, options.split, a, s) not in done]
        if not todo:
            continue
        task, encoders = load(name, options.split, options.data), dict[int, nn.Module]()
        for seed, arm in todo:
            if time.monotonic() - started > options.minutes * 60:
                return
            if seed not in encoders:
                encoders[seed] = pretrained(task, seed, CACHE / f"{name}-pretrained-{seed}.pt")
            row = {"task": name, "split": options.split, "arm": arm, "seed": seed}
            kept = CACHE / f"{name}-{arm}-{seed}.pt"
            row |= run(task, ARMS[arm], deepcopy(encoders[seed]), seed, options.split, kept)
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


def finished() -> list[dict[str, Any]]:
    """The runs that were made."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def pretrained(task: Task, seed: int, kept: Path) -> nn.Module:
    """An encoder trained as a classifier, the start of every arm of this seed."""
    torch.manual_seed(seed)
    encoder = task.encoder()
    if not task.classes:
        return encoder
    if kept.exists():
        encoder.load_state_dict(torch.load(kept, weights_only=True))
        return encoder
    classifier = nn.Linear(task.widths[-1], task.classes)
    parameters = [*encoder.parameters(), *classifier.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(task.pretrain):
        for images, labels in task.batches(generator):
            _step(optimizer, parameters, F.cross_entropy(classifier(encoder(images)), labels))
    kept.parent.mkdir(parents=True, exist_ok=True)
    torch.save(encoder.state_dict(), kept)
    return encoder


def run(task: Task, arm: ArmSpec, encoder: nn.Module, seed: int, split: str, kept: Path) -> dict[str, Any]:
    """Train, unless ``kept`` holds the trained weights; judge the last epoch."""
    before = _cpu_seconds()
    model = nn.Sequential(encoder, arm.build(task.train.shape[1] if not task.classes else task.widths[-1], seed))
    if kept.exists():
        model.load_state_dict(torch.load(kept, weights_only=True))
    else:
        _fit(task, arm, model, seed)
        kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), kept)

    def embed(inputs: Tensor) -> Tensor:
        with torch.inference_mode():
            model.eval()
            return torch.cat([model(part) for part in inputs.split(500)])

    evidence = task.judge(embed, arm.nested)
    torch.save(evidence, kept.with_name(f"{kept.stem}-{split}-evidence.pt"))
    return {
        "scores": {k: round(task.score(v), 5) for k, v in evidence.items()},
        "n99": int(effective_dimension(embed(task.train))),
        "cpu_seconds": round(_cpu_seconds() - before, 1),
    }


def _fit(task: Task, arm: ArmSpec, model: nn.Sequential, seed: int) -> None:
    """Warm-up of the head, then both."""
    encoder, head = model
    plain = SupConLoss(task.temperature)
    loss = NestedSupConLoss(task.temperature, dims=arm.dims or None) if arm.nested else plain
    trainable = any(True for _ in head.parameters())
    if trainable and task.warmup and arm.warmup:
        _train(task, model, loss, [_group(head, task.rate / 2, arm)], round(task.warmup * arm.warmup), seed + 500)
    groups = [_group(head, task.rate * arm.head_rate, arm)] if trainable else []
    groups += [{"params": [*encoder.parameters()], "lr": task.rate, "weight_decay": 1e-4}] if task.classes else []
    if groups:
        _train(task, model, loss, groups, task.epochs, seed + 1000)


def _group(head: nn.Module, rate: float, arm: ArmSpec) -> dict[str, Any]:
    return {"params": [*head.parameters()], "lr": rate, "weight_decay": arm.decay}


def _train(
    task: Task, model: nn.Sequential, loss: nn.Module, groups: list[dict[str, Any]], epochs: int, seed: int
) -> None:
    optimizer = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    parameters = [p for group in groups for p in group["params"]]
    model.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    model.train()
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for inputs, labels in task.batches(generator):
            _step(optimizer, parameters, loss(model(inputs), labels))
        schedule.step()


def _step(optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor], loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()


def _cpu_seconds() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with fashion_mnist, cifar100, snli and stsb")
    parser.add_argument("--split", choices=["val", "test"], default="val")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--arms", nargs="+", choices=ARMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--minutes", type=float, default=1e9, help="start no run after so long")
    return parser


if __name__ == "__main__":
    main()
