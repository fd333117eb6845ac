# SPDX-License-Identifier: Apache-2.0
"""Provide the contrastive losses as modules, which validate their inputs and gather the ranks' rows."""

from lightning_monocon.losses.pairs import ClipLoss, PairsByLabel, SigLipLoss
from lightning_monocon.losses.sets import (
    CompatibilityLoss,
    CrossSupConLoss,
    NestedSupConLoss,
    SupConLoss,
    nested_dims,
)

__all__ = [
    "ClipLoss",
    "CompatibilityLoss",
    "CrossSupConLoss",
    "NestedSupConLoss",
    "PairsByLabel",
    "SigLipLoss",
    "SupConLoss",
    "nested_dims",
]
