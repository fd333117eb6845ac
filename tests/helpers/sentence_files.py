# SPDX-License-Identifier: Apache-2.0
"""Small files of sentence pairs in the layouts that SNLI and STS-B come in."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

from helpers.tiny_text import WORDS

_SIZES = {"train": 60, "dev": 30, "test": 30}


def _sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(2, 9)))


def _nli(part: str) -> list[tuple[str, str, str]]:
    rng = random.Random(part)
    labels = ("entailment", "neutral", "contradiction")
    return [(rng.choice(labels), _sentence(rng), _sentence(rng)) for _ in range(_SIZES[part])]


def write_pairs(root: Path, edition: str = "tsv.gz") -> Path:
    """Write ``snli`` and ``stsb`` into a folder; ``edition`` chooses one of SNLI's."""
    for part in _SIZES:
        _write_nli(root, part, edition)
    (root / "stsb").mkdir(parents=True, exist_ok=True)
    for part in ("dev", "test"):
        rng = random.Random(part)
        rows = [(f"{rng.uniform(0, 5):.3f}", _sentence(rng), _sentence(rng)) for _ in range(20)]
        _tsv(root / "stsb" / f"{part}.tsv.gz", ("score", "sentence1", "sentence2"), rows)
    return root


def write_sources(folder: Path) -> Path:
    """Write ``train.tsv.gz`` and ``dev.tsv.gz`` with the columns ``source``, ``score`` and ``sentence1`` of STS-B."""
    sources = ("MSRvid", "images", "MSRpar", "headlines")
    for part in ("train", "dev"):
        rng = random.Random(part)
        rows = [(rng.choice(sources), "0.0", _sentence(rng)) for _ in range(120)]
        _tsv(folder / f"{part}.tsv.gz", ("source", "score", "sentence1"), rows)
    return folder


def _write_nli(root: Path, part: str, edition: str) -> None:
    rows, published = _nli(part), ("gold_label", "sentence1", "sentence2")
    if edition == "tsv.gz":
        name = "train_sample" if part == "train" else part
        _tsv(root / "snli" / f"{name}.tsv.gz", ("label", "premise", "hypothesis"), rows)
    elif edition == "txt":
        _tsv(root / "snli_1.0" / f"snli_1.0_{part}.txt", published, rows)
    elif edition == "parquet":
        _parquet(root, part, rows)
    else:
        folder = root / ("." if edition == "beside" else "snli_1.0")
        folder.mkdir(exist_ok=True)
        text = "".join(json.dumps(dict(zip(published, row, strict=True))) + "\n" for row in rows)
        (folder / f"snli_1.0_{part}.jsonl").write_text(text)


def _tsv(path: Path, names: tuple[str, ...], rows: list[tuple[str, str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join("\t".join(row) + "\n" for row in [names, *rows]).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def _parquet(root: Path, part: str, rows: list[tuple[str, str, str]]) -> None:
    import pyarrow
    import pyarrow.parquet

    numbers = {"entailment": 0, "neutral": 1, "contradiction": 2}
    labels, first, second = zip(*rows, strict=True)
    table = pyarrow.table(
        {"premise": list(first), "hypothesis": list(second), "label": [numbers[label] for label in labels]}
    )
    (root / "plain_text").mkdir(exist_ok=True)
    name = "validation" if part == "dev" else part
    pyarrow.parquet.write_table(table, root / "plain_text" / f"{name}-00000-of-00001.parquet")
