# SPDX-License-Identifier: Apache-2.0
"""The best code for each number of bytes, fitted on the gallery and judged by queries that did not choose it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from lightning_monocon.codes import FittingRows
from lightning_monocon.codes.candidates import named
from lightning_monocon.scorecard import EmbeddingSet, GradedTruth, measure_all
from lightning_monocon.scorecard.codes import Tried, best_codes

Planted = Callable[..., EmbeddingSet]


def tried(name: str, size: int, values: list[float]) -> Tried:
    return Tried(name, size, {"knn_accuracy": torch.tensor(values, dtype=torch.float64)})


def test_a_code_that_fits_the_judging_half_alone_gains_nothing() -> None:
    lucky = tried("lucky", 1, [0, 1] * 10)  # of no use to the even half
    other = tried("other", 1, [1, 0] * 10)
    plain = tried("plain", 1, [0.4, 0.4] * 10)
    found = best_codes([lucky, other, plain], [1])
    assert found.means() == (0.0,)  # each half chooses what the other has nothing of
    assert found.bytes == (1,)
    honest = best_codes([plain, tried("better", 2, [0.5] * 20)], [1, 2, 4])
    assert (honest.names, honest.means()) == (("plain", "better", "better"), pytest.approx((0.4, 0.5, 0.5)))


def test_chance_is_not_rewarded() -> None:
    random = np.random.default_rng(0)
    lots = [tried(str(i), 1, random.integers(0, 2, 400).tolist()) for i in range(200)]
    assert max(float(each.values["knn_accuracy"].mean()) for each in lots) > 0.55  # what the best of 200 coins shows
    assert best_codes(lots, [1]).means()[0] == pytest.approx(0.5, abs=0.04)


def test_codes_are_those_that_an_export_would_ship(planted: Planted) -> None:
    data = planted(rows=(1100, 200), noise=1.2)
    (score,) = measure_all(data, rounded=True)
    assert score.codes is not None and score.codes.fitted
    assert score.codes.names[1] in ("transform-2", "scalar1-2", "scalar2-2", "scalar4-2")
    width = data.gallery.shape[1]
    codec = named(score.codes.names[1], width).fitted(FittingRows.of(data.gallery, sample_rows=8192))[0]
    near = codec.score(data.query, codec.encode(data.gallery)).topk(5).indices
    votes = torch.nn.functional.one_hot(data.gallery_labels[near]).sum(1).argmax(1)
    right = float((votes == data.query_labels).double().mean())
    assert score.codes.means()[1] == pytest.approx(right, abs=0.05)  # ties, and a half may choose another
    plain = [line.means()[line.index(k)] for line, k in ((score.line("int8"), 2), (score.line("binary"), 16))]
    assert score.codes.means()[1] > max(plain) - 0.02


def test_few_rows_have_plain_numbers_alone(planted: Planted) -> None:
    (score,) = measure_all(planted(rows=(300, 60)), rounded=True)
    assert score.codes is not None and not score.codes.fitted
    assert all(" in " in name for name in score.codes.names)


def test_pairs_are_compared_code_by_code(planted: Planted) -> None:
    data = planted(rows=(1100, 200))
    left = torch.arange(0, 200, 2)
    scores = (data.query[left] * data.query[left + 1]).sum(1)
    pairs = GradedTruth("pairs", left, left + 1, scores)
    found = measure_all(EmbeddingSet(data.gallery, None, data.query, truths=(pairs,)), rounded=True)[0]
    assert found.codes is not None and found.codes.fitted
    assert found.codes.means()[-1] > 0.9 and found.codes.means()[0] < found.codes.means()[-1]
