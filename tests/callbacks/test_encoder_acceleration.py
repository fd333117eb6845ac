# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import EncoderAcceleration
from lightning_monocon.encoders import SmallCNN

pytestmark = pytest.mark.filterwarnings(
    "ignore:The number of training batches", "ignore:You defined a `validation_step`"
)


def fit(*callbacks: L.Callback) -> tuple[MonoCon, L.Trainer]:
    torch.manual_seed(0)
    module = MonoCon(SmallCNN(3, (4, 8)), warmup_epochs=1)
    images = torch.rand(32, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(accelerator="cpu", max_epochs=2, enable_checkpointing=False, callbacks=list(callbacks), **quiet)
    trainer.fit(module, DataLoader(TensorDataset(images, torch.arange(32) % 4), batch_size=16))
    return module, trainer


def test_it_trains_the_same_model_and_leaves_no_trace_in_the_checkpoint(tmp_path: Path) -> None:
    plain, _ = fit()
    fast, trainer = fit(EncoderAcceleration(backend="aot_eager"))
    assert fast.encoder._compiled_call_impl is not None
    convolution = fast.encoder.stages[0].weight  # type: ignore[index, union-attr]  # SmallCNN's
    assert convolution.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(fast.state_dict(), plain.state_dict(), rtol=1e-4, atol=1e-5)
    trainer.save_checkpoint(tmp_path / "fast.ckpt")
    again = MonoCon.load_from_checkpoint(tmp_path / "fast.ckpt")
    assert again.encoder._compiled_call_impl is None
    torch.testing.assert_close(again.state_dict(), fast.state_dict(), rtol=0, atol=0)


def test_each_part_can_be_left_out() -> None:
    module, _ = fit(EncoderAcceleration(channels_last=False, compile=False))
    assert module.encoder._compiled_call_impl is None
    assert module.encoder.stages[0].weight.is_contiguous()  # type: ignore[index, union-attr]  # SmallCNN's


def test_a_module_without_an_encoder() -> None:
    class Bare(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)

    with pytest.raises(ValueError, match=r"`pl_module` must have a module `encoder`; Bare has None"):
        EncoderAcceleration().setup(L.Trainer(logger=False, accelerator="cpu"), Bare(), "fit")
