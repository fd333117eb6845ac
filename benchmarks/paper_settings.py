# SPDX-License-Identifier: Apache-2.0
"""Train the arms of which the paper's claims are asked: on vectors of a frozen encoder, and with one trained along.

Images are trained by `monocon compare`'s own runs, so that command gives every figure too; the head of frozen
sentences is trained on whole pairs by the loop of rivals.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from embedded_images import features
from PIL import Image
from rivals import ARMS as RIVALS
from rivals import load, run
from torch import nn

from lightning_monocon.cli.arm_run import ArmRun
from lightning_monocon.cli.compare import plan
from lightning_monocon.runs.record import RECORD, read_history
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from lightning_monocon.scorecard.runs import EMBEDDINGS
from lightning_monocon.scorecard.truths import GradedTruth

ARMS = (
    "encoder",
    "mlp",
    "mlp-squared",
    "monotonic-reference",
    "monotonic-identity",
    "monotonic-lognormal",
    "linear-8",
    "matryoshka",
)
"""The names of `monocon compare`; the encoder comes first, since the others are judged against it."""

SUBTRACTING = {"monotonic-copies": "Copies", "monotonic-signs": "Signs"}
"""The best two of the heads of subtracting_heads.py, with its name of their classes; with the encoder trained along."""

_IN_RIVALS = {
    "monotonic-reference": "monotonic",
    "monotonic-identity": "identity",
    "monotonic-lognormal": "lognormal",
}
"""What rivals.py calls an arm, where it has another name."""

ROWS, QUERIES = 5_000, 2_000
FEATURES, HIDDEN, WIDTH, WARMUP, ALL_IMAGES = 1280, 256, 256, 2, 50_000
QUIET = ("--trainer.enable_progress_bar", "false", "--wandb", "off")


@dataclass(frozen=True)
class Setting:
    """Say what is trained: on how many rows, for how many epochs, with which seeds.

    Attributes:
        vectors: ``"images"`` of CIFAR-100 or ``"sentences"`` of SNLI.
        encoder: ``"frozen"``, or trained ``"along"`` with the head after `WARMUP` epochs of the head alone.
        rows: Training rows, those for validation included.
        epochs: Epochs of the head alone if the encoder is frozen, and else of both.
        seeds: Seeds of order, augmentation and heads.
    """

    vectors: Literal["images", "sentences"]
    encoder: Literal["frozen", "along"]
    rows: int
    epochs: int
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        """Return the name of the folder of its runs."""
        return f"{self.vectors}-{self.encoder}-{self.rows}-{self.epochs}"

    def rival(self, seed: int) -> str:
        """Return the name of the encoder alone that arms of a seed are judged against; a frozen one has no seeds."""
        return f"{self.vectors}-frozen-{self.rows}" if self.encoder == "frozen" else f"{self.name}-{seed}"

    def described(self) -> dict[str, str | int]:
        """Return what a line says of the setting."""
        names = ("vectors", "encoder", "rows", "epochs")
        return {"setting": self.name, **{name: getattr(self, name) for name in names}}

    @property
    def arms(self) -> tuple[str, ...]:
        """Return the names of its arms."""
        return (*ARMS, *SUBTRACTING) if self.encoder == "along" and self.rows < ALL_IMAGES else ARMS


@dataclass(frozen=True)
class HeadRun(ArmRun):
    """Train a head of this folder in place of an arm's."""

    name: str = ""

    @property
    def folder(self) -> Path:
        """Return the run's own folder."""
        return self.out / "runs" / f"{self.name}-seed{self.seed}"

    def arguments(self) -> list[str]:
        """Return the words after ``monocon``."""
        own = {"width": FEATURES, "hidden": HIDDEN, "out": FEATURES}
        head = {"class_path": f"subtracting_heads.{SUBTRACTING[self.name]}", "init_args": own}
        return [*super().arguments(), "--model.head", json.dumps(head), "--model.head_options", "null"]


class Outcome(NamedTuple):
    """Hold one checkpoint of a run, embedded.

    Attributes:
        stage: ``"last"`` epoch, or ``"best"`` by validation.
        data: Gallery and queries.
        validation: Last validated figures by name, of the embedding and of the encoder below the head.
    """

    stage: str
    data: EmbeddingSet
    validation: dict[str, float]


def outcomes(setting: Setting, arm: str, seed: int, data: Path, scratch: Path) -> Iterator[Outcome]:
    """Train an arm, or resume its run, and yield its checkpoints."""
    if setting.vectors == "sentences":
        yield _sentences(setting, arm, seed, data, scratch)
        return
    own = image_run(setting, arm, seed, data, scratch)
    if not own.finished:
        own.train()
    lines = read_history(own.folder / RECORD).values
    names = [name for name in lines if name.startswith("val/") and name.endswith(("knn_accuracy", "dimension"))]
    validation = {name: list(lines[name].values())[-1] for name in names}
    for stage, file in EMBEDDINGS.items():
        if (own.folder / file).is_file():
            yield Outcome(stage, EmbeddingSet.load(own.folder / file), validation)


def image_run(setting: Setting, arm: str, seed: int, data: Path, scratch: Path) -> ArmRun:
    """Return the run of `monocon compare` that makes an arm."""
    if setting.encoder == "frozen":
        recipe, words = "cached", _cached(setting, data, scratch)
    else:
        recipe, words = "cifar100_lite", _along(setting, data, scratch)
    run = plan(recipe, ["mlp" if arm in SUBTRACTING else arm], [seed], [*words, *QUIET], scratch / setting.name)[0]
    assert isinstance(run, ArmRun)
    return HeadRun(**vars(run), name=arm) if arm in SUBTRACTING else run


def _cached(setting: Setting, data: Path, scratch: Path) -> list[str]:
    files = []
    for file, count in zip(features(data / "cifar100", scratch), (setting.rows, QUERIES), strict=True):
        part = scratch / f"{file.stem}_{count}.npz"
        if not part.is_file():
            with np.load(file) as whole:
                np.savez(part, embeddings=whole["embeddings"][:count], labels=whole["labels"][:count])
        files.append(str(part))
    options = json.dumps({"init": "identity", "hidden_features": HIDDEN})
    words = ["--data.train", files[0], "--data.test", files[1], "--model.in_features", "1280"]
    words += ["--model.out_features", str(WIDTH), "--model.head_options", options]
    # a pass over the train rows costs as much as an epoch, so five of them choose the best
    every = max(1, setting.epochs // 5)
    words += ["--trainer.callbacks.init_args.layer", "head"]  # the vectors that come in are the same at every epoch
    return [*words, "--trainer.max_epochs", str(setting.epochs), "--trainer.check_val_every_n_epoch", str(every)]


def _along(setting: Setting, data: Path, scratch: Path) -> list[str]:
    whole = setting.rows == ALL_IMAGES
    root = data / "cifar100" if whole else _part(data / "cifar100", scratch / f"cifar100_{setting.rows}", setting.rows)
    sizes = (256, 4) if whole else (128, 8)
    words = ["--data.root", str(root), "--data.download", "false", "--data.num_workers", "0"]
    words += ["--data.cache", str(scratch / "decoded"), "--data.batch_size", str(sizes[0])]
    words += ["--data.augment_on", "device"] if whole else []
    words += ["--data.per_class", str(sizes[1]), "--model.head_options", json.dumps({"hidden_features": HIDDEN})]
    words += ["--model.warmup_epochs", str(WARMUP), "--trainer.max_epochs", str(WARMUP + setting.epochs)]
    # short runs want larger steps than the recipe's; all arms get the same
    return [*words, "--model.lr_encoder", "5e-4", "--model.lr_head", "5e-3", "--model.lr_warmup", "5e-3"]


def _part(images: Path, part: Path, rows: int) -> Path:
    """Write every fifth class of CIFAR-100 with as many train images in all, and all test images of those classes."""
    files = [file for role in ("train", "test") for file in sorted((images / role).glob("*.webp"))[::5]]
    for file in files:
        kept = part / file.parent.name / file.name
        if not kept.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            images_kept = rows // (len(files) // 2) if file.parent.name == "train" else 100
            Image.open(file).crop((0, 0, 32, 32 * images_kept)).save(kept, lossless=True)
    return part


def _sentences(setting: Setting, arm: str, seed: int, data: Path, scratch: Path) -> Outcome:
    """Train on SNLI's entailment pairs; the pairs of STS-B's test part judge."""
    task = replace(load("snli", "test", data), epochs=setting.epochs)
    spec = RIVALS[_IN_RIVALS.get(arm, arm)]
    kept = scratch / setting.name / f"{arm}-{seed}.pt"
    run(task, spec, nn.Identity(), seed, "test", kept)
    model = nn.Sequential(nn.Identity(), spec.build(task.train.shape[1], seed))
    model.load_state_dict(torch.load(kept, weights_only=True))
    with torch.inference_mode():
        gallery, query = (model.eval()(rows) for rows in (task.train, task.query[0]))
    left = 2 * torch.arange(len(query) // 2)
    truth = GradedTruth("stsb-test", left, left + 1, task.query[1])
    reading = "prefix" if spec.nested else "pca"
    return Outcome("last", EmbeddingSet(gallery, None, query, reading=reading, truths=(truth,)), {})
