# SPDX-License-Identifier: Apache-2.0
"""Compute keys of rows from their content: equal rows have equal keys on any batch and rank.

The rows with the smallest keys are a uniform sample of the *distinct* rows (bottom-k sampling, Cohen & Kaplan 2007),
and how small the k smallest are tells how many distinct rows there are (k minimum values, Bar-Yossef et al. 2002).
Both merge exactly over batches and ranks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.moments import statistics_device
from lightning_monocon.functional.unit_rows import unit_rows

_TILE = 1024
_HALF = 0xFFFFFFFF


def _mixed(bits: Tensor) -> Tensor:
    """Scramble int64 bit by bit: the finaliser of MurmurHash3; multiplication wraps modulo 2^64."""
    for factor in (-49064778989728563, -4265267296055464877):  # 0xff51afd7ed558ccd and 0xc4ceb9fe1a85ec53, signed
        bits = bits ^ ((bits >> 33) & (_HALF >> 1))
        bits = bits * factor
    return bits ^ ((bits >> 33) & (_HALF >> 1))


def row_keys(rows: Tensor, seed: int = 0) -> Tensor:
    """Return one pseudo-random int64 >= 0 for each row of ``(N, D)``, a function of its numbers and ``seed`` alone.

    Example:
        >>> keys = row_keys(torch.tensor([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0]]))
        >>> bool(keys[0] == keys[2]), bool(keys[0] == keys[1])
        (True, False)
    """
    columns = torch.arange(1, rows.shape[1] + 1, device=statistics_device(rows.device))
    salt = _mixed(columns * 0x9E3779B97F4A7C + seed)
    keys = []
    for start in range(0, len(rows), _TILE):
        # + 0.0 makes one zero of two; float64 holds every floating dtype exactly.
        bits = (rows[start : start + _TILE].to(salt.device).to(torch.float64) + 0.0).view(torch.int64)
        keys.append(_mixed(_mixed(bits ^ salt).sum(dim=1)))
    return torch.cat([salt[:0], *keys]) & torch.iinfo(torch.int64).max


def direction_keys(rows: Tensor, seed: int = 0) -> Tensor:
    """Return one key for each row of ``(N, D)``, a function of its direction and ``seed`` alone.

    Unit rows are rounded to float32 before they are hashed, so that rows of different lengths, whose unit rows differ
    by the rounding of float64, have equal keys.

    Example:
        >>> keys = direction_keys(torch.tensor([[1.0, 2.0], [3.0, 6.0], [2.0, 1.0]]))
        >>> bool(keys[0] == keys[1]), bool(keys[0] == keys[2])
        (True, False)
    """
    device = statistics_device(rows.device)
    parts = (part.to(device).to(torch.float64) for part in torch.split(rows, _TILE))
    return torch.cat([row_keys(unit_rows(part).to(torch.float32), seed) for part in parts])


def smallest(keys: Tensor, count: int) -> Tensor:
    """Return the positions of the ``count`` smallest keys, ascending by key and then by position."""
    return keys.argsort(stable=True)[:count]


def distinct_rows(sketch: Tensor, size: int) -> Tensor:
    """Return the number of distinct rows from the distinct keys that are smallest, 0-d float64.

    Exact below ``size`` keys; else the k-minimum-values estimate, with a standard error of about ``1 / sqrt(size)``.
    """
    if len(sketch) < size:
        return torch.tensor(float(len(sketch)), dtype=torch.float64, device=sketch.device)
    return (size - 1) * float(torch.iinfo(torch.int64).max) / sketch[size - 1].to(torch.float64)
