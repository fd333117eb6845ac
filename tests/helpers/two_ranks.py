# SPDX-License-Identifier: Apache-2.0
"""Make the silent trainer of the scripts that fit on two gloo ranks."""

from typing import Any

import lightning.pytorch as L


def trainer(*callbacks: L.Callback, **options: Any) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **options,
    )
