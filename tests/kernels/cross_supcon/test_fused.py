# SPDX-License-Identifier: Apache-2.0
"""The loss between two sets on Triton kernels against its formula, with NaN in what they do not write."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.contrastive import RULES, SHAPES, assert_cross_agrees, gradients, two_sets
from torch.testing import assert_close

from lightning_monocon.kernels.cross_supcon import cross_supcon
from lightning_monocon.kernels.supcon.options import Options

TOLERANCE = {"ieee": 5e-6, "fp16": 5e-3}


# the interpreter's numpy warns of pairs beyond the last row, which a mask then drops
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("precision", ["ieee", "fp16"])
@pytest.mark.parametrize("rule", ["zero", "ignore"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_kernels_equal_formula(
    shape: tuple[int, int, int, int, float], rule: str, precision: str, kernel_device: torch.device
) -> None:
    *sizes, temperature = shape
    anchors, contrast, *labels = (x.detach().to(kernel_device) for x in two_sets(*sizes))
    inputs = anchors.requires_grad_(), contrast.requires_grad_(), *labels
    assert_cross_agrees(inputs, temperature, replace(RULES[rule], precision=precision), "triton", TOLERANCE[precision])


@pytest.mark.usefixtures("poisoned")
def test_kernels_in_chunks_with_one_exponential(kernel_device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_monocon.kernels.supcon import launch

    monkeypatch.setattr(launch, "CHUNK_BYTES", 16)
    inputs = tuple(x.detach().to(kernel_device) for x in two_sets(37, 21))
    sides = [x.requires_grad_() for x in inputs[:2]]
    options = Options(precision="ieee")
    loss = cross_supcon(*inputs, 0.2, options=options, backend="triton")
    wanted = cross_supcon(*(x.double() for x in sides), *inputs[2:], 0.2, backend="torch")
    assert_close(loss.double(), wanted, rtol=1e-6, atol=0)
    found = gradients(loss, *sides)
    for mine, exact in zip(found, gradients(wanted, *sides), strict=True):
        assert_close(mine, exact, rtol=1e-4, atol=1e-6)
    again = gradients(cross_supcon(*inputs, 0.2, options=options, backend="triton"), *sides)
    assert_close(again, found, rtol=0, atol=0)
