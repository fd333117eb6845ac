# SPDX-License-Identifier: Apache-2.0
"""What one step of the recipe `grokking` costs beside the bare step of its model, in this build and in an earlier one.

Run    python benchmarks/grokking_step.py [--base CHECKOUT] [--rounds 5]
Does   trains 600 steps with `monocon fit`, landscape and all, as many in a plain loop with the same model, data and
       optimizer, and as many with `Trainer(barebones=True)`, which is what Lightning's loop costs by itself; each in a
       fresh process on one thread, in turn; takes the CPU time of the last 500 steps;
       writes results/DATE-grokking-step.md. CHECKOUT is the folder of a clone at an earlier commit
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

FIRST, LAST = 100, 600
HERE = Path(__file__).parents[1]


def step_moments() -> list[float]:
    """Return a list to which, from now on, every step of an optimizer adds the CPU time of this process."""
    from lightning.pytorch import LightningModule

    moments: list[float] = []
    step = LightningModule.optimizer_step

    def timed(self: LightningModule, *args: object) -> None:
        step(self, *args)  # type: ignore[arg-type]
        moments.append(time.process_time())

    LightningModule.optimizer_step = timed  # type: ignore[method-assign, assignment]
    return moments


def recipe() -> float:
    """Return the CPU milliseconds of a step of `monocon fit`, evaluations of the probe and validations included."""
    from lightning_monocon.cli import main

    moments = step_moments()
    with tempfile.TemporaryDirectory() as folder:
        options = {"run_dir": folder, "trainer.max_steps": LAST + 1, "trainer.enable_progress_bar": "false"}
        main(["fit", "--config", "grokking", *(word for k, v in options.items() for word in (f"--{k}", str(v)))])
    return 1e3 * (moments[LAST] - moments[FIRST]) / (LAST - FIRST)


def bare() -> float:
    """Return the CPU milliseconds of a step of the same model in a plain loop."""
    import torch
    from torch import nn

    from lightning_monocon import MonoCon
    from lightning_monocon.data.modular import ModularAddition
    from lightning_monocon.encoders.modular import ModularEncoder

    torch.manual_seed(0)
    data = ModularAddition(59, 0.4)
    data.setup("fit")
    inputs, labels = data.train.tensors
    options: dict[str, Any] = {"head": "linear", "out_features": 59, "loss": nn.CrossEntropyLoss()}
    model = MonoCon(ModularEncoder(59), **options, warmup_epochs=0)  # with a warm-up the encoder would be frozen
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10_000)
    loss = nn.CrossEntropyLoss()
    assert all(weights.requires_grad for weights in model.parameters())
    for number in range(LAST + 1):
        if number == FIRST:
            start = time.process_time()
        optimizer.zero_grad()
        loss(model(inputs), labels).backward()
        optimizer.step()
        schedule.step()
    return 1e3 * (time.process_time() - start) / (LAST - FIRST)


def loop() -> float:
    """Return the CPU milliseconds of a step of the same model in Lightning's loop, stripped of all that it can be."""
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from torch import Tensor, nn

    from lightning_monocon import MonoCon
    from lightning_monocon.data.modular import ModularAddition
    from lightning_monocon.encoders.modular import ModularEncoder

    moments: list[float] = []

    class Plain(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            options: dict[str, Any] = {"head": "linear", "out_features": 59, "loss": nn.CrossEntropyLoss()}
            self.model = MonoCon(ModularEncoder(59), **options, warmup_epochs=0)

        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            moments.append(time.process_time())
            loss: Tensor = nn.functional.cross_entropy(self.model(batch[0]), batch[1])
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=3e-3, weight_decay=1.0)

    torch.manual_seed(0)
    Trainer(max_steps=LAST + 1, accelerator="cpu", barebones=True).fit(Plain(), ModularAddition(59, 0.4))
    return 1e3 * (moments[LAST] - moments[FIRST]) / (LAST - FIRST)


def measured(kind: str, checkout: Path) -> float:
    """Return the milliseconds of a fresh process that imports the package of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--worker", kind]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert Path(found["package"]).is_relative_to(checkout.resolve()), f"{found['package']} is not of {checkout}"
    return float(found["ms"])


def work(kind: str) -> None:
    import torch

    import lightning_monocon

    torch.set_num_threads(1)
    found = {"recipe": recipe, "bare": bare, "loop": loop}[kind]()
    print(json.dumps({"ms": found, "package": str(Path(lightning_monocon.__file__).resolve())}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", choices=("recipe", "bare", "loop"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return

    from harness import Row, write

    peers = {"bare step": ("bare", HERE), "barebones Trainer": ("loop", HERE), "recipe": ("recipe", HERE)}
    if options.base:
        peers["recipe, earlier build"] = ("recipe", options.base.resolve())
    times: dict[str, list[float]] = {name: [] for name in peers}
    for done in range(1, options.rounds + 1):
        for name, (kind, checkout) in peers.items():
            times[name].append(measured(kind, checkout))
            print(name, round(times[name][-1], 2), flush=True)
        rows: list[Row] = [
            {
                "step": name,
                "CPU ms, median": round(median(found), 2),
                "range": f"{min(found):.2f} to {max(found):.2f}",
                "over the bare step": round(median(a / b for a, b in zip(found, times["bare step"], strict=True)), 2),
                "over the recipe": round(median(a / b for a, b in zip(found, times["recipe"], strict=True)), 2),
            }
            for name, found in times.items()
        ]
        write(
            "grokking-step",
            "A step of the recipe grokking",
            {f"Steps {FIRST} to {LAST}, one thread, rounds: {done}": rows},
        )


if __name__ == "__main__":
    main()
