# SPDX-License-Identifier: Apache-2.0
"""The Triton kernels of the monotone layer against float64 autograd, in the interpreter and on a GPU.

The interpreter multiplies every float32 mode in full float32: it tests their addresses, not their rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from oracles import monotone as oracle
from torch import Tensor

from lightning_monocon.kernels.monotone_linear import monotone_linear, monotone_mlp

PARAMETRIZATIONS = ["square", "exp", "softplus", "abs", "none"]
ACTIVATIONS = ["leaky_relu", "relu", "elu", "tanh", "linear"]
FLOAT32_MODES = ["ieee", "tf32", "bf16x3", "bf16x6"]
# relative error of one product: of operands rounded to 24 bits, or to 11, or split into bfloat16 parts of 8 bits each
PRODUCT = {"ieee": 2.0**-24, "auto": 2.0**-24, "bf16x6": 2.0**-22, "bf16x3": 2.0**-15, "tf32": 2.0**-10}


@pytest.fixture
def device(kernel_device: torch.device, poisoned: None) -> str:
    """Where kernels run; fresh memory holds NaN, so that a cell that nobody writes shows."""
    return kernel_device.type


def passes(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], upstream: Tensor, **options: object
) -> list[Tensor]:
    """Return the output and the gradients of x, weights and biases."""
    leaves = [t.detach().requires_grad_() for t in (x, *weights, *(b for b in biases if b is not None))]
    given = iter(leaves[1 + len(weights) :])
    y = monotone_mlp(
        leaves[0], leaves[1 : 1 + len(weights)], [None if b is None else next(given) for b in biases], **options
    )
    return [y.detach(), *torch.autograd.grad(y, leaves, upstream)]


def truth(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], upstream: Tensor, **options: object
) -> list[Tensor]:
    """Return the same in float64 from the oracle."""
    leaves = [t.detach().cpu().double().requires_grad_() for t in (x, *weights, *(b for b in biases if b is not None))]
    given = iter(leaves[1 + len(weights) :])
    full = [None if b is None else next(given) for b in biases]
    y = oracle.stack(leaves[0], leaves[1 : 1 + len(weights)], full, **options)
    return [y.detach(), *torch.autograd.grad(y, leaves, upstream.cpu().double())]


def assert_close(got: Sequence[Tensor], want: Sequence[Tensor], sizes: Sequence[Tensor], tolerance: float) -> None:
    """Compare entry by entry; an error is allowed in proportion to the magnitudes of the terms of that entry."""
    for mine, exact, size in zip(got, want, sizes, strict=True):
        error = (mine.cpu().double() - exact).abs()
        assert error.shape == exact.shape
        allowed = tolerance * size.expand_as(error)
        assert bool((error <= allowed).all()), f"off by up to {float((error / allowed).max()):.2f} times the rounding"


def moved(device: str, *groups: Sequence[Tensor]) -> list[list[Tensor]]:
    return [[t.to(device) for t in group] for group in groups]


def on_cpu(value: object) -> object:
    """Return a tensor, or the tensors of a list, on the CPU; anything else as it is."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    return [on_cpu(each) for each in value] if isinstance(value, list) else value


def assert_agrees(
    device: str, x: Tensor, weights: list[Tensor], biases: list[Tensor | None], upstream: Tensor,
    precision: str = "ieee", **options: object,
) -> None:  # fmt: skip
    """Compare output and gradients of the kernels with the oracle's; tensors on the device keep their strides."""
    plain = [on_cpu(value) for value in (x, weights, biases, upstream)]
    want = truth(*plain, **options)
    sizes = oracle.magnitudes(*plain, **options)
    (x, upstream), weights = moved(device, (x, upstream), weights)
    biases = [None if bias is None else bias.to(device) for bias in biases]
    given = {name: o.to(device) if isinstance(o, Tensor) else o for name, o in options.items()}
    got = passes(x, weights, biases, upstream, backend="triton", precision=precision, **given)
    assert got[0].dtype == torch.float32
    assert_close(got, want, sizes, oracle.rounding(len(x), weights, PRODUCT[precision]))


def check(device: str, sizes: Sequence[int], rows: int, precision: str = "ieee", **options: object) -> None:
    """Compare kernels and oracle on a drawn problem with a random upstream gradient."""
    x, weights, biases = oracle.problem(sizes, rows, parametrization=str(options.get("parametrization", "square")))
    upstream = torch.randn(rows, sizes[-1], generator=torch.Generator().manual_seed(rows))
    assert_agrees(device, x, weights, biases, upstream, precision, **options)


@pytest.mark.parametrize("signed", [False, True], ids=["positive", "signed"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_every_map_activation_and_sign(device: str, parametrization: str, activation: str, signed: bool) -> None:
    signs = oracle.directions(13) if signed else None
    check(device, [13, 37, 5], 19, parametrization=parametrization, activation=activation, signs=signs)


@pytest.mark.parametrize("rows", [0, 1, 31, 32, 33, 64, 65, 97, 128], ids=lambda n: f"rows={n}")
def test_every_number_of_rows(device: str, rows: int) -> None:
    # 64 is the interpreter's last batch that is mapped on load; 97 rows are three parts of dW
    check(device, [17, 33, 7], rows, signs=oracle.directions(17))


@pytest.mark.parametrize(
    "sizes", [(1, 1), (1, 7, 1), (31, 32, 33), (64, 16, 63), (65, 127, 2), (5, 3, 4, 2, 3)], ids=str
)
def test_hostile_widths(device: str, sizes: tuple[int, ...]) -> None:
    check(device, sizes, 35)
    check(device, sizes, 66, parametrization="softplus", activation="elu")


@pytest.mark.parametrize("rows", [20, 100], ids=["on load", "mapped"])
@pytest.mark.parametrize("precision", FLOAT32_MODES)
def test_float32_modes(device: str, precision: str, rows: int) -> None:
    check(device, [40, 70, 24], rows, precision, signs=oracle.directions(40))


@pytest.mark.parametrize("rows", [20, 100], ids=["tiles", "library"])
def test_auto_precision_is_float32_class(device: str, rows: int) -> None:
    check(device, [40, 70, 24], rows, "auto", signs=oracle.directions(40))
    check(device, [40, 70, 24], rows, "auto", parametrization="exp", activation="tanh")


@pytest.mark.parametrize("rows", [20, 100], ids=["tiles", "library"])
@pytest.mark.parametrize("parametrization", ["square", "softplus"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_16_bit_modes_err_no_more_than_torch(device: str, precision: str, parametrization: str, rows: int) -> None:
    options = {"parametrization": parametrization, "activation": "tanh"}
    x, weights, biases = oracle.problem([40, 70, 24], rows, parametrization=parametrization)
    upstream = torch.randn(rows, 24, generator=torch.Generator().manual_seed(1))
    want = truth(x, weights, biases, upstream, **options)
    (x, upstream), weights, biases = moved(device, (x, upstream), weights, biases)
    got = passes(x, weights, biases, upstream, backend="triton", precision=precision, **options)
    plain = passes(x, weights, biases, upstream, backend="torch", precision=precision, **options)
    assert got[0].dtype == torch.float32
    for mine, torchs, exact in zip(got, plain, want, strict=True):
        error, allowed = ((t.cpu().double() - exact).norm() / exact.norm() for t in (mine, torchs))
        assert float(error) <= 2 * float(allowed) + 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_tensors_are_read_as_they_are(device: str, dtype: torch.dtype) -> None:
    x, weights, biases = oracle.problem([24, 33, 9], 20, dtype)
    upstream = torch.randn(20, 9, generator=torch.Generator().manual_seed(1))
    want, sizes = (make(x, weights, biases, upstream) for make in (truth, oracle.magnitudes))
    allowed = oracle.rounding(20, weights)
    (x, upstream), weights, biases = moved(device, (x, upstream), weights, biases)
    got = passes(x, weights, biases, upstream, backend="triton", precision="ieee")
    assert [t.dtype for t in got] == [torch.float32, *[dtype] * 5]
    assert_close(got[:1], want[:1], sizes[:1], allowed)
    assert_close(got[1:], want[1:], sizes[1:], allowed + torch.finfo(dtype).eps / 2)  # the gradients' own rounding


def test_strided_and_expanded_tensors(device: str) -> None:
    x, weights, biases = oracle.problem([16, 24, 8], 33)
    upstream = torch.randn(1, 8, generator=torch.Generator().manual_seed(1)).to(device).expand(33, 8)
    (x,), weights, biases = moved(device, (x,), weights, biases)
    spread = torch.zeros(33, 32, device=device)
    spread[:, ::2] = x
    transposed = [w.T.contiguous().T for w in weights]
    wide = [torch.stack([b, b], dim=1)[:, 0] for b in biases]
    assert_agrees(device, spread[:, ::2], transposed, wide, upstream)
    assert_agrees(device, x[:1].expand(33, 16), weights, biases, upstream)


def test_row_views_are_read_through_their_stride(device: str) -> None:
    x, weights, biases = oracle.problem([16, 24, 8], 20)
    upstream = torch.randn(20, 8, generator=torch.Generator().manual_seed(1))
    (x, upstream), weights, biases = moved(device, (x, upstream), weights, biases)
    padded = torch.full((20, 19), torch.nan, device=device)
    padded[:, :16] = x
    views = [torch.cat([w, torch.full_like(w, torch.nan)], dim=1)[:, : w.shape[1]] for w in weights]
    assert_agrees(device, padded[:, :16], views, biases, upstream)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_one_layer_with_its_own_activation(device: str, activation: str) -> None:
    x, (weight,), (bias,) = oracle.problem([12, 20], 21)
    upstream = torch.randn(21, 20, generator=torch.Generator().manual_seed(1))
    exact = x.double().requires_grad_()
    y = oracle.stack(exact, [weight], [bias], output_activation=activation)
    want = [y.detach(), *torch.autograd.grad(y, exact, upstream.double())]
    sizes = oracle.magnitudes(x, [weight], [bias], upstream, output_activation=activation)[:2]
    (mine,) = moved(device, (x, weight, bias))
    mine[0].requires_grad_()
    z = monotone_linear(*mine, activation=activation, backend="triton", precision="ieee")
    got = [z.detach(), *torch.autograd.grad(z, mine[0], upstream.to(device))]
    assert_close(got, want, sizes, oracle.rounding(21, [weight]))


@pytest.mark.parametrize("rows", [20, 100], ids=["on load", "mapped"])
def test_frozen_inputs_and_missing_biases(device: str, rows: int) -> None:
    x, weights, _ = oracle.problem([16, 24, 8], rows)
    upstream = torch.randn(rows, 8, generator=torch.Generator().manual_seed(1))
    want, sizes = (make(x, weights, [None, None], upstream) for make in (truth, oracle.magnitudes))
    (x, upstream), weights = moved(device, (x, upstream), weights)
    leaves = [w.requires_grad_() for w in weights]
    y = monotone_mlp(x, leaves, [None, None], backend="triton", precision="ieee")
    got = [y.detach(), *torch.autograd.grad(y, leaves, upstream)]
    kept = [0, 2, 3]  # x is frozen
    assert_close(got, [want[k] for k in kept], [sizes[k] for k in kept], oracle.rounding(rows, weights))


@pytest.mark.parametrize("shape", [(12,), (2, 3, 12), (2, 0, 12)], ids=str)
def test_leading_dimensions_are_kept(device: str, shape: tuple[int, ...]) -> None:
    _, weights, biases = oracle.problem([12, 7, 3], 1)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    flat = x.reshape(-1, 12)
    want = oracle.stack(flat, weights, biases).reshape(*shape[:-1], 3)
    size = oracle.magnitudes(flat, weights, biases, torch.zeros(len(flat), 3))[0].reshape(want.shape)
    (x,), weights, biases = moved(device, (x,), weights, biases)
    got = monotone_mlp(x, weights, biases, backend="triton", precision="ieee")
    assert_close([got], [want], [size], oracle.rounding(len(flat), weights))


def test_smallest_weights_survive_the_softplus(device: str) -> None:
    # log(1 + exp(-18)) is 1.5e-8; a plain log would give 0
    weight = torch.full((1, 1), -18.0, device=device)
    y = monotone_linear(torch.ones(1, 1, device=device), weight, parametrization="softplus", backend="triton")
    torch.testing.assert_close(y.cpu().double(), torch.full((1, 1), -18.0).double().exp().log1p(), rtol=1e-5, atol=0)


def test_equal_bits_from_run_to_run(device: str) -> None:
    x, weights, biases = moved(device, *(p if isinstance(p, list) else [p] for p in oracle.problem([30, 40, 20], 128)))
    upstream = torch.randn(128, 20, generator=torch.Generator().manual_seed(1)).to(device)
    first, second = (passes(x[0], weights, biases, upstream, backend="triton", precision="ieee") for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("dtype", "mode"), [(torch.bfloat16, "bf16"), (torch.float16, "tf32")], ids=str)
def test_autocast_rounds_operands_and_returns_float32(device: str, dtype: torch.dtype, mode: str) -> None:
    (x,), weights, biases = moved(device, *(p if isinstance(p, list) else [p] for p in oracle.problem([12, 9, 5], 6)))
    outside = monotone_mlp(x, weights, biases, backend="triton", precision=mode)
    named = monotone_mlp(x, weights, biases, backend="triton", precision="ieee")
    with torch.autocast(device, dtype):
        inside = monotone_mlp(x, weights, biases, backend="triton")
        assert torch.equal(monotone_mlp(x, weights, biases, backend="triton", precision="ieee"), named)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)


@pytest.mark.parametrize("swap", [False, True], ids=["normal", "swapped"])
@pytest.mark.parametrize("rows", [3, 150], ids=["one group", "two groups of tiles"])
def test_both_operand_orders_and_every_group_of_tiles(device: str, rows: int, swap: bool) -> None:
    from lightning_monocon.kernels.monotone_linear import launch
    from lightning_monocon.kernels.monotone_linear.configurations import Configuration, Launch

    x, (weight,), (bias,) = oracle.problem([21, 35], rows)
    signs = oracle.directions(21)
    dz = torch.randn(rows, 35, generator=torch.Generator().manual_seed(0))
    exact = [t.double().requires_grad_() for t in (x, weight, bias)]
    z = oracle.stack(exact[0], exact[1:2], exact[2:], signs=signs)
    want = [oracle.activate(z, "tanh").detach(), *torch.autograd.grad(z, exact, dz.double())]
    sizes, allowed = oracle.magnitudes(x, [weight], [bias], dz, signs=signs), oracle.rounding(rows, [weight])
    ((x, weight, bias, signs, dz),) = moved(device, (x, weight, bias, signs, dz))
    tile = Launch("ieee", (16, 16, 16), 4, 2, swap)
    read = launch.Weight(weight, "square", signs)
    y = launch.layer_forward(x, read, bias, "tanh", torch.float32, tile)
    split = Configuration(tile, tile, tile, tile, rows_per_part=64)
    alone = [launch.layer_dx(dz, read, x, "linear", x.dtype, tile), *launch.layer_dw(dz, x, read, split)]
    assert_close([y, *alone], want, sizes, allowed)
    assert_close([y, *launch.layer_both(dz, read, x, "linear", x.dtype, tile)], want, sizes, allowed)


@pytest.mark.parametrize("strided", [lambda s: s.repeat_interleave(2)[::2], lambda s: s[:1].expand(13)])
def test_signs_may_be_a_view(device: str, strided: Callable[[Tensor], Tensor]) -> None:
    signs = strided(oracle.directions(13))
    assert not signs.is_contiguous()
    check(device, [13, 9, 5], 11, signs=signs)
