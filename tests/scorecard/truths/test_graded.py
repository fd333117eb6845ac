# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.feature_extraction.text import HashingVectorizer
from torch import Tensor

from lightning_monocon.scorecard import EmbeddingSet, measure_all
from lightning_monocon.scorecard.truths import Found, GradedTruth

STSB = Path(__file__).parents[4] / "shared" / "data" / "stsb" / "dev.tsv.gz"


def sentence_pairs() -> tuple[Tensor, GradedTruth]:
    """Word counts of the sentences of STS-B dev, the first ones before the second ones."""
    with gzip.open(STSB, "rt", encoding="utf-8") as file:
        lines = [line.rstrip("\n").split("\t") for line in file][1:]
    words = HashingVectorizer(n_features=128, norm=None).transform([line[i] for i in (5, 6) for line in lines])
    scores = torch.tensor([float(line[4]) for line in lines])
    rows = torch.from_numpy(words.toarray())
    count = torch.arange(len(lines))
    return rows, GradedTruth("stsb-dev", count, count + len(lines), scores, side="sentences")


@pytest.mark.skipif(not STSB.is_file(), reason="needs the data beside the checkout")
def test_real_pairs_are_scored_as_scipy_scores_them() -> None:
    rows, truth = sentence_pairs()
    data = EmbeddingSet(rows, None, rows[:50], truths=(truth,), sides={"sentences": rows})
    (score,) = measure_all(data, dims=[8, 128])
    unit = rows.numpy() / np.linalg.norm(rows.numpy(), axis=1, keepdims=True)
    cosines = (unit[: truth.units] * unit[truth.units :]).sum(1)
    gold = truth.scores.numpy()
    assert score.value == pytest.approx(stats.spearmanr(cosines.round(12), gold).statistic, abs=1e-12)
    assert score.figures["pearson"] == pytest.approx(stats.pearsonr(cosines, gold).statistic, abs=1e-12)
    assert score.frontier.dims[0] == 8 and 0 < score.value_at(8) < score.value


def test_pairs_of_equal_cosine_are_worth_nothing() -> None:
    truth = GradedTruth("pairs", torch.arange(4), torch.arange(4), torch.arange(4.0))
    values = truth.judge(Found(torch.ones(5, 2), torch.ones(4, 2)))
    assert {name: numbers.tolist() for name, numbers in values.items()} == {"spearman": [0] * 4, "pearson": [0] * 4}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"scores": torch.ones(3)}, r"`scores` must hold at least two different numbers, .* got 3 pairs of one score"),
        ({"scores": torch.tensor([1, 2, torch.nan])}, r"`scores` must be finite; 1 of 3 are not"),
        ({"left": torch.arange(2)}, r"`left`, `right` and `scores` must be \(P,\) alike; got \(2,\), \(3,\), \(3,\)"),
        ({"right": torch.arange(3) - 1}, r"`right` must be \(P,\) row numbers from 0 on; got -1"),
    ],
)
def test_pairs_that_do_not_fit_are_named(changes: dict[str, Any], sentence: str) -> None:
    whole = {"left": torch.arange(3), "right": torch.arange(3), "scores": torch.arange(3.0)}
    with pytest.raises(ValueError, match=sentence):
        GradedTruth("pairs", **{**whole, **changes})


def test_row_numbers_must_be_whole() -> None:
    with pytest.raises(TypeError, match=r"`left` must hold row numbers; got torch.float32"):
        GradedTruth("pairs", torch.ones(3), torch.arange(3), torch.arange(3.0))
