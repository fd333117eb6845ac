# SPDX-License-Identifier: Apache-2.0
"""A rotation keeps all cosines, whatever it has learnt, and folds into one linear layer."""

from __future__ import annotations

import torch
from scipy.linalg import expm
from torch import nn

from lightning_monocon.export.stack import fold
from lightning_monocon.heads import CompatibleHead, MLPHead, MonotonicMLP


def turned(head: nn.Module, width: int) -> CompatibleHead:
    """Return a head that has moved a long way from its start, in float64."""
    torch.manual_seed(0)
    found = CompatibleHead(head, width).double()
    with torch.no_grad():
        found.generator.normal_(std=2.0)
        nn.init.orthogonal_(found.start)  # which was drawn in float32
    return found


def test_the_basis_is_orthonormal_however_far_it_has_moved() -> None:
    basis = turned(nn.Identity(), 7).basis
    torch.testing.assert_close(basis @ basis.T, torch.eye(7, dtype=torch.float64))
    assert not torch.allclose(basis, turned(nn.Identity(), 7).start)


def test_a_plane_is_turned_by_twice_the_arctangent() -> None:
    head = CompatibleHead(nn.Identity(), 2).double()
    with torch.no_grad():
        head.generator[0, 1] = 0.5
        head.start.copy_(torch.eye(2))
    angle = 2 * torch.atan(torch.tensor(0.5)).item()
    expected = torch.from_numpy(expm([[0.0, -angle], [angle, 0.0]]))
    torch.testing.assert_close(head.basis, expected)


def test_cosines_are_those_of_the_head() -> None:
    inner = MonotonicMLP(5, out_features=6).double()
    x = torch.randn(9, 5, dtype=torch.float64)
    rows, before = turned(inner, 6)(x), inner(x)
    torch.testing.assert_close(rows @ rows.T, before @ before.T)
    assert bool((rows[:, :3] < 0).any()), "a rotation gives numbers of both signs"


def test_the_gradient_is_that_of_the_formula() -> None:
    head = turned(nn.Identity(), 4)
    x = torch.randn(3, 4, dtype=torch.float64)

    def formula(generator: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(head, {"generator": generator, "start": head.start}, (x,))

    assert torch.autograd.gradcheck(formula, (head.generator.detach().clone().requires_grad_(),))


def test_folding_gives_stock_layers_that_compute_the_same() -> None:
    x = torch.randn(9, 5)
    for inner, width in ((MLPHead(5, out_features=6), 6), (nn.Identity(), 5), (nn.Linear(5, 3, bias=False), 3)):
        head = turned(inner.double(), width).float()
        torch.testing.assert_close(nn.Sequential(*fold(head))(x), head(x))


def test_autocast_does_not_round_the_rotation() -> None:
    head = turned(nn.Identity(), 8).float()
    x = torch.randn(4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(head(x), head(x.clone()))
        assert head(x).dtype == torch.float32
    torch.testing.assert_close(head(x).norm(dim=1), x.norm(dim=1))
