# SPDX-License-Identifier: Apache-2.0
"""What the semantic landscape costs each recipe that two cores can train, at the callback's own budget of 2 %.

Run    python benchmarks/watching_cost.py [--data FOLDER] [--rounds 3] [--recipes grokking induction ...]
Does   trains each recipe with `SemanticLandscape` and without it, in turn, each time in a fresh process on one thread;
       all of them to their end, and those that take a minute once only. *Ratio* compares the CPU time from the first
       step to the last; it is as uncertain as the machine is busy. *Share* is the CPU time within the callback's hooks
       over that of the same run, which other work hardly disturbs. Writes results/DATE-watching-cost.md
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from statistics import median

RECIPES = ("grokking", "grokking_supcon", "parity", "induction", "digits", "fashion_mnist_noise", "stsb_noise")
LONG = ("induction", "fashion_mnist_noise", "stsb_noise")
"""Recipes that take a minute or more, and are run once."""
HOOKS = ("on_train_start", "on_train_batch_end", "on_validation_end")
FILES = {
    "fashion_mnist_noise": {"--data.root": "fashion_mnist"},
    "stsb_noise": {"--data.train": "stsb/train.tsv.gz", "--data.val": "stsb/dev.tsv.gz"},
}


def work(recipe: str, watched: bool, data: str) -> dict[str, float]:
    """Train a recipe in this process; return CPU seconds of its steps, and those within the callback's hooks."""
    import lightning.pytorch as L
    import torch

    from lightning_monocon.callbacks import SemanticLandscape
    from lightning_monocon.cli import main
    from lightning_monocon.watching.budget import Budget

    torch.set_num_threads(1)
    moments: list[float] = []
    spent = 0.0
    step, fit = L.LightningModule.optimizer_step, L.Trainer.fit

    def timed_step(self: L.LightningModule, *args: object) -> None:
        step(self, *args)  # type: ignore[arg-type]
        moments.append(time.process_time())

    def timed(hook: Callable[..., None]) -> Callable[..., None]:
        def within(*args: object) -> None:
            nonlocal spent
            start = time.process_time()
            hook(*args)
            spent += time.process_time() - start

        return within

    @wraps(fit)  # the command reads its options from this signature
    def arranged_fit(self: L.Trainer, *args: object, **options: object) -> None:
        given: list[L.Callback] = vars(self)["callbacks"]
        watch = next((each for each in given if isinstance(each, SemanticLandscape)), SemanticLandscape())
        others = [each for each in given if not isinstance(each, SemanticLandscape)]
        if watched:
            watch.costs = Budget(0.02)  # the callback's own; recipes of landscapes take every evaluation
            for name in HOOKS:
                setattr(watch, name, timed(getattr(watch, name)))
        given[:] = [watch, *others] if watched else others
        fit(self, *args, **options)  # type: ignore[arg-type]

    L.LightningModule.optimizer_step, L.Trainer.fit = timed_step, arranged_fit  # type: ignore[method-assign, assignment]
    with tempfile.TemporaryDirectory() as folder:
        words = ["fit", "--config", recipe, "--run_dir", f"{folder}/run", "--report", "false"]
        words += ["--trainer.enable_progress_bar", "false"]
        words += [word for option, name in FILES.get(recipe, {}).items() for word in (option, f"{data}/{name}")]
        main(words)
    return {"steps": len(moments), "seconds": moments[-1] - moments[0], "hooks": spent}


def measured(recipe: str, watched: bool, data: str) -> dict[str, float]:
    """Return what `work` finds in a fresh process."""
    command = [sys.executable, str(Path(__file__).resolve()), "--worker", recipe, "--data", data]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [*command, *(["--watched"] if watched else [])]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data", help="folder with fashion_mnist and stsb in it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES)
    parser.add_argument("--worker", choices=RECIPES, help=argparse.SUPPRESS)
    parser.add_argument("--watched", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(options.worker, options.watched, options.data)))
        return

    from harness import Row, write

    runs: dict[str, list[tuple[dict[str, float], dict[str, float]]]] = {}
    for number in range(options.rounds):
        for recipe in (name for name in options.recipes if not number or name not in LONG):
            watched, without = (measured(recipe, kind, options.data) for kind in (True, False))
            runs.setdefault(recipe, []).append((watched, without))
            print(recipe, watched, without, flush=True)
            rows: list[Row] = [
                {
                    "recipe": name,
                    "steps": int(found[0][0]["steps"]),
                    "rounds": len(found),
                    "CPU s without": round(median(without["seconds"] for _, without in found), 2),
                    "ratio, median": round(median(seen["seconds"] / plain["seconds"] for seen, plain in found), 3),
                    "share of the hooks %": round(100 * median(w["hooks"] / w["seconds"] for w, _ in found), 2),
                }
                for name, found in runs.items()
            ]
            write("watching-cost", "What watching costs", {"Budget 2 %, one thread": rows})


if __name__ == "__main__":
    main()
