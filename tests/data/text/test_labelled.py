# SPDX-License-Identifier: Apache-2.0
"""Labelled texts: classes by name, wrong labels in the train set alone, and no text in both halves."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers.tiny_text import WORDS, save_tokenizer

pytest.importorskip("transformers", reason="the text extra is not installed")
pytest.importorskip("pyarrow", reason="the text extra is not installed")

from lightning_monocon.data.text.labelled import LabelledTexts

CLASSES = ("news", "forum", "caption")


def write(path: Path, count: int, seed: int, first: str = "") -> Path:
    """Write texts, each with a class and a column of no interest; the first row repeats a text if one is given."""
    rng = random.Random(seed)
    rows = [(rng.choice([*CLASSES, "other"]), " ".join(rng.choices(WORDS, k=6)), "x") for _ in range(count)]
    rows = [("news", first, "x"), *rows] if first else rows
    path.write_text("".join("\t".join(row) + "\n" for row in [("source", "text", "more"), *rows]))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("texts")
    write(root / "train.tsv", 120, 0, first="a man runs")
    write(root / "val.tsv", 60, 1, first="A  MAN runs")
    save_tokenizer(root / "tokenizer")
    return root


def loaded(folder: Path, **options: Any) -> LabelledTexts:
    shared = {"text": "text", "label": "source", "classes": CLASSES, "tokenizer": str(folder / "tokenizer")}
    files = (str(folder / "train.tsv"), str(folder / "val.tsv"))
    data = LabelledTexts(*files, **{**shared, "batch_size": 8, "seed": 0, **options})
    data.setup("fit")
    return data


def rows_of(path: Path) -> dict[str, str]:
    """The class of each text of a file, the first one that it has."""
    found: dict[str, str] = {}
    for line in path.read_text().splitlines()[1:]:
        name, text, _ = line.split("\t")
        if name in CLASSES:
            found.setdefault(" ".join(text.lower().split()), name)
    return found


def test_each_text_has_its_class_and_is_in_one_half(folder: Path) -> None:
    data = loaded(folder)
    known = {name: rows_of(folder / f"{name}.tsv") for name in ("train", "val")}
    assert dict(zip(data.train.texts, (CLASSES[label] for label in data.train.labels), strict=True)) == known["train"]
    assert len(data.val) == len(known["val"]) - 1  # "A  MAN runs" is a train text
    assert all(
        known["val"][text] == CLASSES[label] for text, label in zip(data.val.texts, data.val.labels, strict=True)
    )
    assert not set(data.val.texts) & set(data.train.texts)
    assert data.num_classes == 3


def test_batches_are_tokens_and_classes_in_an_order_of_seed_and_epoch(folder: Path) -> None:
    data = loaded(folder)
    loader = data.train_dataloader()
    batches = list(loader)
    assert len(batches) == len(data.train) // 8
    inputs, labels = batches[0]
    assert inputs["input_ids"].shape == inputs["attention_mask"].shape == (8, 8)  # 6 words, begin and end
    assert labels.shape == (8,)
    again = [labels.tolist() for _, labels in loaded(folder).train_dataloader()]
    assert again == [labels.tolist() for _, labels in batches]
    data.resume_at(0, 2)
    assert [labels.tolist() for _, labels in data.train_dataloader()] == again[2:]
    gallery, query = data.val_dataloader()
    assert sum(len(labels) for _, labels in gallery) == len(data.train)
    assert sum(len(labels) for _, labels in query) == len(data.val)


def test_wrong_labels_are_in_the_train_set_alone(folder: Path) -> None:
    right, wrong = loaded(folder), loaded(folder, label_noise=0.25)
    changed = (right.train.labels != wrong.train.labels).sum()
    assert changed == round(0.25 * len(right.train))
    assert wrong.train.texts == right.train.texts
    assert ((wrong.train.label_kinds == "wrong") == (right.train.labels != wrong.train.labels)).all()
    assert (right.val.labels == wrong.val.labels).all()


def test_parts_keep_the_shares_of_the_classes(folder: Path) -> None:
    every, part = loaded(folder), loaded(folder, train_size=30, val_size=12)
    assert (len(part.train), len(part.val)) == (30, 12)
    share = 30 / len(every.train)
    counts = Counter(every.train.labels.tolist())
    for label, count in Counter(part.train.labels.tolist()).items():
        assert abs(count - share * counts[label]) < 1
    assert loaded(folder, train_size=30, val_size=12).train.texts == part.train.texts
    assert loaded(folder, train_size=30, val_size=12, split_seed=1).train.texts != part.train.texts


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"classes": ["news"]}, r"`classes` must name two classes at least, each once; got \['news'\]"),
        ({"classes": ["news", "news"]}, "`classes` must name two classes at least, each once"),
        ({"classes": ["news", "poem"]}, "`classes` must occur in 'source' of .*; 'poem' does not"),
        ({"label_noise": 1.0}, r"`label_noise` must be a share from 0 to below 1, got 1.0. Try 0.2."),
        ({"batch_size": 0}, "`batch_size` must be at least 1, got 0"),
        ({"max_length": 2}, "`max_length` must be at least 3, got 2"),
        ({"train_size": 1000}, r"`train_size` must be between 1 and the \d+ texts there are, got 1000"),
        ({"train_size": 6}, "`batch_size` must not exceed the 6 train texts"),
        ({"label": "none"}, "none"),
    ],
)
def test_impossible_options_are_refused(folder: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        loaded(folder, **options)
