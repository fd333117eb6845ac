# SPDX-License-Identifier: Apache-2.0
"""What torchmetrics promises of a metric, checked for every class of the package."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.metric_cases import EVERY, KNOWN_AT_ONCE, RECONSTRUCTION, SEARCHES, SPECTRAL, assert_same, fed, flat, fresh
from torchmetrics import Metric

from lightning_monocon.functional import DegenerateSampleWarning
from lightning_monocon.metrics import KNNAccuracy


@pytest.mark.parametrize("make", EVERY)
def test_value_does_not_depend_on_the_batches(make: Callable[..., Metric], batches: list[dict[str, Any]]) -> None:
    whole = [
        {
            name: torch.cat([b[name] for b in batches if b["role"] == role])
            for name in ("embeddings", "labels", "ids", "reference", "features")
        }
        | {"role": role}
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
    for metric in (first, fresh):
        assert_same(metric.compute(), fed(make(), batches).compute())


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
    rows = [
        {**batch, **{name: batch[name].requires_grad_() for name in ("embeddings", "reference")}}
        for batch in batches[2:]
    ]
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


@pytest.mark.parametrize("make", EVERY)
def test_an_empty_batch_changes_nothing(make: Callable[..., Metric], batches: list[dict[str, Any]]) -> None:
    none = torch.empty(0, dtype=torch.int64)
    rows = {"embeddings": torch.empty(0, 6), "features": torch.empty(0, 6), "reference": torch.empty(0, 3)}
    empty = {**rows, "labels": none, "ids": none}
    nothing = {**empty, "role": "gallery"}
    assert_same(fed(make(), [nothing, *batches, nothing]).compute(), fed(make(), batches).compute())


@pytest.mark.parametrize("make", EVERY)
def test_class_attributes_are_constant_and_declared(make: Callable[..., Metric]) -> None:
    metric = make()
    assert metric.is_differentiable is False
    assert metric.full_state_update is False
    with pytest.raises(RuntimeError, match="Can't change const `higher_is_better`"):
        metric.higher_is_better = None
