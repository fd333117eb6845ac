# SPDX-License-Identifier: Apache-2.0
"""Metrics together: shared statistics, roles, warnings and refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.metric_cases import RECONSTRUCTION, SEARCHES, SPECTRAL, fed, named, total_variance_of
from torch import Tensor
from torchmetrics import MetricCollection

from lightning_monocon.functional import moments
from lightning_monocon.metrics import (
    CodingRate,
    EffectiveDimension,
    KNNAccuracy,
    MeanCosine,
    ParticipationRatio,
    RateDistortion,
    RecallAtK,
    SmallSampleWarning,
    StableRank,
    TotalVariance,
)
from lightning_monocon.metrics import spectral as spectral_module


def test_a_collection_computes_the_gram_matrix_once(
    batches: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    makers = [*SPECTRAL, RECONSTRUCTION, ParticipationRatio, StableRank, *SEARCHES[:3]]
    collection = MetricCollection([make() for make in makers])
    collection.update(**batches[0])  # the first batch finds the groups
    calls: list[Tensor] = []
    monkeypatch.setattr(spectral_module, "moments", lambda *args: calls.append(args[0]) or moments(*args))
    for batch in batches[1:]:
        collection.update(**batch)
    assert len(calls) == len(batches) - 1
    assert sorted(sorted(group) for group in collection.compute_groups.values()) == [
        sorted(type(make()).__name__ for make in (*SPECTRAL, RECONSTRUCTION, ParticipationRatio, StableRank)),
        sorted(["KNNAccuracy", "NeighbourScores", "RecallAtK"]),
    ]
    values = collection.compute()
    expected = {name: value for make in makers for name, value in named(fed(make(), batches)).items()}
    for name, value in expected.items():
        found = [v for key, v in values.items() if key == name or key.endswith(f"_{name}")]
        assert found
        for one in found:
            torch.testing.assert_close(one, value)


def test_groups_do_not_mix_preparations_that_agree_on_a_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    unit = torch.nn.functional.normalize(torch.randn(60, 4, generator=generator, dtype=torch.float64))
    rest = torch.randn(60, 4, generator=generator, dtype=torch.float64) * 9
    collection = MetricCollection({"unit": TotalVariance(), "raw": TotalVariance(normalize=False)})
    collection.update(unit)
    collection.update(rest)
    alone = TotalVariance(normalize=False)
    alone.update(torch.cat([unit, rest]))
    torch.testing.assert_close(collection.compute()["raw"], alone.compute())


def test_clones_of_a_collection_go_their_own_ways(batches: list[dict[str, Any]]) -> None:
    collection = MetricCollection([EffectiveDimension(small_sample="ignore"), RECONSTRUCTION()])
    train, val = collection.clone(prefix="train/"), collection.clone(prefix="val/")
    for batch in batches:
        train.update(**batch)
    val.update(**batches[0])
    val.update(**batches[-1])
    assert set(train.compute()) == {"train/EffectiveDimension", "train/rmse", "train/fvu", "train/dimension"}
    assert train.compute()["train/rmse"] != val.compute()["val/rmse"]
    train.reset()
    assert val["ReconstructionError"].statistics("gallery").rows == 40


def test_the_spectral_state_is_two_squares_of_float64(batches: list[dict[str, Any]]) -> None:
    metric = fed(RECONSTRUCTION(), batches)
    states = list(metric.metric_state.values())
    assert all(state.dtype == torch.float64 for state in states)
    assert sum(state.numel() for state in states) == 2 * (6 + 1) ** 2


def test_role_chooses_the_rows(batches: list[dict[str, Any]]) -> None:
    query = torch.cat([batch["embeddings"] for batch in batches if batch["role"] == "query"])
    torch.testing.assert_close(fed(TotalVariance(role="query"), batches).compute(), total_variance_of(query))


def test_a_small_sample_is_told_with_its_numbers(batches: list[dict[str, Any]]) -> None:
    sentence = "EffectiveDimension of 40 rows in 6 dimensions is biased: below 60 rows compare only at equal numbers"
    with pytest.warns(SmallSampleWarning, match=sentence):
        fed(EffectiveDimension(), batches[:1]).compute()
    assert fed(EffectiveDimension(small_sample="ignore"), batches[:1]).compute() == 6


def test_nan_strategy_of_the_classes(batches: list[dict[str, Any]]) -> None:
    spoilt = torch.cat([batches[0]["embeddings"], torch.full((2, 6), torch.nan)])
    with pytest.raises(ValueError, match="`embeddings` must be finite; 2 of 42 rows hold NaN or Inf"):
        TotalVariance().update(spoilt)
    metric = TotalVariance(nan_strategy="ignore")
    metric.update(spoilt)
    assert metric.compute() == total_variance_of(batches[0]["embeddings"])


def test_wrong_input_is_named(batches: list[dict[str, Any]]) -> None:
    metric, labelled = fed(TotalVariance(), batches), fed(KNNAccuracy(), batches)
    with pytest.raises(ValueError, match="`embeddings` must have 6 features like the rows before; got 7"):
        metric.update(torch.ones(2, 7))
    with pytest.raises(ValueError, match="`embeddings` must have 6 features like the rows before; got 7"):
        labelled.update(torch.ones(2, 7), torch.ones(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="`role` must be one of 'gallery', 'query'; got 'train'"):
        metric.update(torch.ones(2, 6), role="train")
    with pytest.raises(TypeError, match="`labels` must be an integer tensor, one label per embedding; got None"):
        labelled.update(torch.ones(2, 6))
    with pytest.raises(ValueError, match="`normalize` must be True: a cosine is taken between unit rows"):
        MeanCosine(normalize=False)
    with pytest.raises(ValueError, match="`small_sample` must be one of 'warn', 'ignore'; got 'never'"):
        TotalVariance(small_sample="never")
    with pytest.raises(ValueError, match=r"`fvu` must lie in \(0, 1\], a share of the total variance; got 99"):
        RateDistortion(fvu=99)
    with pytest.raises(ValueError, match="`eps` must be positive and finite, the length of the error of a vector; got"):
        CodingRate(eps=0.0)
    with pytest.raises(ValueError, match="`k` must be an integer from 1 to 66, the rows of the gallery; got 67"):
        fed(KNNAccuracy(67), batches).compute()
    with pytest.raises(ValueError, match="`gallery_labels` must hold at least two classes; all 66 are 1"):
        fed(KNNAccuracy(), [{**b, "labels": torch.ones_like(b["labels"])} for b in batches]).compute()


def test_values_can_be_plotted(batches: list[dict[str, Any]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    figure, axes = fed(RecallAtK(), batches).plot()
    assert figure is not None
    assert axes is not None
    matplotlib.pyplot.close(figure)
