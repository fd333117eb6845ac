# SPDX-License-Identifier: Apache-2.0
"""Fit codes that store a vector in few bytes, encode rows with them and score queries against the codes."""

from __future__ import annotations

from lightning_monocon.codes.codec import Codec
from lightning_monocon.codes.error import squared_error
from lightning_monocon.codes.files import FILES, load, save
from lightning_monocon.codes.fitting import FittingRows, FittingStream
from lightning_monocon.codes.half import HalfQuantiser
from lightning_monocon.codes.levels import LevelQuantiser
from lightning_monocon.codes.product import ProductQuantiser
from lightning_monocon.codes.quantiser import Quantiser
from lightning_monocon.codes.space import Space

__all__ = [
    "FILES",
    "Codec",
    "FittingRows",
    "FittingStream",
    "HalfQuantiser",
    "LevelQuantiser",
    "ProductQuantiser",
    "Quantiser",
    "Space",
    "load",
    "save",
    "squared_error",
]
