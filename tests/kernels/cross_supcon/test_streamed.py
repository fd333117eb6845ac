# SPDX-License-Identifier: Apache-2.0
"""The streamed loss between two sets against its formula: values and the three gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.contrastive import RULES, SHAPES, assert_cross_agrees, cross_formula, gradients, two_sets
from torch.testing import assert_close

from lightning_monocon.kernels.cross_supcon import cross_supcon
from lightning_monocon.kernels.supcon.options import Options


@pytest.mark.parametrize("block_size", [4, 512], ids=lambda b: f"block{b}")
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_streamed_equals_formula(shape: tuple[int, int, int, int, float], rule: str, block_size: int) -> None:
    *sizes, temperature = shape
    anchors, contrast, *labels = two_sets(*sizes)
    wide = anchors.detach().double().requires_grad_(), contrast.detach().double().requires_grad_()
    options = replace(RULES[rule], block_size=block_size)
    assert_cross_agrees((*wide, *labels), temperature, options, "torch", 1e-10)
    # raw logits of hundreds keep fewer digits behind the point
    assert_cross_agrees(
        (anchors, contrast, *labels), 5.0 if rule == "raw" else max(temperature, 0.05), options, "torch", 5e-5
    )


@pytest.mark.parametrize("keep_up_to", [0, 2**22], ids=["computed again", "kept"])
def test_a_fixed_temperature_takes_one_exponential(keep_up_to: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_monocon.kernels.cross_supcon.streamed.KEEP_UP_TO", keep_up_to)
    monkeypatch.setattr("lightning_monocon.kernels.supcon.route.SMALL_UP_TO", 0)
    anchors, contrast, *labels = two_sets(37, 21)
    for rules in ({}, {"ignore_index": 0}):
        mine = cross_supcon(anchors, contrast, *labels, 0.2, options=Options(block_size=8, **rules))
        exact = cross_formula(anchors, contrast, tuple(labels), 0.2, **rules)
        assert_close(mine.double(), exact, rtol=1e-6, atol=0)
        found, wanted = (gradients(value, anchors, contrast) for value in (mine, exact))
        for a, b in zip(found, wanted, strict=True):
            assert_close(a, b.float(), rtol=1e-4, atol=1e-6)
        bank = gradients(cross_supcon(anchors, contrast.detach(), *labels, 0.2, options=Options(**rules)), anchors)
        assert_close(bank[0], found[0], rtol=1e-4, atol=1e-6)
