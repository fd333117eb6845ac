# SPDX-License-Identifier: Apache-2.0
"""The loss between two sets on a CPU that keeps its exponentials, against the formula in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers.contrastive import SHAPES, assert_cross_agrees, gradients, two_sets
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_monocon import losses
from lightning_monocon.kernels import cross_supcon as package
from lightning_monocon.kernels.cross_supcon import cross_supcon, kept
from lightning_monocon.kernels.supcon.options import Options

RULES = [Options(), Options(singletons="skip")]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count the calls that take this path."""
    seen: list[str] = []
    real = kept.cross_supcon_kept

    def counted(*arguments: object) -> Tensor:
        seen.append("kept")
        return real(*arguments)

    monkeypatch.setattr(package, "cross_supcon_kept", counted)
    return seen


@pytest.mark.parametrize("one_tile", [True, False], ids=["one tile", "tiles"])
@pytest.mark.parametrize("rule", RULES, ids=["zero", "skip"])
@pytest.mark.parametrize("shape", [shape[:4] for shape in SHAPES] + [(280, 300, 12, 9)], ids=str)
def test_it_is_the_formula(
    shape: tuple[int, int, int, int], rule: Options, one_tile: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not one_tile:
        monkeypatch.setattr(kept, "ONE_TILE", 0)
    # the number is a tensor there, which the kernels may read on a CPU: 0.1 is known to be bounded
    assert_cross_agrees(two_sets(*shape), 0.1, replace(rule, block_size=16), "auto", 1e-5)


@pytest.mark.parametrize("one_tile", [True, False], ids=["one tile", "tiles"])
def test_twins_take_the_short_way(one_tile: bool, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels that are equal on both sides and all different are InfoNCE's."""
    if not one_tile:
        monkeypatch.setattr(kept, "ONE_TILE", 0)
    anchors, contrast, *_ = two_sets(40, 40, 6)
    labels = torch.randperm(40) * 2**33
    loss = cross_supcon(anchors, contrast, labels, labels)
    assert calls == ["kept"]
    twins = [x.detach().double().requires_grad_() for x in (anchors, contrast)]
    unit = [torch.nn.functional.normalize(x, dim=1) for x in twins]
    wanted = torch.nn.functional.cross_entropy(unit[0] @ unit[1].T / 0.1, torch.arange(40))
    assert_close(loss.double(), wanted, rtol=1e-6, atol=1e-6)
    for found, exact in zip(gradients(loss, anchors, contrast), gradients(wanted, *twins), strict=True):
        assert (found.double() - exact).norm() <= 1e-5 * exact.norm()


def test_gradcheck(calls: list[str]) -> None:
    anchors, contrast, *labels = two_sets(7, 9, 4)
    sides = [x.detach().double().requires_grad_() for x in (anchors, contrast)]
    scale = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, c, t: cross_supcon(a, c, *labels, t), (*sides, scale))
    assert calls


def test_second_derivatives_raise(calls: list[str]) -> None:
    anchors, contrast, *labels = two_sets()
    for wanted in (anchors, contrast):
        loss = cross_supcon(anchors, contrast, *labels) + wanted.pow(3).sum()
        (first,) = torch.autograd.grad(loss, wanted, create_graph=True)
        with pytest.raises(RuntimeError, match="has no second derivative"):
            first.sum().backward()
    assert calls


def test_rows_without_a_direction_and_half_rows(calls: list[str]) -> None:
    anchors, contrast, *labels = two_sets()
    anchors = anchors.detach().index_fill(0, torch.tensor([2]), 0).requires_grad_()
    found, wanted = (
        gradients(cross_supcon(anchors, contrast, *labels, options=Options(keep_bytes=size)), anchors, contrast)
        for size in (1 << 20, 0)
    )
    assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    half = [x.detach().bfloat16().requires_grad_() for x in (anchors, contrast)]
    assert [g.dtype for g in gradients(cross_supcon(*half, *labels), *half)] == [torch.bfloat16] * 2
    assert len(calls) == 2


@pytest.mark.parametrize(("budget", "expected"), [(4 * 11 * 19, ["kept"]), (4 * 11 * 19 - 1, [])])
def test_the_loss_has_the_budget(budget: int, expected: list[str], calls: list[str]) -> None:
    losses.CrossSupConLoss(keep_bytes=budget)(*two_sets(11, 19))
    assert calls == expected


@pytest.mark.parametrize("one_tile", [True, False], ids=["one tile", "tiles"])
def test_twins_have_the_gradients_of_infonce(one_tile: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not one_tile:
        monkeypatch.setattr(kept, "ONE_TILE", 0)
    anchors, contrast, *_ = two_sets(40, 40, 6)
    labels = torch.arange(40)
    found, wanted = [], []
    for dtype, into in ((torch.float32, found), (torch.float64, wanted)):
        inputs = [x.detach().to(dtype).requires_grad_() for x in (anchors, contrast, torch.tensor(0.2))]
        if dtype == torch.float32:
            loss = cross_supcon(*inputs[:2], labels, labels.clone(), inputs[2])
        else:
            unit = [torch.nn.functional.normalize(x, dim=1) for x in inputs[:2]]
            loss = torch.nn.functional.cross_entropy(unit[0] @ unit[1].T / inputs[2], labels)
        into += torch.autograd.grad(-3 * loss, inputs)
    for one, other in zip(found, wanted, strict=True):
        assert_close(one.double(), other, rtol=1e-4, atol=1e-6)


class _Calls(TorchDispatchMode):
    """Counts what torch is asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_a_small_step_takes_few_calls() -> None:
    """At 32 rows calls are what a step costs; plain InfoNCE, of torch's own functions, takes 57."""
    anchors, contrast = (torch.randn(32, 64).requires_grad_() for _ in range(2))
    labels, loss = torch.arange(32), losses.CrossSupConLoss(temperature=0.1)
    with _Calls() as calls:
        torch.autograd.grad(loss(anchors, contrast, labels, labels), (anchors, contrast))
    assert calls.count <= 36
