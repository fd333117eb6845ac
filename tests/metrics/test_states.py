# SPDX-License-Identifier: Apache-2.0
"""What torchmetrics promises of a metric, checked for every class of the package."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from lightning_monocon.functional import DegenerateSampleWarning, moments
from lightning_monocon.metrics import (
    AlphaReQ,
    CorrectedEffectiveDimension,
    DiffusionSpectralEntropy,
    EffectiveDimension,
    FeatureCorrelation,
    KNNAccuracy,
    LocalIntrinsicDimension,
    MeanCosine,
    NeighbourScores,
    NeuralCollapse,
    ParticipationRatio,
    RecallAtK,
    ReconstructionError,
    SmallSampleWarning,
    SpectralEffectiveRank,
    StableRank,
    TotalVariance,
    TruncationCurve,
    TwoNN,
    Uniformity,
)
from lightning_monocon.metrics import spectral as spectral_module

SPECTRAL: list[Callable[..., Metric]] = [EffectiveDimension, FeatureCorrelation, TotalVariance, MeanCosine]
RECONSTRUCTION = partial(
    ReconstructionError, 0.6, small_sample="ignore"
)  # so that something is left out of six dimensions
SEARCHES: list[Callable[..., Metric]] = [
    KNNAccuracy,
    RecallAtK,
    NeighbourScores,
    partial(NeighbourScores, max_gallery=20),
    partial(TruncationCurve, (2, 6)),
]
OTHERS: list[Callable[..., Metric]] = [
    SpectralEffectiveRank,
    ParticipationRatio,
    StableRank,
    AlphaReQ,
    partial(CorrectedEffectiveDimension, 0.5),
    partial(NeuralCollapse, 3),
    TwoNN,
    partial(LocalIntrinsicDimension, 5, max_rows=30),
    Uniformity,
    partial(DiffusionSpectralEntropy, 1.0),
]
EVERY: list[Callable[..., Metric]] = [*SPECTRAL, RECONSTRUCTION, *SEARCHES, *OTHERS]

KNOWN_AT_ONCE = {"dimension", "gallery_kept", "gallery_seen"}


@pytest.fixture
def batches() -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(3, 6, generator=generator)
    found: list[dict[str, Any]] = []
    for role, sizes in (("gallery", (40, 25, 1)), ("query", (17, 30))):
        for size in sizes:
            labels = torch.randint(3, (size,), generator=generator)
            rows = centres[labels] + torch.randn(size, 6, generator=generator)
            found.append({"embeddings": rows, "labels": labels, "role": role})
    return found


def fed(metric: Metric, batches: list[dict[str, Any]]) -> Metric:
    for batch in batches:
        metric.update(**metric._filter_kwargs(**batch))
    return metric


def flat(value: Any) -> dict[str, Tensor]:
    return value if isinstance(value, dict) else {"value": value}


def assert_same(first: Any, second: Any) -> None:
    torch.testing.assert_close(flat(first), flat(second), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("make", EVERY)
def test_value_does_not_depend_on_the_batches(make: Callable[..., Metric], batches: list[dict[str, Any]]) -> None:
    whole = [
        {
            "embeddings": torch.cat([b["embeddings"] for b in batches if b["role"] == role]),
            "labels": torch.cat([b["labels"] for b in batches if b["role"] == role]),
            "role": role,
        }
        for role in ("query", "gallery")
    ]
    split, one = fed(make(), batches).compute(), fed(make(), whole).compute()
    assert_same(split, one)
    assert all(value.dtype == torch.float32 and value.ndim == 0 for value in flat(split).values())


@pytest.mark.parametrize("make", EVERY)
def test_copies_hold_the_state(make: Callable[..., Metric], batches: list[dict[str, Any]]) -> None:
    metric = fed(make(), batches)
    value = metric.compute()
    for twin in (pickle.loads(pickle.dumps(metric)), copy.deepcopy(metric), metric.clone()):
        assert_same(twin.compute(), value)
        twin.reset()
    assert_same(metric.compute(), value)
    assert metric.state_dict() == {}
    assert hash(metric) != hash(fed(make(), batches))


@pytest.mark.parametrize("make", EVERY)
def test_a_persistent_state_survives_a_checkpoint(make: Callable[..., Metric], batches: list[dict[str, Any]]) -> None:
    metric, other = fed(make(), batches), make()
    metric.persistent(True)
    other.persistent(True)
    other.load_state_dict(copy.deepcopy(metric.state_dict()))
    other._update_count = 1  # torchmetrics keeps the number of updates out of the state
    assert_same(other.compute(), metric.compute())


@pytest.mark.parametrize("make", EVERY)
def test_reset_forgets_everything(make: Callable[..., Metric], batches: list[dict[str, Any]]) -> None:
    metric = fed(make(), batches)
    value = metric.compute()
    metric.reset()
    assert all(
        not state if isinstance(state, list) else state.shape[1:] in ((), (1, 1)) and not state.any()
        for state in metric.metric_state.values()
    )
    assert_same(fed(metric, batches).compute(), value)


@pytest.mark.parametrize("make", EVERY)
def test_merged_halves_equal_the_whole(make: Callable[..., Metric], batches: list[dict[str, Any]]) -> None:
    first, second, fresh = fed(make(), batches[1::2]), fed(make(), batches[::2]), make()
    first.merge_state(second)
    first.merge_state(fresh)
    fresh.merge_state(first.metric_state)
    fresh._update_count = 1
    for metric in (first, fresh):
        assert_same(metric.compute(), fed(make(), batches).compute())


def fresh(metric: Metric) -> Metric:
    twin = copy.deepcopy(metric)
    twin.reset()
    return twin


@pytest.mark.parametrize("make", SPECTRAL)
def test_forward_gives_the_batch_and_keeps_the_whole(
    make: Callable[..., Metric], batches: list[dict[str, Any]]
) -> None:
    metric = make(small_sample="ignore")
    for batch in batches[:2]:
        assert_same(metric(batch["embeddings"]), fed(fresh(metric), [batch]).compute())
    assert_same(metric.compute(), fed(fresh(metric), batches[:2]).compute())


@pytest.mark.parametrize("make", [RECONSTRUCTION, *SEARCHES])
def test_forward_of_one_role_has_no_value_yet(make: Callable[..., Metric], batches: list[dict[str, Any]]) -> None:
    metric = make()
    for batch in batches:
        with pytest.warns(DegenerateSampleWarning):
            values = flat(metric(**metric._filter_kwargs(**batch)))
        assert all(value.isnan() for name, value in values.items() if name not in KNOWN_AT_ONCE)
    assert_same(metric.compute(), fed(make(), batches).compute())


@pytest.mark.parametrize("cast", ["to", "half", "set_dtype", "parent"])
@pytest.mark.parametrize("make", EVERY)
def test_no_cast_reaches_the_states(make: Callable[..., Metric], cast: str, batches: list[dict[str, Any]]) -> None:
    metric = fed(make(), batches[:1])
    if cast == "parent":  # as Lightning's `bf16-true` does
        torch.nn.ModuleDict({"metric": metric}).to(torch.bfloat16)
    else:
        getattr(metric, cast)(*(() if cast == "half" else (torch.bfloat16,)))
    fed(metric, batches[1:])
    assert_same(metric.compute(), fed(make(), batches).compute())
    metric.reset()
    assert_same(fed(metric, batches).compute(), fed(make(), batches).compute())


@pytest.mark.parametrize("make", EVERY)
def test_states_pass_between_inference_and_training(make: Callable[..., Metric], batches: list[dict[str, Any]]) -> None:
    metric = make()
    with torch.inference_mode():
        metric.reset()
        fed(metric, [{**b, "embeddings": b["embeddings"].clone()} for b in batches[:2]])
    rows = [{**batch, "embeddings": batch["embeddings"].requires_grad_()} for batch in batches[2:]]
    fed(metric, rows)
    assert_same(metric.compute(), fed(make(), batches).compute())
    states = [
        part for state in metric.metric_state.values() for part in (state if isinstance(state, list) else [state])
    ]
    assert not any(state.requires_grad or state.is_inference() for state in states)


def test_a_later_change_of_the_input_does_not_reach_the_state(batches: list[dict[str, Any]]) -> None:
    metric = KNNAccuracy()
    rows = [
        {**batch, "embeddings": batch["embeddings"].clone(), "labels": batch["labels"].clone()} for batch in batches
    ]
    fed(metric, rows)
    for batch in rows:
        batch["embeddings"].zero_()
        batch["labels"].zero_()
    assert_same(metric.compute(), fed(KNNAccuracy(), batches).compute())


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


def named(metric: Metric) -> dict[str, Tensor]:
    value = metric.compute()
    return value if isinstance(value, dict) else {type(metric).__name__: value}


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
    torch.testing.assert_close(fed(TotalVariance(role="query"), batches).compute(), _total(query))


def _total(rows: Tensor) -> Tensor:
    metric = TotalVariance()
    metric.update(rows)
    return metric.compute()


def test_a_small_sample_is_told_with_its_numbers(batches: list[dict[str, Any]]) -> None:
    sentence = "EffectiveDimension of 40 rows in 6 dimensions is biased: below 60 rows compare only at equal numbers"
    with pytest.warns(SmallSampleWarning, match=sentence):
        fed(EffectiveDimension(), batches[:1]).compute()
    assert fed(EffectiveDimension(small_sample="ignore"), batches[:1]).compute() == 6


@pytest.mark.parametrize("make", EVERY)
def test_an_empty_batch_changes_nothing(make: Callable[..., Metric], batches: list[dict[str, Any]]) -> None:
    nothing = {"embeddings": torch.empty(0, 6), "labels": torch.empty(0, dtype=torch.int64), "role": "gallery"}
    assert_same(fed(make(), [nothing, *batches, nothing]).compute(), fed(make(), batches).compute())


def test_nan_strategy_of_the_classes(batches: list[dict[str, Any]]) -> None:
    spoilt = torch.cat([batches[0]["embeddings"], torch.full((2, 6), torch.nan)])
    with pytest.raises(ValueError, match="`embeddings` must be finite; 2 of 42 rows hold NaN or Inf"):
        TotalVariance().update(spoilt)
    metric = TotalVariance(nan_strategy="ignore")
    metric.update(spoilt)
    assert metric.compute() == _total(batches[0]["embeddings"])


def test_wrong_input_is_named(batches: list[dict[str, Any]]) -> None:
    metric, labelled = fed(TotalVariance(), batches), fed(KNNAccuracy(), batches)
    with pytest.raises(ValueError, match="`embeddings` must have 6 features like the rows before; got 7"):
        metric.update(torch.ones(2, 7))
    with pytest.raises(ValueError, match="`embeddings` must have 6 features like the rows before; got 7"):
        labelled.update(torch.ones(2, 7), torch.ones(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="`role` must be 'gallery' or 'query'; got 'train'"):
        metric.update(torch.ones(2, 6), role="train")
    with pytest.raises(TypeError, match="`labels` must be an integer tensor, one label per embedding; got None"):
        labelled.update(torch.ones(2, 6))
    with pytest.raises(ValueError, match="`normalize` must be True: a cosine is taken between unit rows"):
        MeanCosine(normalize=False)
    with pytest.raises(ValueError, match="`small_sample` must be 'warn' or 'ignore'; got 'never'"):
        TotalVariance(small_sample="never")
    with pytest.raises(ValueError, match="`k` must be an integer from 1 to 66, the rows of the gallery; got 67"):
        fed(KNNAccuracy(67), batches).compute()
    with pytest.raises(ValueError, match="`gallery_labels` must hold at least two classes; all 66 are 1"):
        fed(KNNAccuracy(), [{**b, "labels": torch.ones_like(b["labels"])} for b in batches]).compute()


@pytest.mark.parametrize("make", EVERY)
def test_class_attributes_are_constant_and_declared(make: Callable[..., Metric]) -> None:
    metric = make()
    assert metric.is_differentiable is False
    assert metric.full_state_update is False
    with pytest.raises(RuntimeError, match="Can't change const `higher_is_better`"):
        metric.higher_is_better = None


def test_values_can_be_plotted(batches: list[dict[str, Any]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    figure, axes = fed(RecallAtK(), batches).plot()
    assert figure is not None
    assert axes is not None
    matplotlib.pyplot.close(figure)
