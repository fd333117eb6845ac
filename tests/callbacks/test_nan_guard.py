# SPDX-License-Identifier: Apache-2.0
"""The guard at each of the five places where numbers go bad."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as L
import pytest
import torch
from reliability.poisoned_runs import (
    BATCH,
    BATCHES,
    EPOCHS,
    PLACES,
    Poisoned,
    Where,
    fit,
    poison,
    sample_at,
    saved_steps,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_monocon.callbacks import NaNGuard
from lightning_monocon.callbacks._finite import NonFiniteError, Place, _Sign, bad_rows, magnitude, samples_of

STEP = 6  # epoch 1, batch 2
CAUSES = {
    "input": r"An input is not finite at epoch 1, batch 2 \(step 6\), rows 5, samples {sample}\. .*: bad input",
    "loss": r"The loss is not finite at epoch 1, batch 2 \(step 6\), samples .* the learning rate \(now 0.00",
    "gradient": r"A gradient is not finite at epoch 1, batch 2 \(step 6\), samples .* the learning rate",
    "weight": r"A weight is not finite at epoch 1, batch 2 \(step 6\).*the weights have overflowed, .* gradient_clip",
}


@pytest.mark.parametrize("place", PLACES[:4])
def test_the_first_bad_step_ends_the_run(place: Where, tmp_path: Path) -> None:
    sentence = CAUSES[place].format(sample=sample_at(STEP, 5))
    with pytest.raises(NonFiniteError, match=sentence) as stopped:
        fit(tmp_path, place, STEP, NaNGuard())
    saved = saved_steps(tmp_path)
    assert all(saved.values()), saved
    assert max(saved) == STEP  # the newest holds all that was good
    assert f"The last good checkpoint is {tmp_path}" in str(stopped.value)


def test_a_poisoned_checkpoint_is_found_when_training_starts(tmp_path: Path) -> None:
    fit(tmp_path, None, 0, NaNGuard(), max_epochs=1)
    bad = poison(tmp_path / "step=4.ckpt")
    with pytest.raises(NonFiniteError, match=r"must be finite when training starts; encoder.0.weight are not"):
        fit(tmp_path, None, 0, NaNGuard(), ckpt=bad)


@pytest.mark.parametrize("place", PLACES[:3])
def test_skip_goes_on_as_if_the_step_had_not_been(place: Where, tmp_path: Path) -> None:
    """Weights, moments and running statistics are those before the step."""
    guard = NaNGuard("skip")
    seen: dict[str, Any] = {}

    class Look(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if len(seen) == STEP:
                seen["before"] = everything(pl_module, trainer)
            elif "before" in seen and "after" not in seen:
                seen["after"] = everything(pl_module, trainer)
            else:
                seen[str(len(seen))] = None

    with pytest.warns(
        UserWarning, match=r"The step is skipped, 1 so far. .* is not finite at epoch 1, batch 2"
    ) as told:
        module, trainer = fit(tmp_path, place, STEP, guard, Look())
    assert sum("skipped" in str(warning.message) for warning in told) == guard.skipped == 1
    for name, value in seen["before"].items():
        torch.testing.assert_close(seen["after"][name], value, rtol=0, atol=0, msg=name)
    assert trainer.callback_metrics["nan_guard/skipped"] == guard.skipped
    assert trainer.current_epoch == EPOCHS
    assert all(value.isfinite().all() for value in module.state_dict().values())


def everything(module: nn.Module, trainer: L.Trainer) -> dict[str, Tensor]:
    moments = {
        f"{index}/{name}": value.clone()
        for index, state in enumerate(trainer.optimizers[0].state.values())
        for name, value in state.items()
    }
    return {name: value.clone() for name, value in module.state_dict().items()} | moments


def test_too_many_skips_in_a_row_raise(tmp_path: Path) -> None:
    class Breaker(L.Callback):
        def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            for parameter in pl_module.parameters():
                parameter.grad = torch.full_like(parameter, torch.nan)

    with (
        pytest.warns(UserWarning, match=r"The step is skipped, \d so far"),
        pytest.raises(
            NonFiniteError, match=r"3 steps in a row were skipped\. A gradient is not finite at epoch 0, bat"
        ),
    ):
        fit(tmp_path, None, 0, NaNGuard("skip", patience=3), Breaker())
    assert all(saved_steps(tmp_path).values())


def test_a_finite_run_is_not_changed_by_one_bit(tmp_path: Path) -> None:
    plain = fit(tmp_path / "a", None, 0, None)[0].state_dict()
    for policy in ("raise", "skip"):
        guarded = fit(tmp_path / policy, None, 0, NaNGuard(policy))[0]  # type: ignore[arg-type]
        assert "training_step" not in vars(guarded)
        for name, value in plain.items():
            torch.testing.assert_close(guarded.state_dict()[name], value, rtol=0, atol=0)


class Zeros(L.LightningModule):
    """Embeds some inputs at the origin, with a loss that says nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        rows: Tensor = self.layer(inputs)
        return rows

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        rows = self(batch[0])
        return (rows / rows.norm(dim=1, keepdim=True)).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def foreign(guard: NaNGuard, rows: Tensor, **options: Any) -> None:
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, log_every_n_steps=1, callbacks=[guard], **options,
    )  # fmt: skip
    trainer.fit(Zeros(), DataLoader(TensorDataset(rows), batch_size=4))


class WithoutIndex(Zeros):
    """Its step takes the batch alone, which Lightning reads from the signature."""

    def training_step(self, batch: list[Tensor]) -> Tensor:  # type: ignore[override]
        return cast("Tensor", self(batch[0]).sum())


def test_a_step_without_an_index_is_called_without_one() -> None:
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, log_every_n_steps=1, callbacks=[NaNGuard()],
    )  # fmt: skip
    trainer.fit(WithoutIndex(), DataLoader(TensorDataset(torch.ones(8, 4)), batch_size=4))
    assert trainer.global_step == 2


def test_zero_vectors_are_named_in_a_module_that_is_not_ours() -> None:
    rows = torch.ones(8, 4)
    rows[5] = 0
    with pytest.raises(
        NonFiniteError, match=r"loss is not finite at epoch 0, batch 1 .* samples 4, 5, 6, 7\. .*zero vec"
    ):
        foreign(NaNGuard(), rows)


def test_what_the_loss_refuses_gets_its_batch_named(tmp_path: Path) -> None:
    class Flat(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs * 0

    class Dead(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.global_step == STEP:
                pl_module.head.append(Flat())

    class Headed(Poisoned):
        pass

    def run(policy: Any) -> L.Trainer:
        import reliability.poisoned_runs as runs

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runs, "Poisoned", lambda *_: with_head())
            return fit(tmp_path / policy, None, 0, NaNGuard(policy, patience=2), Dead())[1]

    def with_head() -> Poisoned:
        module = Headed(None, 0)
        module.head = nn.Sequential(module.head)
        return module

    with pytest.raises(NonFiniteError, match=r"The loss is not finite at epoch 1, batch 2 .* zero vectors"):
        run("raise")
    with (
        pytest.warns(UserWarning, match="The step is skipped"),
        pytest.raises(NonFiniteError, match="2 steps in a row"),
    ):
        run("skip")


def test_float16_is_the_likely_cause_where_it_is_used() -> None:
    from lightning_monocon.callbacks._finite import likely_cause

    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.precision_plugin.precision = "16-mixed"
    cause = likely_cause(trainer, Zeros(), Place(0, 0, 0, [torch.ones(2, 4)]))
    assert cause.startswith("overflow of float16, whose largest number is 65504. Use precision='bf16-mixed'")


def test_no_poisoned_weight_is_saved(tmp_path: Path) -> None:
    class Late(L.Callback):
        """Breaks a weight where no step is, just before the save."""

        def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
            if trainer.global_step == STEP:
                pl_module.encoder[0].weight.data[0, 0] = torch.nan

    with pytest.raises(NonFiniteError, match=r"No checkpoint is written at step 6: encoder\.0\.weight are not finite"):
        fit(tmp_path, None, 0, NaNGuard(), Late())
    assert max(saved_steps(tmp_path)) == STEP - 1


def test_rows_and_samples() -> None:
    rows = torch.zeros(3, 2, 2)
    rows[1, 0, 1] = torch.nan
    assert bad_rows({"image": rows, "ids": torch.arange(3), "mask": torch.tensor([1.0, 1.0, -torch.inf])}) == [1, 2]
    unknown = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    assert samples_of(unknown, Place(0, 0, 0, None)) is None
    assert BATCH * BATCHES == 64


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"nan_policy": "hide"}, "`nan_policy` must be one of 'raise', 'skip'; got 'hide'"),
        ({"patience": 0}, "`patience` must be a positive number of steps; got 0"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        NaNGuard(**arguments)


class Later:
    """An event on a device that has not happened yet."""

    def __init__(self) -> None:
        self.done = False

    def query(self) -> bool:
        return self.done

    def synchronize(self) -> None:
        self.done = True


def test_what_comes_from_a_device_is_read_when_it_has_arrived_and_named_by_its_own_step() -> None:
    guard, event = NaNGuard(), Later()
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    signs = [("the loss", 1.0, Place(0, 0, 0, None)), ("a gradient", torch.nan, Place(1, 2, 6, None))]
    for what, value, place in signs:
        guard._arrivals._signs.append(_Sign(what, torch.tensor(value), event, place))  # type: ignore[arg-type]
    guard._read(trainer, Zeros())
    assert len(guard._arrivals._signs) == 2
    with pytest.raises(NonFiniteError, match=r"A gradient is not finite at epoch 1, batch 2 \(step 6\)"):
        guard._read(trainer, Zeros(), wait=True)


def test_overflows_that_a_gradient_scaler_mends_are_left_to_it_until_there_are_too_many() -> None:
    guard, module = NaNGuard("skip", patience=2), Zeros()
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.precision_plugin.scaler = object()  # type: ignore[attr-defined]
    trainer.strategy.precision_plugin.precision = "16-mixed"
    optimizer = module.configure_optimizers()
    module.layer.weight.grad = torch.full((4, 4), torch.inf)
    guard.on_before_optimizer_step(trainer, module, optimizer)
    assert module.layer.weight.grad is not None  # the scaler has seen it, and leaves the step out itself
    with pytest.raises(NonFiniteError, match=r"Likely cause: overflow of float16"):
        guard.on_before_optimizer_step(trainer, module, optimizer)
    module.layer.weight.grad.zero_()
    guard.on_before_optimizer_step(trainer, module, optimizer)
    module.layer.weight.grad.fill_(torch.inf)
    guard.on_before_optimizer_step(trainer, module, optimizer)
    NaNGuard().on_before_optimizer_step(trainer, module, optimizer)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None])
@pytest.mark.parametrize(
    "dtypes",
    [(torch.float32, torch.float32), (torch.float32, torch.float64, torch.bfloat16), (torch.float16,), (torch.int64,)],
    ids=str,
)
def test_a_magnitude_is_finite_if_every_entry_is_and_else_not(
    dtypes: tuple[torch.dtype, ...], bad: float | None
) -> None:
    tensors = [torch.arange(1, 7).to(dtype) * (1 if dtype == torch.int64 else 100) for dtype in dtypes]
    tensors += [torch.full((3,), 1e30), torch.zeros(0)]  # its squares overflow
    if bad is not None:
        tensors[-2][1] = bad
    assert math.isfinite(magnitude(tensors).item()) == (bad is None)
