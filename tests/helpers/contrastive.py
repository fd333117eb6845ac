# SPDX-License-Identifier: Apache-2.0
"""Batches for the contrastive losses between two sets, and the losses' own formulas in float64 to compare with."""

from __future__ import annotations

import pytest
import torch
from oracles.supcon import rounding
from torch import Tensor
from torch.testing import assert_close

from lightning_monocon.kernels.cross_supcon import cross_supcon
from lightning_monocon.kernels.cross_supcon.reference import cross_supcon_reference
from lightning_monocon.kernels.supcon import supcon
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.reference import supcon_reference

# anchors, rows, dimensions, classes, temperature: primes, one off the tile of 16, equal sizes, one class, few positives
SHAPES = [(1, 1, 3, 1, 0.1), (17, 31, 7, 4, 0.07), (33, 15, 16, 40, 0.5), (16, 16, 33, 3, 0.02), (5, 48, 9, 1, 0.05)]
RULES = {
    "zero": Options(),
    "skip": Options(singletons="skip"),
    "ignore": Options(ignore_index=0, singletons="skip"),
    "raw": Options(normalize=False),
}


def one_set(
    embeddings: Tensor, labels: Tensor, temperature: float | Tensor = 0.1, backend: str = "auto", **rules: object
) -> Tensor:
    """Return the loss of one set with options by name."""
    return supcon(embeddings, labels, temperature, options=Options(**rules), backend=backend)


def formula(embeddings: Tensor, labels: Tensor, temperature: float | Tensor = 0.1, **rules: object) -> Tensor:
    """Return the loss of one set by `supcon_reference` in float64."""
    return supcon_reference(embeddings.double(), labels, torch.as_tensor(temperature).double(), Options(**rules))


def cross_formula(
    anchors: Tensor, contrast: Tensor, labels: tuple[Tensor, Tensor], temperature: float | Tensor = 0.1, **rules: object
) -> Tensor:
    """Return the loss between two sets by `cross_supcon_reference` in float64."""
    scale = torch.as_tensor(temperature).double()
    return cross_supcon_reference(anchors.double(), contrast.double(), *labels, scale, Options(**rules))


def two_sets(
    anchors: int = 11, rows: int = 19, dim: int = 6, classes: int = 4
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return anchors and contrast rows that want a gradient, and labels of both, negative and beyond 32 bits."""
    generator = torch.Generator().manual_seed(anchors * 1000 + rows)
    sides = [torch.randn(count, dim, generator=generator).mul_(3).requires_grad_() for count in (anchors, rows)]
    labels = [torch.randint(-1, classes - 1, (count,), generator=generator) * 2**33 for count in (anchors, rows)]
    return *sides, *labels


def gradients(loss: Tensor, *inputs: Tensor, upstream: float = -1.7) -> tuple[Tensor, ...]:
    """Return the gradients of a loss, zeros where it does not depend on an input."""
    return torch.autograd.grad(loss * upstream, inputs, allow_unused=True, materialize_grads=True)


def assert_cross_agrees(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor], temperature: float, options: Options, backend: str, tolerance: float
) -> None:
    """Compare the loss and the gradients of both sets and of the temperature with the formula's.

    Errors are relative to the gradient; where attraction and repulsion cancel, they may leave their own rounding.
    """
    anchors, contrast, *labels = inputs
    scale = torch.tensor(temperature, device=anchors.device, dtype=anchors.dtype, requires_grad=True)
    actual = cross_supcon(anchors, contrast, *labels, scale, options=options, backend=backend)
    twins = [x.detach().cpu().double().requires_grad_() for x in (anchors, contrast, scale)]
    kept = {name: getattr(options, name) for name in ("normalize", "singletons", "ignore_index")}
    expected = cross_formula(*twins[:2], tuple(side.cpu() for side in labels), twins[2], **kept)
    assert_close(actual.cpu().double(), expected, rtol=tolerance / 5, atol=tolerance / 5)
    lost = rounding(anchors, contrast, (labels[0], labels[1]), temperature, options.normalize)[1:]
    finer = torch.finfo(anchors.dtype).eps / torch.finfo(torch.float32).eps
    found = gradients(actual, anchors, contrast, scale)
    for mine, wanted, most in zip(found, gradients(expected, *twins), lost, strict=True):
        error, allowed = (mine.cpu().double() - wanted).norm(), tolerance * wanted.norm() + 1.7 * finer * most
        assert error <= allowed, f"off by {error:.1e} where rounding explains {allowed:.1e}"  # which NaN is not


def require_batched_views() -> None:
    """Skip the rest of a test where `torch.func.vmap` cannot read a number's bits: torch 2.10 has no rule for it."""
    try:
        torch.func.vmap(lambda row: row.view(torch.int32))(torch.ones(2, 3))
    except RuntimeError as error:
        pytest.skip(f"torch {torch.__version__}: {error}")
