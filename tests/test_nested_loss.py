# SPDX-License-Identifier: Apache-2.0
"""The loss on nested prefixes: its values, its gradients, and every refusal."""

from __future__ import annotations

import pytest
import torch
from oracles.supcon import supcon as oracle
from torch.testing import assert_close

from lightning_monocon import MLPHead, MonoCon, MonotonicMLP, NestedSupConLoss, SupConLoss
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.nested_loss import nested_dims


def batch(rows: int = 40, dim: int = 20, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    return torch.randn(rows, dim, generator=generator), torch.randint(classes, (rows,), generator=generator)


def test_the_loss_is_the_mean_over_prefixes() -> None:
    embeddings, labels = batch()
    rows = embeddings.double().requires_grad_()
    expected = sum(oracle(rows[:, :k], labels, 0.2) for k in (4, 8, 16, 20)) / 4
    embeddings.requires_grad_()
    found = NestedSupConLoss(0.2)(embeddings, labels)
    assert_close(found.double(), expected, rtol=1e-6, atol=0)
    upstream = torch.tensor(-0.7)
    mine = torch.autograd.grad(found, embeddings, upstream)[0]
    truth = torch.autograd.grad(expected, rows, upstream.double())[0]
    assert (mine.double() - truth).norm() <= 1e-5 * truth.norm()


def test_one_prefix_of_full_width_is_the_plain_loss() -> None:
    embeddings, labels = batch()
    assert_close(NestedSupConLoss(0.1, dims=[20])(embeddings, labels), SupConLoss(0.1)(embeddings, labels))


def test_the_numbers_behind_a_prefix_do_not_reach_it() -> None:
    embeddings, labels = batch()
    embeddings.requires_grad_()
    (gradient,) = torch.autograd.grad(NestedSupConLoss(dims=[4, 8])(embeddings, labels), embeddings)
    assert gradient[:, :8].abs().amin(0).gt(0).all()
    assert not gradient[:, 8:].any()


@pytest.mark.parametrize(("width", "dims"), [(3, (3,)), (4, (4,)), (5, (4, 5)), (128, (4, 8, 16, 32, 64, 128))])
def test_default_prefixes_end_at_the_width(width: int, dims: tuple[int, ...]) -> None:
    assert nested_dims(width) == dims


@pytest.mark.parametrize("dims", [[], [8, 4], [4, 4], [0, 4]], ids=str)
def test_prefixes_that_are_no_nest_are_refused(dims: list[int]) -> None:
    with pytest.raises(ValueError, match=r"`dims` must be increasing numbers of dimensions from 1 on, got \["):
        NestedSupConLoss(dims=dims)


def test_what_a_batch_breaks_is_named() -> None:
    embeddings, labels = batch()
    with pytest.raises(ValueError, match=r"`dims` must not exceed the embeddings' 20 dimensions, got \[4, 32\]"):
        NestedSupConLoss(dims=[4, 32])(embeddings, labels)
    with pytest.raises(ValueError, match=r"`embeddings` must be \(N, D\) with D at least 1; got shape \(40,\)"):
        NestedSupConLoss()(embeddings[:, 0], labels)


def test_the_module_nests_its_default_loss_and_says_so_in_the_checkpoint() -> None:
    module = MonoCon(SmallCNN(1, (4, 8)), "linear", out_features=8, nested=True, temperature=0.3, warmup_epochs=0)
    assert isinstance(module.loss, NestedSupConLoss) and module.loss.prefix_loss.temperature == 0.3
    assert module.description["loss"] == {"temperature": 0.3, "nested": True}
    with pytest.raises(ValueError, match=r"`nested` must be False where `loss` is given: .* instead of SupConLoss"):
        MonoCon(SmallCNN(1, (4, 8)), "linear", out_features=8, nested=True, loss=SupConLoss())


@pytest.mark.parametrize(
    ("free", "monotonic"), [("squared", "reference"), ("identity", "identity"), ("lognormal", "lognormal")]
)
def test_a_free_head_can_start_as_the_monotonic_head_of_its_seed(free: str, monotonic: str) -> None:
    x = torch.randn(50, 12, generator=torch.Generator().manual_seed(0)).abs()
    heads = []
    for kind, init in ((MLPHead, free), (MonotonicMLP, monotonic)):
        torch.manual_seed(3)
        heads.append(kind(12, init=init))
    assert_close(heads[0](x), heads[1](x), rtol=1e-5, atol=1e-5)
    assert heads[0].hidden_layers[0].weight.min() >= 0
    (slope,) = torch.autograd.grad(heads[0](x).sum(), heads[0].hidden_layers[0].weight)
    assert slope.abs().sum() > 0


def test_unknown_starts_of_a_free_head_are_refused() -> None:
    with pytest.raises(
        ValueError, match="`init` must be one of 'default', 'squared', 'identity', 'lognormal'; got 'reference'"
    ):
        MLPHead(4, init="reference")
