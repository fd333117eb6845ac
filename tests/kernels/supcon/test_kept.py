# SPDX-License-Identifier: Apache-2.0
"""The loss on a CPU that keeps its exponentials, against the formula in float64 and against the streamed path."""

from __future__ import annotations

import pytest
import torch
from helpers.contrastive import formula, gradients, one_set
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.testing import assert_close

from lightning_monocon import losses
from lightning_monocon.kernels.supcon import kept
from lightning_monocon.kernels.supcon.options import Options

# one tile, several, the last one cut, no two of a class
SHAPES = [(2, 3, 1), (5, 4, 5), (37, 6, 4), (64, 16, 3), (101, 33, 7), (700, 64, 20)]


def batch(rows: int, dim: int, classes: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows + dim)
    embeddings = torch.randn(rows, dim, generator=generator).mul_(3).to(dtype).requires_grad_()
    labels = torch.arange(rows) if classes == rows else torch.randint(-2, classes - 2, (rows,), generator=generator)
    return embeddings, labels * 2**33


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count the calls that take this path."""
    seen: list[str] = []
    real = kept.supcon_kept

    def counted(*arguments: object) -> Tensor:
        seen.append("kept")
        return real(*arguments)

    monkeypatch.setattr("lightning_monocon.kernels.supcon.supcon_kept", counted)
    return seen


@pytest.mark.parametrize("singletons", ["zero", "skip"])
@pytest.mark.parametrize("block_size", [16, 512])
@pytest.mark.parametrize(("rows", "dim", "classes"), SHAPES, ids=str)
def test_it_is_the_formula(
    rows: int, dim: int, classes: int, block_size: int, singletons: str, calls: list[str]
) -> None:
    embeddings, labels = batch(rows, dim, classes)
    scale = torch.tensor(0.1, requires_grad=True)
    loss = one_set(embeddings, labels, scale, block_size=block_size, singletons=singletons)
    assert calls == ["kept"]
    twins = [x.detach().double().requires_grad_() for x in (embeddings, scale)]
    expected = formula(twins[0], labels, twins[1], singletons=singletons)
    assert_close(loss.double(), expected, rtol=1e-6, atol=1e-6)
    for found, wanted in zip(gradients(loss, embeddings, scale), gradients(expected, *twins), strict=True):
        assert (found.double() - wanted).norm() <= 1e-5 * wanted.norm() + 1e-9


def test_gradcheck(calls: list[str]) -> None:
    embeddings, labels = batch(23, 5, 4, torch.float64)
    scale = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, t: one_set(x, labels, t, block_size=8), (embeddings, scale))
    assert calls


def test_a_graph_may_be_used_twice() -> None:
    embeddings, labels = batch(37, 6, 4)
    loss = one_set(embeddings, labels)
    first = torch.autograd.grad(loss, embeddings, retain_graph=True)[0]
    assert_close(torch.autograd.grad(loss, embeddings)[0], first, rtol=0, atol=0)


def test_rows_that_are_short_long_or_zero_take_the_scaled_length() -> None:
    embeddings, labels = batch(40, 6, 4)
    factors = torch.exp2(torch.linspace(-90, 90, 40).round())[:, None]
    long = (embeddings.detach() * factors).requires_grad_()
    losses_ = [one_set(rows, labels, 0.5) for rows in (embeddings, long)]
    assert_close(losses_[1], losses_[0], rtol=0, atol=0)
    assert_close(gradients(losses_[1], long)[0] * factors, gradients(losses_[0], embeddings)[0], rtol=0, atol=0)
    rows = embeddings.detach().index_fill(0, torch.tensor([3, 7]), 0).requires_grad_()
    wanted = gradients(one_set(rows, labels, 0.5, keep_bytes=0), rows)[0]
    assert_close(gradients(one_set(rows, labels, 0.5), rows)[0], wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_and_half_rows_change_nothing_but_the_rounding_of_the_rows(dtype: torch.dtype) -> None:
    embeddings, labels = batch(37, 6, 4)
    plain = one_set(embeddings, labels)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(one_set(embeddings, labels), plain, rtol=0, atol=0)
    half = embeddings.detach().to(dtype).requires_grad_()
    wide = half.detach().float().requires_grad_()
    assert_close(one_set(half, labels), one_set(wide, labels), rtol=0, atol=0)
    found, wanted = (gradients(one_set(rows, labels), rows)[0] for rows in (half, wide))
    assert found.dtype == dtype
    assert_close(found, wanted.to(dtype), rtol=0, atol=0)


def test_second_derivatives_raise() -> None:
    embeddings, labels = batch(37, 6, 4)
    loss = one_set(embeddings, labels) + embeddings.pow(3).sum()
    (first,) = torch.autograd.grad(loss, embeddings, create_graph=True)
    with pytest.raises(RuntimeError, match="has no second derivative"):
        first.sum().backward()


def test_singletons_can_be_refused() -> None:
    embeddings, _ = batch(4, 3, 1)
    with pytest.raises(ValueError, match=r"2 of 4 rows are alone in their class \(label 8 is the first\)"):
        one_set(embeddings, torch.tensor([3, 3, 8, 5]), singletons="error")


@pytest.mark.parametrize("tiles", [0, 1, 7, 1000])
def test_what_is_over_the_budget_is_computed_again(tiles: int) -> None:
    embeddings, labels = batch(101, 33, 7)
    budget = max(4 * tiles * 8 * 16, 1)
    with saved_tensors_hooks(lambda x: shapes.append(x.shape) or x, lambda x: x):
        shapes: list[torch.Size] = []
        loss = one_set(embeddings, labels, block_size=16, keep_bytes=budget)
    assert sum(4 * a * b for a, b in (s for s in shapes if len(s) == 2 and s[1] != 33)) <= budget
    wanted = one_set(embeddings, labels, block_size=16)
    assert_close(loss, wanted, rtol=0, atol=0)
    assert_close(gradients(loss, embeddings), gradients(wanted, embeddings), rtol=0, atol=0)


def test_it_serves_plain_rows_on_a_cpu() -> None:
    labels = torch.zeros(1, dtype=torch.long)
    assert kept.serves(torch.empty(9, 4), labels, Options(bounded=True, keep_bytes=1))
    assert not kept.serves(torch.empty(9, 4, device="meta"), labels, Options(bounded=True))
    for other in (Options(), Options(bounded=True, ignore_index=3), Options(bounded=True, keep_bytes=0)):
        assert not kept.serves(torch.empty(9, 4), labels, other)


def test_labels_may_be_mapped_alone() -> None:
    embeddings, labels = batch(37, 6, 4)
    many = torch.stack([labels, labels.flip(0)])
    mapped = torch.func.vmap(lambda each: one_set(embeddings.detach(), each))(many)
    assert_close(mapped, torch.stack([one_set(embeddings.detach(), each) for each in many]))


@pytest.mark.parametrize(("budget", "expected"), [(64 << 20, ["kept"]), (1000, ["kept"]), (0, [])])
def test_the_losses_have_the_budget(budget: int, expected: list[str], calls: list[str]) -> None:
    losses.SupConLoss(keep_bytes=budget)(*batch(37, 6, 4))
    assert calls == expected


def test_a_budget_is_at_least_zero() -> None:
    for loss in (losses.SupConLoss, losses.CrossSupConLoss):
        with pytest.raises(ValueError, match=r"`keep_bytes` must be at least 0; got -1\. 0 keeps nothing"):
            loss(keep_bytes=-1)
