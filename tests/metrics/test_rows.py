# SPDX-License-Identifier: Apache-2.0
"""The bounded sample of rows, and the metrics that have their own inputs."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from lightning_monocon.functional import DegenerateSampleWarning, alignment, linear_cka, neighbour_scores, two_nn
from lightning_monocon.functional.row_keys import distinct_rows, row_keys, smallest
from lightning_monocon.metrics import (
    Alignment,
    CorrectedEffectiveDimension,
    DiffusionSpectralEntropy,
    KNNAccuracy,
    LinearCKA,
    NeighbourScores,
    NeuralCollapse,
    SpectralEffectiveRank,
    TruncationCurve,
    TwoNN,
    Uniformity,
)


def rows_of(count: int, width: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("batch", [7, 100, 1000])
def test_the_sample_is_of_the_rows_and_not_of_their_order(batch: int, order: int) -> None:
    rows, query = rows_of(1000), rows_of(50, seed=1)
    labels = torch.arange(1000) % 3
    shuffle = torch.randperm(1000, generator=torch.Generator().manual_seed(order))
    metric = NeighbourScores(max_gallery=64, seed=3)
    metric.update(query, torch.arange(50) % 3, role="query")
    for part in shuffle.split(batch):
        metric.update(rows[part], labels[part], role="gallery")
        assert sum(len(held) for held in metric.metric_state["gallery_rows_64_3"]) <= 128
    chosen = smallest(row_keys(rows, 3), 64)
    expected = neighbour_scores(rows[chosen], labels[chosen], query, torch.arange(50) % 3)
    found = metric.compute()
    assert found.pop("gallery_kept") == 64
    assert found.pop("gallery_seen") == 1000
    assert found == {name: value.float() for name, value in expected.items()}


def test_every_row_is_as_likely_to_be_kept() -> None:
    rows = rows_of(40)
    kept = torch.zeros(40)
    for seed in range(1000):
        kept[smallest(row_keys(rows, seed), 10)] += 1
    assert kept.sum() == 10_000
    assert chisquare(kept.numpy()).pvalue > 1e-3  # fixed seeds: no chance involved


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_keys_are_of_the_numbers_alone(dtype: torch.dtype) -> None:
    rows = rows_of(3000).to(dtype)
    assert torch.equal(row_keys(rows), row_keys(rows.double()))
    assert torch.equal(row_keys(rows)[1025:], row_keys(rows[1025:]))
    assert torch.equal(row_keys(torch.zeros(1, 3)), row_keys(-torch.zeros(1, 3)))
    assert len(row_keys(rows).unique()) == len(rows.unique(dim=0))
    assert not torch.equal(row_keys(rows, 0), row_keys(rows, 1))


@pytest.mark.parametrize("count", [100, 5000, 40_000])
def test_distinct_rows_are_counted_within_the_error_of_the_sketch(count: int) -> None:
    keys = row_keys(rows_of(count).repeat(2, 1)).unique()[:1024]
    assert distinct_rows(keys, 1024) == pytest.approx(count, rel=0.0 if count < 1024 else 3 / 1024**0.5)


def test_a_sampled_dimension_says_so() -> None:
    metric = TwoNN(max_rows=200)
    metric.update(rows_of(500))
    found = metric.compute()
    assert found["rows_kept"] == 200
    assert found["rows_seen"] == 500
    whole = TwoNN()
    whole.update(rows_of(500))
    assert set(whole.compute()) == {"two_nn", "two_nn_left_out"}
    assert whole.compute()["two_nn"] == two_nn(rows_of(500)).dimension.float()


def test_pairs_in_batches_equal_the_whole() -> None:
    first, second = rows_of(60), rows_of(60, width=3, seed=1) + rows_of(60)[:, :3]
    cka, aligned = LinearCKA(), Alignment(alpha=1.5)
    for part in torch.arange(60).split(25):
        cka.update(first[part], second[part])
        aligned.update(first[part], first[part].flip(1))
    torch.testing.assert_close(cka.compute(), linear_cka(first, second).float())
    torch.testing.assert_close(aligned.compute(), alignment(first, first.flip(1), 1.5).float())
    halves = [LinearCKA(), LinearCKA()]
    halves[0].update(first[:20], second[:20])
    halves[1].update(first[20:], second[20:])
    halves[0].merge_state(halves[1])
    torch.testing.assert_close(halves[0].compute(), cka.compute())
    assert "first" not in cka.state_dict()


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"`max_gallery` must be a positive number of rows, or None for all; got 0"):
        KNNAccuracy(max_gallery=0)
    with pytest.raises(ValueError, match=r"`max_rows` must be a positive number of rows, or None for all; got -1"):
        Uniformity(max_rows=-1)
    with pytest.raises(ValueError, match=r"`dims` must hold distinct positive integers, such as \(8, 16\); got \(\)"):
        TruncationCurve(())
    with pytest.raises(ValueError, match="`metric` must be 'cosine': projected rows are ranked by their cosine"):
        TruncationCurve((2,), metric="euclidean")
    with pytest.raises(ValueError, match="`num_classes` must be an integer of at least 2; got 1"):
        NeuralCollapse(1)
    with pytest.raises(ValueError, match=r"`labels` must lie in 0 ... 2 for num_classes=3; got 0 ... 3"):
        NeuralCollapse(3).update(rows_of(4), torch.arange(4))
    with pytest.raises(ValueError, match="`sigma` must be positive, in the units of the embeddings; got 0"):
        DiffusionSpectralEntropy(sigma=0)
    with pytest.raises(ValueError, match="`values` must be one of 'singular', 'eigenvalues'; got 'both'"):
        SpectralEffectiveRank(values="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`groups` must be at least 2, better 10; got 1"):
        CorrectedEffectiveDimension(groups=1)
    with pytest.raises(ValueError, match="`second` must have 4 rows, the same inputs as `first`; got 3"):
        LinearCKA().update(rows_of(4), rows_of(3))
    with pytest.raises(ValueError, match=r"`positives` must have the shape \(4, 5\) of `embeddings`"):
        Alignment().update(rows_of(4), rows_of(3))
    metric = TruncationCurve((9,))
    for role in ("gallery", "query"):
        metric.update(rows_of(20), torch.arange(20) % 2, role=role)
    with pytest.raises(ValueError, match="`dims` must be at most 5, the features of the embeddings; got 9"):
        metric.compute()


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_nothing_yet_is_nan_with_its_cause() -> None:
    with pytest.warns(DegenerateSampleWarning, match="Alignment needs at least 1 pair, got 0"):
        assert Alignment().compute().isnan()
    with pytest.warns(DegenerateSampleWarning, match="An unbiased CKA needs at least 4 rows, got 0"):
        assert LinearCKA().compute().isnan()
    with pytest.warns(DegenerateSampleWarning, match="needs at least 2 classes, got 0"):
        assert NeuralCollapse(3).compute()["nc1"].isnan()
    with pytest.warns(DegenerateSampleWarning, match="An intrinsic dimension of 2 neighbours needs at least 4 rows"):
        assert TwoNN().compute()["two_nn"].isnan()
