# SPDX-License-Identifier: Apache-2.0
"""Date the induction of the recipe `induction`, with two layers and with one, and compare with the in-context score.

    python benchmarks/induction.py --layers 2 --seeds 0 1 2 3 4
    python benchmarks/induction.py --text snli/train_sample.tsv.gz --steps 1500

The score is measured beside the landscape, every 20 steps on 32 sequences of its own: the mean credence of the tokens
that have followed the same token before. Prints one JSON line a run, with the phases of the geometry of what the head
reads. ``--text`` trains the same model on real text, its 1023 most frequent words and one word for all others, and
prints what the landscape found.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from collections import Counter
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
import yaml
from torch.utils.data import DataLoader, TensorDataset

from lightning_monocon import recipes
from lightning_monocon.callbacks.semantic_landscape import SemanticLandscape
from lightning_monocon.data.repeated import RepeatedBlocks
from lightning_monocon.encoders.attention_only import AttentionOnlyEncoder
from lightning_monocon.landscape.phases import MEASURES, GeometryPhase, phases_line, trajectory_phases
from lightning_monocon.training.token_model import TokenModel

EVERY, SEQUENCES = 20, 32
WORDS, LENGTH = 1024, 64


class InContext(L.Callback):
    """Measure the mean credence of repeated tokens on sequences that are not trained on."""

    def __init__(self, data: dict[str, Any]) -> None:
        source = RepeatedBlocks(**{**data, "steps": 1, "batch_size": SEQUENCES, "seed": 12_345})
        source.setup("fit")
        self.tokens, self.labels = source.train.tensors
        seen = [{(a, b) for a, b in zip(x[:t], y[:t], strict=True)} for x, y in self._rows() for t in range(len(x))]
        pairs = [(a, b) for x, y in self._rows() for a, b in zip(x, y, strict=True)]
        self.repeated = torch.tensor([p in s for p, s in zip(pairs, seen, strict=True)]).view_as(self.labels)
        self.steps: list[int] = []
        self.score: list[float] = []

    def _rows(self) -> list[tuple[list[int], list[int]]]:
        return list(zip(self.tokens.tolist(), self.labels.tolist(), strict=True))

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: object) -> None:
        """Measure the score."""
        if trainer.global_step % EVERY:
            return
        with torch.inference_mode():
            credence = module(self.tokens).softmax(-1).gather(-1, self.labels[..., None])[..., 0]
        self.steps.append(trainer.global_step)
        self.score.append(float(credence[self.repeated].mean()))

    def halfway(self) -> float:
        """Return the interpolated step at which the score passes half its last value; NaN if that is below 0.1."""
        score = np.array(self.score)
        if score[-1] < 0.1:
            return float("nan")
        at = int(np.argmax(score >= score[-1] / 2))
        share = (score[-1] / 2 - score[at - 1]) / (score[at] - score[at - 1])
        return float(self.steps[at - 1] + share * EVERY)


def run(layers: int, seed: int, steps: int | None, out: str | None) -> dict[str, Any]:
    """Train the recipe once, keep its landscape in a folder of ``out`` if given, and return what was found."""
    recipe = yaml.safe_load(recipes.path("induction").read_text())
    model, data = recipe["model"]["init_args"], recipe["data"]["init_args"]
    data |= {} if steps is None else {"steps": steps}
    L.seed_everything(seed, verbose=False)
    encoder = AttentionOnlyEncoder(**{**model["encoder"]["init_args"], "layers": layers})
    watch, score = SemanticLandscape(**recipe["trainer"]["callbacks"][0]["init_args"]), InContext(data)
    with tempfile.TemporaryDirectory() as scratch:
        folder = scratch if out is None else f"{out}/{layers}-{seed}"
        trainer = L.Trainer(
            accelerator="cpu", max_epochs=1, limit_val_batches=0, logger=False, callbacks=[watch, score],
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        )  # fmt: skip
        start = time.process_time()
        trainer.fit(TokenModel(encoder, model["vocabulary"], lr=model["lr"]), RepeatedBlocks(**{**data, "seed": seed}))
    events = [(event.kind, event.step_left, event.step_confirmed) for event in watch.events if event.is_transition]
    halfway = score.halfway()
    return {
        "layers": layers,
        "seed": seed,
        "halfway": round(halfway, 1),
        "events": events,
        "off": [round(event[1] / halfway - 1, 3) for event in events if event[1] is not None],
        "other": [event.kind for event in watch.events if not event.is_transition],
        "last_score": round(score.score[-1], 3),
        "phases": {MEASURES[name]: phases_line(found) for name, found in _phases(watch).items()},
        "overhead": round(watch.overhead, 4),
        "cpu_s": round(time.process_time() - start, 1),
    }


def _phases(watch: SemanticLandscape) -> dict[str, tuple[GeometryPhase, ...]]:
    assert watch.tracker is not None
    return trajectory_phases(watch.tracker.trajectory)


def text(path: str, layers: int, seed: int, steps: int) -> dict[str, Any]:
    """Train on pairs of sentences, one after the other, and return what was found."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        words = " ".join(" ".join(line.split("\t")[1:3]) for line in list(lines)[1:]).lower().split()
    known = {word: number for number, (word, _) in enumerate(Counter(words).most_common(WORDS - 1), start=1)}
    stream = torch.tensor([known.get(word, 0) for word in words])
    rows = stream[: len(stream) // (LENGTH + 1) * (LENGTH + 1)].view(-1, LENGTH + 1)
    held_out, rows = rows[:256], rows[256:]
    L.seed_everything(seed, verbose=False)
    model = TokenModel(AttentionOnlyEncoder(WORDS, LENGTH, layers), WORDS)
    roles = {"train": "train/repeated", "held_out": "val/repeated"}
    watch = SemanticLandscape(signature="logits", strata="repetition", roles=roles, budget=None)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    train, val = (DataLoader(TensorDataset(x[:, :-1], x[:, 1:]), 16) for x in (rows[order], held_out))
    with tempfile.TemporaryDirectory() as folder:
        trainer = L.Trainer(
            accelerator="cpu", max_steps=steps, max_epochs=1000, limit_val_batches=1, logger=False, callbacks=[watch],
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        )  # fmt: skip
        trainer.fit(model, train, val)
    assert watch.tracker is not None
    trajectory = watch.tracker.trajectory
    ends = {name: round(float(trajectory.column(f"credence/{name}")[-1]), 3) for name in trajectory.strata}
    events = [(event.kind, event.step_left, event.step_confirmed, event.reason) for event in watch.events]
    return {"layers": layers, "seed": seed, "sequences": len(rows), "steps": steps, "credence": ends, "events": events}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--out", default=None, help="folder for the landscape of each run, figures and all")
    parser.add_argument("--text", default=None, help="tab-separated pairs of sentences, compressed by gzip")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for seed in options.seeds:
        if options.text:
            print(json.dumps(text(options.text, options.layers, seed, options.steps or 1500)), flush=True)
        else:
            print(json.dumps(run(options.layers, seed, options.steps, options.out)), flush=True)


if __name__ == "__main__":
    main()
