# SPDX-License-Identifier: Apache-2.0
"""The losses of pairs against a loop over rows in float64: values, gradients, extremes and what is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.contrastive import gradients, require_batched_views
from helpers.fake_card import fake_tensors
from oracles import pairs as oracle
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_monocon.kernels.pairs import clip, siglip
from lightning_monocon.kernels.supcon.options import Options

Call = Callable[..., Tensor]


def two_sides(count: int, dim: int = 6, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Return rows and partners that are near them."""
    generator = torch.Generator().manual_seed(count)
    first = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    second = first + torch.randn(count, dim, generator=generator, dtype=torch.float64)
    return [side.to(dtype).requires_grad_() for side in (first, second)]


def numbers(loss: str, temperature: float, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Return the temperature, and for SigLIP a bias, which want a gradient."""
    values = [temperature] if loss == "clip" else [temperature, -2.5]
    return [torch.tensor(value, dtype=dtype, requires_grad=True) for value in values]


OURS: dict[str, Call] = {"clip": clip, "siglip": siglip}
TRUTHS: dict[str, Call] = {"clip": oracle.clip, "siglip": oracle.siglip}
both = pytest.mark.parametrize("loss", OURS)


def assert_agrees(loss: str, inputs: list[Tensor], tolerance: float, normalize: bool = True, **options: Any) -> None:
    """Compare the loss and all gradients with the oracle's."""
    mine = OURS[loss](*inputs, options=Options(normalize, **options))
    twins = [x.detach().double().requires_grad_() for x in inputs]
    wanted = TRUTHS[loss](*twins, normalize=normalize)
    assert_close(mine.double(), wanted, rtol=tolerance, atol=tolerance)
    for found, exact in zip(gradients(mine, *inputs), gradients(wanted, *twins), strict=True):
        assert (found.double() - exact).norm() <= tolerance * (1 + exact.norm())


@both
@pytest.mark.parametrize("keep_bytes", [0, 1 << 20], ids=["computed again", "kept"])
@pytest.mark.parametrize("block_size", [3, 512], ids=lambda b: f"block{b}")
@pytest.mark.parametrize(("count", "temperature"), [(1, 0.1), (2, 0.07), (13, 0.3), (31, 0.03)], ids=str)
def test_equals_a_loop_over_rows(loss: str, count: int, temperature: float, block_size: int, keep_bytes: int) -> None:
    rules = {"block_size": block_size, "keep_bytes": keep_bytes}
    assert_agrees(loss, [*two_sides(count), *numbers(loss, temperature)], 1e-11, **rules)
    small = [*two_sides(count, dtype=torch.float32), *numbers(loss, temperature, torch.float32)]
    assert_agrees(loss, small, 2e-5, **rules)


@both
@pytest.mark.parametrize("temperature", [1e-4, 1e-2, 30.0])
@pytest.mark.parametrize("normalize", [True, False], ids=["unit", "raw"])
def test_extreme_temperatures(loss: str, temperature: float, normalize: bool) -> None:
    """Logits of thousands overflow an exponential that is not shifted."""
    inputs = [*two_sides(21), *numbers(loss, temperature)]
    assert_agrees(loss, inputs, 1e-10, normalize, block_size=8)
    small = OURS[loss](*(x.detach().float() for x in inputs), options=Options(normalize, block_size=8))
    truth = TRUTHS[loss](*inputs, normalize=normalize)
    assert_close(small.double(), truth, rtol=1e-4, atol=1e-4)


@both
def test_a_float_temperature_is_known_to_be_bounded(loss: str) -> None:
    first, second = two_sides(40, dtype=torch.float32)
    number = (0.1,) if loss == "clip" else (0.1, -10.0)
    mine = OURS[loss](first, second, *number, options=Options(block_size=16))
    twins = [x.detach().double().requires_grad_() for x in (first, second)]
    wanted = TRUTHS[loss](*twins, *number)
    assert_close(mine.double(), wanted, rtol=1e-6, atol=1e-7)
    for found, exact in zip(gradients(mine, first, second), gradients(wanted, *twins), strict=True):
        assert (found.double() - exact).norm() <= 1e-5 * exact.norm()


@both
def test_order_of_pairs_and_of_sides_changes_nothing(loss: str) -> None:
    first, second = two_sides(23)
    order = torch.randperm(23, generator=torch.Generator().manual_seed(1))
    value = numbers(loss, 0.2)
    call = OURS[loss](first, second, *value, options=Options(block_size=5))
    assert_close(OURS[loss](first[order], second[order], *value, options=Options(block_size=5)), call)
    assert_close(OURS[loss](second, first, *value, options=Options(block_size=5)), call)


@both
def test_equal_rows_and_views(loss: str) -> None:
    """A pair that occurs three times is a negative of itself; rows may be strided or expanded."""
    first, second = (side.detach() for side in two_sides(12))
    first[[3, 7]], second[[3, 7]] = first[1].clone(), second[1].clone()
    strided = first.T.contiguous().T.requires_grad_(), second[:1].expand(12, 6).requires_grad_()
    for sides in ((first.requires_grad_(), second.requires_grad_()), strided):
        assert_agrees(loss, [*sides, *numbers(loss, 0.2)], 1e-10, block_size=5)


@both
def test_no_pairs_give_zero(loss: str) -> None:
    sides = [torch.empty(0, 3, requires_grad=True) for _ in range(2)]
    value = OURS[loss](*sides, *numbers(loss, 0.1, torch.float32))
    value.backward()
    assert value.item() == 0.0


@both
def test_gradcheck(loss: str) -> None:
    inputs = (*two_sides(7, 4), *numbers(loss, 0.3))
    call = OURS[loss]
    assert torch.autograd.gradcheck(lambda *x: call(*x, options=Options(block_size=3)), inputs)
    assert torch.autograd.gradcheck(lambda *x: call(*x, options=Options(False, block_size=3)), inputs)


@both
def test_a_frozen_side_changes_no_other_gradient(loss: str) -> None:
    sides, value = two_sides(11), numbers(loss, 0.2)
    whole = gradients(OURS[loss](*sides, *value), *sides, *value)
    for frozen in (0, 1):
        inputs = [side.detach() if k == frozen else side for k, side in enumerate(sides)]
        wanted = [x for x in (*inputs, *value) if x.requires_grad]
        found = gradients(OURS[loss](*inputs, *value), *wanted)
        assert_close(found, tuple(g for k, g in enumerate(whole) if k != frozen))
    assert not OURS[loss](*(x.detach() for x in (*sides, *value))).requires_grad
    with torch.no_grad():
        assert_close(OURS[loss](*sides, *value), OURS[loss](*sides, *value).detach())


@both
def test_backward_twice(loss: str) -> None:
    inputs = [*two_sides(9), *numbers(loss, 0.2)]
    value = OURS[loss](*inputs)
    once, twice = (torch.autograd.grad(value, inputs, retain_graph=True) for _ in range(2))
    assert_close(once, twice, rtol=0, atol=0)


@both
def test_second_derivatives_raise(loss: str) -> None:
    sides, value = two_sides(5), numbers(loss, 0.2)
    for wanted in sides:
        (first,) = torch.autograd.grad(OURS[loss](*sides, *value) + wanted.pow(3).sum(), wanted, create_graph=True)
        with pytest.raises(RuntimeError, match="has no second derivative"):
            first.sum().backward()


@both
def test_autocast_and_half_rows(loss: str) -> None:
    sides, value = two_sides(16, dtype=torch.float32), numbers(loss, 0.2, torch.float32)
    plain = OURS[loss](*sides, *value)
    wanted = gradients(plain, *sides)
    with torch.autocast("cpu", torch.bfloat16):
        inside = OURS[loss](*sides, *value)
        assert_close(gradients(inside, *sides), wanted, rtol=0, atol=0)
    assert inside.dtype == torch.float32
    half = [side.detach().bfloat16().requires_grad_() for side in sides]
    assert [g.dtype for g in gradients(OURS[loss](*half, *value), *half)] == [torch.bfloat16] * 2


class _Sizes(TorchDispatchMode):
    """Record the most numbers that an operation returns."""

    most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.most = max([self.most, *(x.numel() for x in (found,) if isinstance(x, Tensor))])
        return found


@both
@pytest.mark.parametrize("temperature", [0.1, 0.01], ids=["bounded", "not bounded"])
def test_nothing_holds_all_scores(loss: str, temperature: float) -> None:
    first, second = two_sides(100, 4, torch.float32)
    with _Sizes() as sizes:
        OURS[loss](first, second, temperature, options=Options(block_size=16, keep_bytes=0)).backward()
    assert sizes.most <= 100 * 4  # the rows of one side; tiles have 8 x 16 scores


@both
def test_torch_checks_the_operator(loss: str) -> None:
    sides, value = two_sides(9, dtype=torch.float32), numbers(loss, 0.3, torch.float32)
    for normalize in (True, False):
        arguments = *sides, value[0], (value[1:] or [None])[0], normalize, 4, normalize, True
        assert set(torch.library.opcheck(torch.ops.monocon.pairs.default, arguments).values()) == {"SUCCESS"}


@both
def test_transforms_take_the_formula(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = (*two_sides(6), *numbers(loss, 0.3))
    call = OURS[loss]
    wanted = gradients(call(*inputs), *inputs, upstream=1.0)
    inputs = tuple(x.detach() for x in inputs)
    assert_close(torch.func.grad(call, argnums=tuple(range(len(inputs))))(*inputs), wanted)
    tangents = tuple(x.flip(0) if x.ndim else x for x in inputs)
    along = sum((g * t).sum() for g, t in zip(wanted, tangents, strict=True))
    assert_close(torch.func.jvp(call, inputs, tangents)[1], along)
    require_batched_views()
    pair = torch.stack([inputs[1], inputs[1].flip(1)])
    each = torch.stack([call(inputs[0], side, *inputs[2:]) for side in pair])
    assert_close(torch.func.vmap(lambda side: call(inputs[0], side, *inputs[2:]))(pair), each)


def test_a_step_on_a_device_does_not_wait() -> None:
    with fake_tensors() as seen:
        rows = torch.empty(300, 8, device="cuda")
        clip(rows, rows, 0.1)
        siglip(rows, rows, 0.1)
    assert seen.waits == []
