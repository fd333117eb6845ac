# SPDX-License-Identifier: Apache-2.0
"""Files in which bytes were changed, cut, doubled or put in, and recipes that go through YAML and back."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch.cli import LightningArgumentParser
from safetensors import SafetensorError

from lightning_monocon import MonoCon, recipes
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.runs.checkpoints import DurableCheckpointIO, read_checkpoint
from lightning_monocon.scorecard.embeddings import EmbeddingSet
from reliability.outcome import Campaign, Outcome

CLEAN = (ValueError, SafetensorError)
"""What a reader may say of a damaged file."""


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Return the bytes with one to four changes; never the same bytes."""
    content = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(max(len(content), 1))
        kind = dice.choice(["flip", "set", "cut", "drop", "double", "insert"])
        if kind == "flip":
            content[at] ^= 1 << dice.randrange(8)
        elif kind == "set":
            content[at] = dice.choice([0, 255, content[at] ^ 0x55])
        elif kind == "cut":
            del content[at + 1 :]
        elif kind == "drop":
            del content[at : at + dice.randint(1, 64)]
        elif kind == "double":
            content[at:at] = content[at : at + dice.randint(1, 64)]
        else:
            content[at:at] = dice.randbytes(dice.randint(1, 16))
        if not content:
            break
    return bytes(content) if bytes(content) != data else data[:-1]


def _campaign(fault: str, write: Callable[[Path], Path], read: Callable[[Path], object], note: str) -> Any:
    def run(trials: int, folder: Path) -> Outcome:
        dice, path = random.Random(0), write(folder)
        good = path.read_bytes()
        whole = read(path)
        wrong = 0
        for _ in range(trials):
            path.write_bytes(mutated(good, dice))
            wrong += _is_wrong(read, path, whole)
        path.write_bytes(good)
        lost = int(not _equal(read(path), whole))
        return Outcome(fault, trials, lost, wrong, note)

    return run


def _is_wrong(read: Callable[[Path], object], path: Path, whole: object) -> bool:
    """Return whether a reader took a damaged file for a good one, with other content, or fell over."""
    try:
        return not _equal(read(path), whole)
    except CLEAN:
        return False
    except Exception:
        return True


def _equal(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())
    return one == other


def _checkpoint(folder: Path) -> Path:
    model = MonoCon(SmallCNN(1, (2, 4)), warmup_epochs=0)
    content: dict[str, Any] = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(content)
    DurableCheckpointIO().save_checkpoint(content, folder / "a.ckpt")
    return folder / "a.ckpt"


def _embeddings(folder: Path) -> Path:
    rows, labels = torch.arange(48.0).reshape(12, 4), torch.arange(12) % 3
    EmbeddingSet(rows, labels, rows[:6] + 1, labels[:6]).save(folder / "a.safetensors")
    return folder / "a.safetensors"


def _shapes(path: Path) -> object:
    """A file without a checksum can't know that a number has changed; it must not change its shape or fall over."""
    data = EmbeddingSet.load(path)
    return (data.gallery.shape, data.query.shape, data.gallery_labels.shape, data.gallery.dtype)


def recipes_through_yaml(trials: int, folder: Path) -> Outcome:
    """Override recipes at random, write what was parsed, parse it again: nothing may change."""
    dice, wrong = random.Random(0), 0
    shipped = [name for name in recipes.names() if name.startswith(("digits", "grokking"))]
    parser = _parser()
    for _ in range(trials):
        base = yaml.safe_load(recipes.path(dice.choice(shipped)).read_text(encoding="utf-8"))
        config = {"model": {**base.get("model", {}), **_drawn(dice)}}
        once = parser.parse_object(config)
        text = parser.dump(once, skip_none=False)
        again = parser.parse_string(text)
        wrong += once != again or parser.dump(again, skip_none=False) != text
    shutil.rmtree(folder, ignore_errors=True)
    return Outcome("recipe through YAML and back", trials, 0, wrong, "model section, random values; parsed, not run")


def _parser() -> LightningArgumentParser:
    parser = LightningArgumentParser()
    parser.add_lightning_class_args(MonoCon, "model")
    return parser


def _drawn(dice: random.Random) -> dict[str, Any]:
    """Return values for some arguments of the model: extremes, and those that YAML likes to misread."""
    rate = dice.choice([0.0, 1e-7, 2e-4, 0.1, 1.0, 1e3, 10 ** dice.uniform(-9, 3)])
    every = {
        "head": dice.choice(["monotonic", "mlp", "none", "linear"]),
        "temperature": 10 ** dice.uniform(-3, 1),
        "lr_head": rate,
        "lr_encoder": dice.choice([rate, 3e-5]),
        "warmup_epochs": dice.choice([0, 1, 10, 10**6]),
        "weight_decay": dice.choice([0.0, 1e-4, 5e-324]),
        "decay_head": dice.random() < 0.5,
        "bn_while_frozen": dice.choice(["update", "freeze"]),
        "out_features": dice.choice([None, 1, 64]),
        "head_options": dice.choice([None, {}, {"init": "identity"}, {"init": "no", "on": 1, "x": 0.5}]),
    }
    return {name: value for name, value in every.items() if dice.random() < 0.6}


def _quietly(campaign: Callable[[int, Path], Outcome]) -> Callable[[int, Path], Outcome]:
    def run(trials: int, folder: Path) -> Outcome:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return campaign(trials, folder)

    return run


CAMPAIGNS = {
    "checkpoint_bytes": Campaign(
        _campaign("bytes of a checkpoint changed", _checkpoint, read_checkpoint, "refused by name; checksum beside it"),
        300,
        20_000,
    ),
    "safetensors_bytes": Campaign(
        _campaign("bytes of a safetensors file changed", _embeddings, _shapes, "an error, or the same shapes"),
        300,
        20_000,
    ),
    "recipe_round_trip": Campaign(_quietly(recipes_through_yaml), 40, 5_000),
}
