# SPDX-License-Identifier: Apache-2.0
"""The plain-torch monotone layer against the float64 oracle."""

from __future__ import annotations

import pytest
import torch
from oracles import monotone as oracle
from torch import Tensor

from lightning_monocon.kernels.monotone_linear import effective_weight, monotone_linear, monotone_mlp

PARAMETRIZATIONS = ["square", "exp", "softplus", "abs", "none"]
ACTIVATIONS = ["leaky_relu", "relu", "elu", "tanh", "linear"]


def gradients(y: Tensor, inputs: list[Tensor], upstream: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(y, inputs, upstream.to(y.dtype)))


def assert_same(got: Tensor, want: Tensor, eps: float = 2e-6) -> None:
    """Agreement to ``eps`` of the largest entry: float32 sums of terms of that size can do no better."""
    torch.testing.assert_close(
        got.double(), want.double(), rtol=0, atol=eps * max(1.0, float(want.detach().abs().max()))
    )


@pytest.mark.parametrize("signed", [False, True], ids=["positive", "signed"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_stack_and_gradients_equal_the_oracle(parametrization: str, activation: str, signed: bool) -> None:
    x, weights, biases = oracle.problem([13, 17, 11, 5], 7, parametrization=parametrization)
    signs = torch.tensor([1, -1, 0, 1, 1, 0, -1, -1, 1, 0, 1, -1, 1]) if signed else None
    inputs = [t.requires_grad_() for t in (x, *weights, *biases)]
    y = monotone_mlp(x, weights, biases, parametrization=parametrization, activation=activation, signs=signs)
    expected = oracle.stack(x, weights, biases, parametrization, activation, signs)
    assert_same(y, expected)
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    for got, want in zip(gradients(y, inputs, upstream), gradients(expected, inputs, upstream), strict=True):
        assert_same(got, want)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_one_layer_equals_the_oracle(activation: str) -> None:
    x, (weight,), (bias,) = oracle.problem([6, 4], 5)
    for b in (bias, None):
        y = monotone_linear(x, weight, b, activation=activation)
        expected = oracle.stack(x, [weight], [b], output_activation=activation)
        torch.testing.assert_close(y.double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("activation", ["leaky_relu", "elu", "tanh"])
def test_first_and_second_derivatives_are_exact(activation: str) -> None:
    x, weights, biases = oracle.problem([3, 4, 2], 3, torch.float64)

    def run(x: Tensor, *parameters: Tensor) -> Tensor:
        return monotone_mlp(x, parameters[:2], parameters[2:], activation=activation)

    inputs = [t.requires_grad_() for t in (x, *weights, *biases)]
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


def test_functorch_and_forward_mode_agree_with_reverse_mode() -> None:
    x, weights, biases = oracle.problem([5, 6, 3], 4, torch.float64)

    def run(x: Tensor) -> Tensor:
        return monotone_mlp(x, weights, biases)

    expected = torch.autograd.functional.jacobian(run, x)
    torch.testing.assert_close(torch.func.jacrev(run)(x), expected)
    torch.testing.assert_close(torch.func.jacfwd(run)(x), expected)
    torch.testing.assert_close(torch.func.vmap(run)(x), run(x))


def test_only_one_activation_is_saved_per_layer() -> None:
    x, weights, biases = oracle.problem([8, 32, 4], 16)
    saved: list[tuple[int, ...]] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append((t.data_ptr(), *t.shape)) or t, lambda t: t):
        monotone_mlp(x, [w.requires_grad_() for w in weights], biases)
    assert len({entry for entry in saved if entry[1:] == (16, 32)}) == 1


@pytest.mark.parametrize("shape", [(8,), (0, 8), (1, 8), (2, 0, 8), (2, 3, 8)], ids=str)
def test_leading_dimensions_are_kept(shape: tuple[int, ...]) -> None:
    _, weights, biases = oracle.problem([8, 5, 3], 1)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    y = monotone_mlp(x, weights, biases)
    assert y.shape == (*shape[:-1], 3)
    flat = oracle.stack(x.reshape(-1, 8), weights, biases)
    torch.testing.assert_close(y.reshape(-1, 3).double(), flat, rtol=1e-6, atol=1e-6)


def test_input_and_weights_are_left_alone() -> None:
    x, (weight,), _ = oracle.problem([6, 6], 4)
    before = x.clone(), weight.clone()
    monotone_linear(x, weight, parametrization="none", activation="relu")
    torch.testing.assert_close((x, weight), before, rtol=0, atol=0)


def test_strided_and_expanded_inputs_are_read_as_they_look() -> None:
    x, weights, biases = oracle.problem([8, 5, 3], 12)
    wide = torch.zeros(12, 16)
    wide[:, ::2] = x
    torch.testing.assert_close(monotone_mlp(wide[:, ::2], weights, biases), monotone_mlp(x, weights, biases))
    transposed = [w.T.contiguous().T for w in weights]
    torch.testing.assert_close(monotone_mlp(x, transposed, biases), monotone_mlp(x, weights, biases))
    expanded = monotone_mlp(x[:1].expand(12, 8), weights, biases)
    torch.testing.assert_close(expanded, monotone_mlp(x[:1], weights, biases).expand(12, 3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_and_16_bit_inputs_stay_in_the_float32_island(dtype: torch.dtype) -> None:
    x, weights, biases = oracle.problem([16, 32, 16], 8)
    expected = monotone_mlp(x, weights, biases)
    with torch.autocast("cpu", dtype):
        inside = monotone_mlp(x, weights, biases)
    torch.testing.assert_close(inside, expected, rtol=0, atol=0)
    low = monotone_mlp(x.to(dtype), weights, biases)
    torch.testing.assert_close(low, monotone_mlp(x.to(dtype).float(), weights, biases), rtol=0, atol=0)
    assert monotone_mlp(x, [w.to(dtype) for w in weights], biases).dtype == torch.float32


def test_float64_stays_float64() -> None:
    x, weights, biases = oracle.problem([4, 3], 2, torch.float64)
    assert monotone_mlp(x, weights, biases).dtype == torch.float64
    assert monotone_mlp(x, [w.float() for w in weights], biases).dtype == torch.float64


def test_effective_weight_follows_the_signs() -> None:
    weight = torch.tensor([[2.0, 2.0, -2.0]])
    torch.testing.assert_close(
        effective_weight(weight, "square", torch.tensor([1, -1, 0])), torch.tensor([[4.0, -4.0, -2.0]])
    )


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"x": torch.zeros(2, 9)}, ValueError, r"`weights\[0\]` must be \(outputs, 9\) since `x` has 9 features"),
        (
            {"x": torch.zeros(2, 8, dtype=torch.int64)},
            TypeError,
            "`x` must hold floating-point numbers; got torch.int64",
        ),
        ({"x": torch.tensor(1.0)}, ValueError, r"`x` must have shape \(..., features\); got a scalar"),
        ({"weights": []}, ValueError, "`weights` and `biases` must be as many, at least one; got 0 and 2"),
        ({"weights": [torch.zeros(5, 8), torch.zeros(3, 4)]}, ValueError, r"since the layer before has 5 features"),
        ({"biases": [torch.zeros(4), None]}, ValueError, r"`biases\[0\]` must have shape \(5,\); got \(4,\)"),
        ({"signs": torch.ones(7)}, ValueError, r"`signs` must have shape \(8,\); got \(7,\)"),
        ({"parametrization": "cube"}, ValueError, "`parametrization` must be one of 'square', .*; got 'cube'"),
        ({"activation": "gelu"}, ValueError, "`activation` must be one of 'leaky_relu', .*; got 'gelu'"),
        ({"backend": "cuda"}, ValueError, "`backend` must be one of 'auto', 'triton', 'torch'; got 'cuda'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_bad_arguments_are_named(change: dict[str, object], error: type[Exception], sentence: str) -> None:
    x, weights, biases = oracle.problem([8, 5, 3], 2)
    arguments = {"x": x, "weights": weights, "biases": biases, **change}
    with pytest.raises(error, match=sentence):
        monotone_mlp(**arguments)
