# SPDX-License-Identifier: Apache-2.0
"""The formula of the loss against a loop over anchors in float64; the other paths are tested against the formula."""

from __future__ import annotations

import pytest
import torch
from helpers.contrastive import formula, gradients, require_batched_views
from oracles.supcon import supcon as oracle
from torch.testing import assert_close

from lightning_monocon.kernels.supcon import supcon

# rows, dimensions, classes, temperature: one row, primes, one class, all distinct, a small temperature
CASES = [(1, 3, 1, 0.1), (31, 7, 4, 1.0), (23, 3, 1, 0.1), (17, 8, 90, 0.05), (40, 16, 6, 0.01)]
RULES = [{}, {"singletons": "skip"}, {"ignore_index": 0}, {"ignore_index": 0, "singletons": "skip"}]


def batch(rows: int, dim: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    embeddings = torch.randn(rows, dim, generator=generator, dtype=torch.float64)
    return embeddings.requires_grad_(), torch.randint(-1, classes, (rows,), generator=generator)


@pytest.mark.parametrize("normalize", [True, False], ids=["unit", "raw"])
@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.parametrize(("rows", "dim", "classes", "temperature"), CASES, ids=str)
def test_formula_equals_a_loop_over_anchors(
    rows: int, dim: int, classes: int, temperature: float, rules: dict[str, object], normalize: bool
) -> None:
    embeddings, labels = batch(rows, dim, classes)
    inputs = embeddings, torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    mine, expected = (f(embeddings, labels, inputs[1], normalize=normalize, **rules) for f in (formula, oracle))
    assert_close(mine, expected, rtol=1e-12, atol=1e-12)
    assert_close(gradients(mine, *inputs), gradients(expected, *inputs), rtol=1e-10, atol=1e-12)


def test_formula_has_second_derivatives_and_transforms() -> None:
    embeddings, labels = batch(7, 3, 2)
    assert torch.autograd.gradgradcheck(lambda x: formula(x, labels, 0.7), embeddings)
    pair = torch.stack([embeddings.detach(), embeddings.detach().flip(1)])
    each = torch.stack([supcon(x, labels, 0.7) for x in pair])
    require_batched_views()
    assert_close(torch.func.vmap(lambda x: formula(x, labels, 0.7))(pair), each)


def test_formula_refuses_singletons_on_request() -> None:
    embeddings, _ = batch(4, 3, 1)
    with pytest.raises(ValueError, match=r"2 of 4 rows are alone in their class \(label 8 is the first\)"):
        formula(embeddings, torch.tensor([3, 3, 8, 5]), singletons="error")
