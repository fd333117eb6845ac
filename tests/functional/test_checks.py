# SPDX-License-Identifier: Apache-2.0
"""Test the check that all numbers are finite: it misses none, and copies nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from lightning_monocon.functional.checks import all_finite

TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (33, 65)])
def test_one_number_that_is_not_finite_is_seen_anywhere(
    dtype: torch.dtype, value: float, shape: tuple[int, int]
) -> None:
    rows = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    for place in range(0, rows.numel(), 5):
        spoilt = rows.clone()
        spoilt.view(-1)[place] = value
        assert not all_finite(spoilt)
        assert not all_finite(spoilt.T)


@pytest.mark.parametrize("dtype", TYPES)
def test_the_largest_numbers_and_none_are_finite(dtype: torch.dtype) -> None:
    most = torch.finfo(dtype).max
    assert all_finite(torch.tensor([[most, -most], [most, most]], dtype=dtype))
    assert all_finite(torch.empty(0, 3, dtype=dtype))
    assert all_finite(torch.ones(2, 2, dtype=dtype, requires_grad=True))


@pytest.mark.parametrize("dtype", TYPES)
def test_nothing_is_copied(dtype: torch.dtype) -> None:
    rows = torch.ones(1000, 100, dtype=dtype)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        all_finite(rows)
    assert max(event.self_cpu_memory_usage for event in seen.events()) < 1000
