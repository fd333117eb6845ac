# SPDX-License-Identifier: Apache-2.0
"""Fit codecs: one file for each family of codes."""

from __future__ import annotations

from lightning_monocon.codes.families.product import fit_product
from lightning_monocon.codes.families.rabit import fit_rabit
from lightning_monocon.codes.families.scalar import SCALARS, ScalarOptions, fit_scalar, random_rotation
from lightning_monocon.codes.families.trained import fit_lsq, fit_opq, fit_pq, fit_residual
from lightning_monocon.codes.families.transform import fit_transform

__all__ = [
    "SCALARS",
    "ScalarOptions",
    "fit_lsq",
    "fit_opq",
    "fit_pq",
    "fit_product",
    "fit_rabit",
    "fit_residual",
    "fit_scalar",
    "fit_transform",
    "random_rotation",
]
