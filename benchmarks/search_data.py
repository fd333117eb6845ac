# SPDX-License-Identifier: Apache-2.0
"""Rows to search for `search.py`: real sentences through a real encoder, and digits through a trained head."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Data = tuple[Tensor, Tensor, Tensor, Tensor]
"""Gallery, its labels, queries, the label of the right answer to each."""

_BATCH = 128


def sentences(folder: Path, rows: int, queries: int, cache: Path | None) -> Data:
    """Embed SNLI: premises that entail the queries, filled up with other distinct sentences of the train sample."""
    gallery, query, answers = _sentences(folder, rows, queries)
    if cache is not None and cache.is_file():
        with np.load(cache) as stored:
            found = {name: torch.from_numpy(stored[name]) for name in ("gallery", "query")}
    else:
        found = {"gallery": _embed(gallery), "query": _embed(query)}
        if cache is not None:
            np.savez(cache, **{name: array.numpy() for name, array in found.items()})
    if (len(found["gallery"]), len(found["query"])) != (len(gallery), len(query)):
        raise ValueError(f"`--cache` must hold the embeddings of these rows; {cache} has others: remove it.")
    return found["gallery"], torch.arange(len(gallery)), found["query"], torch.tensor(answers)


def digits(epochs: int = 60) -> Data:
    """Train the recipe's model on scikit-learn's digits and embed them, 64 numbers."""
    from lightning.pytorch import Trainer, seed_everything

    from lightning_monocon import MonoCon
    from lightning_monocon.data import DigitsData
    from lightning_monocon.encoders import SmallCNN
    from lightning_monocon.inference.embed import embed

    seed_everything(0, verbose=False)
    data, model = DigitsData(), MonoCon(SmallCNN(), warmup_epochs=10, lr_encoder=3e-3, lr_head=3e-3, lr_warmup=1.5e-3)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=epochs, accelerator="cpu", enable_model_summary=False, limit_val_batches=0, **options)  # type: ignore[arg-type]
    trainer.fit(model, datamodule=data)
    data.setup("test")
    gallery, query = (embed(model, loader) for loader in data.test_dataloader())
    return gallery["embeddings"], gallery["labels"], query["embeddings"], query["labels"]


def _sentences(folder: Path, rows: int, queries: int) -> tuple[list[str], list[str], list[int]]:
    pairs: dict[str, str] = {}
    for premise, hypothesis in _pairs(folder / "snli" / "test.tsv.gz", entailed=True):
        if len(pairs) < queries:
            pairs.setdefault(hypothesis, premise)
    gallery = dict.fromkeys(pairs.values())
    for pair in _pairs(folder / "snli" / "train_sample.tsv.gz", entailed=False):
        for sentence in pair:
            if len(gallery) < rows and sentence not in pairs:
                gallery.setdefault(sentence)
    places = {sentence: i for i, sentence in enumerate(gallery)}
    return list(gallery), list(pairs), [places[premise] for premise in pairs.values()]


def _pairs(path: Path, entailed: bool) -> list[tuple[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row["premise"], row["hypothesis"]) for row in table if not entailed or row["label"] == "entailment"]


def _embed(texts: list[str]) -> Tensor:
    """Embed in order of length, so that little is padding."""
    from lightning_monocon.encoders import TextEncoder
    from lightning_monocon.encoders.text.source import PACKAGED
    from lightning_monocon.encoders.text.tokenizer import load_tokenizer

    encoder, tokenizer = TextEncoder(PACKAGED).eval(), load_tokenizer(PACKAGED)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found = torch.empty(len(texts), encoder.out_features)
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH):
            some = order[start : start + _BATCH]
            inputs = tokenizer(
                [texts[i] for i in some], padding=True, truncation=True, max_length=128, return_tensors="pt"
            )
            found[some] = encoder(inputs)
    return found
