# SPDX-License-Identifier: Apache-2.0
"""The formula between two sets against a loop over anchors in float64, and against InfoNCE."""

from __future__ import annotations

import pytest
import torch
from helpers.contrastive import RULES, SHAPES, cross_formula, gradients, two_sets
from oracles.supcon import cross_supcon as oracle
from torch.testing import assert_close

from lightning_monocon.kernels.cross_supcon import cross_supcon
from lightning_monocon.kernels.supcon import supcon


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_formula_equals_a_loop_over_anchors(shape: tuple[int, int, int, int, float], rule: str) -> None:
    *sizes, temperature = shape
    anchors, contrast, *labels = two_sets(*sizes)
    inputs = [x.detach().double().requires_grad_() for x in (anchors, contrast, torch.tensor(temperature))]
    rules = {name: getattr(RULES[rule], name) for name in ("normalize", "singletons", "ignore_index")}
    mine, expected = (f(*inputs[:2], tuple(labels), inputs[2], **rules) for f in (cross_formula, oracle))
    assert_close(mine, expected, rtol=1e-12, atol=1e-12)
    assert_close(gradients(mine, *inputs), gradients(expected, *inputs), rtol=1e-10, atol=1e-12)


def test_formula_has_second_derivatives() -> None:
    anchors, contrast, *labels = (x[:4] for x in two_sets())
    inputs = anchors.detach().double().requires_grad_(), contrast.detach().double().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda a, c: cross_formula(a, c, tuple(labels), 0.7), inputs)


def test_labels_of_pairs_are_infonce() -> None:
    anchors, contrast, *_ = two_sets(9, 9)
    labels = torch.arange(9)
    cosine = torch.nn.functional.normalize(anchors, dim=1) @ torch.nn.functional.normalize(contrast, dim=1).T
    wanted = torch.nn.functional.cross_entropy(cosine / 0.1, labels)
    assert_close(cross_supcon(anchors, contrast, labels, labels), wanted)


def test_a_set_against_itself_counts_the_row_itself() -> None:
    anchors, _, labels, _ = two_sets()
    one = cross_supcon(anchors, anchors, labels, labels, 0.5)
    assert_close(one.double(), oracle(anchors, anchors, (labels, labels), 0.5), rtol=1e-6, atol=0)
    assert abs(one - supcon(anchors, labels, 0.5)) > 1e-3
