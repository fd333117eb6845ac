# SPDX-License-Identifier: Apache-2.0
"""A model that has learnt something, in two seconds."""

from __future__ import annotations

import pytest
import torch
from helpers.plain_runs import trainer
from lightning.pytorch import LightningDataModule

from lightning_monocon import MonoCon
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN


@pytest.fixture(scope="session")
def digits() -> LightningDataModule:
    data = DigitsData(batch_size=128, seed=0)
    data.setup("test")
    return data


@pytest.fixture(scope="session")
def trained() -> MonoCon:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        options = {"init": "identity"}
        model = MonoCon(
            SmallCNN(widths=(8, 16, 16)), head_options=options, warmup_epochs=1, lr_encoder=5e-3, lr_head=5e-3
        )
        trainer(max_epochs=6).fit(model, datamodule=DigitsData(batch_size=128, seed=0))
    return model.eval()
