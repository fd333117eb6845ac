# SPDX-License-Identifier: Apache-2.0
"""CIFAR-100 on a CPU: one epoch of a small encoder end to end, and a step of the ResNet-34 recipes.

Run    python benchmarks/cifar100.py --data FOLDER
FOLDER is what `lightning_monocon.data.CIFAR100Data` reads. The small encoder is residual, 16 to 128 channels. Writes
results/DATE-cifar100.md. The whole comparison needs a GPU; this says that everything around it works, and what it
costs here.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from harness import Row, write
from training_runs import Measured, monocon, shared_machine

SMALL = (
    "--model.encoder.init_args.weights=null",
    "--model.encoder.init_args.depths=[1,1,1,1]",
    "--model.encoder.init_args.widths=[16,32,64,128]",
)
ONE_EPOCH = (
    "--model.warmup_epochs=0",
    "--model.lr_encoder=2e-3",
    "--model.lr_head=2e-3",
    "--trainer.max_epochs=1",
    "--trainer.check_val_every_n_epoch=1",
    "--report=false",
)
QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")
STEP = ("--model.encoder.init_args.weights=null", "--data.batch_size=8", "--data.per_class=4", "--data.num_workers=0")


def epoch(recipe: str, data: Path, scratch: Path, *further: str) -> Row:
    folder = scratch / f"{recipe}{len(further)}"
    words = ["fit", "--config", recipe, f"--data.root={data}", *SMALL, *ONE_EPOCH, *QUIET, *further]
    done = monocon([*words, "--run-dir", folder, f"--data.cache={scratch / 'cache'}"], scratch)
    rows = [json.loads(line)["metrics"] for line in (folder / "record.jsonl").open() if '"metrics"' in line]
    seen = {key: value for row in rows for key, value in row.items()}
    figures = {
        "loss": seen["train/loss"],
        "5-NN %": 100 * seen["val/knn_accuracy"],
        "n99": seen["val/effective_dimension"],
        "encoder 5-NN %": 100 * seen.get("val/encoder/knn_accuracy", seen["val/knn_accuracy"]),
        "encoder n99": seen.get("val/encoder/effective_dimension", seen["val/effective_dimension"]),
    }
    return {"recipe": recipe, **figures, **_cost(done)}


def step(recipe: str, data: Path, scratch: Path) -> Row:
    words = ["fit", "--config", recipe, "--trainer.fast_dev_run=true", f"--data.root={data}", *STEP, *QUIET]
    words += ["--trainer.callbacks.init_args.compile=false"] if recipe.endswith("fast") else []
    words += ["--run-dir", scratch / f"step-{recipe}", f"--data.cache={scratch / 'cache'}"]
    return {"recipe": recipe, **_cost(monocon(words, scratch))}


def _cost(done: Measured) -> Row:
    return {"wall s": round(done.wall), "CPU s": round(done.cpu)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data.resolve()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        tables = {
            "One joint epoch of a small residual encoder, 45 000 images, then 5 000 queries against them": [
                epoch("cifar100", data, scratch, "--data.num_workers=0")
            ],
            f"ResNet-34: one step and one validation batch of 8 images, imports included. {shared_machine()}": [
                step(recipe, data, scratch) for recipe in ("cifar100", "cifar100_encoder", "cifar100_fast")
            ],
        }
    print(write("cifar100", "CIFAR-100 on two cores", tables))


if __name__ == "__main__":
    main()
