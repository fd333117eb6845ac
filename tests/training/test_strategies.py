# SPDX-License-Identifier: Apache-2.0
import warnings
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_monocon import MonoCon
from lightning_monocon.encoders import SmallCNN

# These fits are tiny and have no validation data, both of which Lightning mentions.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The number of training batches", "ignore:You defined a `validation_step`"
)


def model(**options: Any) -> MonoCon:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 8))
    return MonoCon(encoder, in_features=8, **{"warmup_epochs": 1, "lr_encoder": 1e-2, "lr_head": 1e-2, **options})


def fit(module: MonoCon, inputs: torch.Tensor | None = None, **options: Any) -> L.Trainer:
    inputs = torch.randn(36, 6, generator=torch.Generator().manual_seed(1)) if inputs is None else inputs
    rows = TensorDataset(inputs.to(next(module.parameters()).dtype), torch.arange(36) % 5)
    settings = {"max_epochs": 3, "logger": False, "enable_checkpointing": False, **options}
    trainer = L.Trainer(accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, **settings)
    trainer.fit(module, DataLoader(rows, batch_size=12))
    return trainer


class FirstGradient(L.Callback):
    """Keep the gradient of the first step, as the optimizer is about to get it, before clipping."""

    def __init__(self) -> None:
        self.value: torch.Tensor | None = None

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        if self.value is None:
            grads = [p.grad for p in pl_module.parameters() if p.grad is not None]
            self.value = torch.cat([grad.double().flatten() for grad in grads])


@pytest.mark.parametrize(("precision", "least"), [("32-true", 1e-6), ("64-true", 1e-12), ("bf16-mixed", 2e-2)])
def test_the_optimizer_gets_the_gradient_of_the_whole_batch(precision: str, least: float) -> None:
    gradients = []
    for chunk_size in (None, 5):
        first = FirstGradient()
        fit(model(chunk_size=chunk_size, warmup_epochs=0), precision=precision, max_epochs=1, callbacks=[first])
        gradients.append(first.value)
    whole, chunked = gradients
    assert (chunked - whole).norm() <= least * whole.norm()


def test_a_fit_in_chunks_is_the_fit_of_whole_batches() -> None:
    """Warm-up, joint phase and clipping, over nine steps; AdamW's first steps are signs, hence float64."""
    whole, chunked = model(), model(chunk_size=5)
    for module in (whole, chunked):
        fit(module, precision="64-true", gradient_clip_val=0.05)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(chunked.state_dict()[name], value, rtol=1e-9, atol=1e-11, msg=name)


@pytest.mark.filterwarnings("ignore:`accumulate_grad_batches`")
def test_accumulation_of_chunked_batches() -> None:
    weights = []
    for chunk_size in (None, 5):
        module = model(chunk_size=chunk_size)
        fit(module, precision="64-true", accumulate_grad_batches=3)
        weights.append(module.state_dict())
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-9, atol=1e-11, msg=name)


@pytest.mark.parametrize("way", ["trainer", "callback"])
def test_accumulation_adds_no_negatives_and_that_is_said_once(way: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if way == "trainer":
            fit(model(), accumulate_grad_batches=3)
        else:
            fit(model(), callbacks=[GradientAccumulationScheduler({1: 2})])
    said = [str(one.message) for one in caught if "adds no negatives" in str(one.message)]
    assert len(said) == 1
    assert said[0].startswith(f"`accumulate_grad_batches` = {3 if way == 'trainer' else 2} adds no negatives: each of")


def test_without_accumulation_nothing_is_said() -> None:
    fit(model(), max_epochs=2)  # warnings are errors


def test_batch_norm_over_chunks_is_said() -> None:
    torch.manual_seed(0)
    module = MonoCon(SmallCNN(1, (4, 8)), warmup_epochs=0, chunk_size=6)
    with pytest.warns(UserWarning, match="batch norm takes its statistics from each chunk"):
        fit(module, torch.rand(36, 1, 8, 8), max_epochs=1)


def test_a_chunk_size_that_is_none() -> None:
    with pytest.raises(ValueError, match=r"`chunk_size` must be at least 1, or None .*; got 0"):
        model(chunk_size=0)


def test_chunks_and_sharded_parameters_do_not_go_together() -> None:
    module = model(chunk_size=4, warmup_epochs=0)
    module.trainer = type("T", (), {"max_epochs": 9, "fast_dev_run": False, "strategy": ModelParallelStrategy()})()  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match=r"`chunk_size` must be None with ModelParallelStrategy: .* drop chunk_size"):
        module.setup("fit")


def test_the_description_names_the_chunk_size() -> None:
    assert model(chunk_size=4).description["chunk_size"] == 4
    assert "chunk_size" not in model().description
