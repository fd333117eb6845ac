# SPDX-License-Identifier: Apache-2.0
"""The monotone layer and its stack: validation, the float32 island, and the one switch between backends."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch
from torch import Tensor

from lightning_monocon.kernels.monotone_linear import reference
from lightning_monocon.kernels.monotone_linear.reference import Activation, Parametrization, Plan, effective_weight

__all__ = [
    "Activation",
    "Backend",
    "Parametrization",
    "check_choice",
    "effective_weight",
    "monotone_linear",
    "monotone_mlp",
]

Backend = Literal["auto", "triton", "torch"]


def monotone_mlp(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    *,
    parametrization: Parametrization = "square",
    signs: Tensor | None = None,
    activation: Activation = "leaky_relu",
    backend: Backend = "auto",
) -> Tensor:
    r"""Return the output of a stack of monotone layers, in float32 at least.

    Every layer computes ``phi(z V^T + b)`` with ``V = g(W)`` elementwise non-negative (see
    `lightning_monocon.kernels.monotone_linear.reference`); the last has no activation.

    The result is a *float32 island*: it is computed and returned in float64 where an input is float64, else in
    float32, whatever autocast says and whatever the 16-bit dtype of ``x`` or of the weights. A head with the
    reference initialisation spreads its outputs over 1e-4 of their length, below the step of bfloat16 (4e-3).

    Args:
        x: (..., K), floating.
        weights: Raw weights, one (N_l, N_{l-1}) per layer, N_0 = K.
        biases: One (N_l,) or None per layer.
        parametrization: ``g``, one of ``"square"``, ``"exp"``, ``"softplus"``, ``"abs"`` or ``"none"`` (free weights).
        signs: Direction of each input feature, (K,) of +1, -1 and 0 (free); None means all +1.
        activation: ``phi``, one of ``"leaky_relu"``, ``"relu"``, ``"elu"``, ``"tanh"``, ``"linear"``.
        backend: ``"auto"`` takes the faster one, ``"torch"`` the plain path, ``"triton"`` the kernels.

    Returns:
        (..., N_L).

    Raises:
        ValueError: A name is unknown or shapes do not fit.
        TypeError: A tensor is not floating.

    Example:
        >>> x = torch.tensor([[1.0, -2.0]])
        >>> monotone_mlp(x, [torch.tensor([[2.0, 1.0]])], [torch.tensor([0.5])])
        tensor([[2.5000]])
    """
    return _stack(x, weights, biases, Plan(parametrization, activation, "linear", signs), backend)


def monotone_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    parametrization: Parametrization = "square",
    signs: Tensor | None = None,
    activation: Activation = "linear",
    backend: Backend = "auto",
) -> Tensor:
    """Return one monotone layer's output ``phi(x V^T + b)``: arguments and rules as in `monotone_mlp`.

    Example:
        >>> monotone_linear(torch.tensor([3.0]), torch.tensor([[-2.0]]), signs=torch.tensor([-1]))
        tensor([-12.])
    """
    return _stack(x, [weight], [bias], Plan(parametrization, "linear", activation, signs), backend)


def _stack(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], plan: Plan, backend: Backend
) -> Tensor:
    """Validate, flatten the leading dimensions, and run the stack in the island's dtype."""
    check_choice("parametrization", plan.parametrization, tuple(reference.PARAMETRIZATIONS))
    check_choice("activation", plan.activation, reference.ACTIVATIONS)
    check_choice("activation", plan.output_activation, reference.ACTIVATIONS)
    check_choice("backend", backend, get_args(Backend))
    _check_shapes(x, weights, biases, plan.signs)
    if backend == "triton":
        raise RuntimeError('`backend="triton"` is not available in this version; use "auto" or "torch".')
    dtype = _island_dtype(x, weights)
    # Flat rows: an in-place activation on a viewed product would make autograd copy it.
    rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
    with _without_autocast(x.device.type):
        y = reference.monotone_mlp(
            rows.to(dtype),
            [weight.to(dtype) for weight in weights],
            [None if bias is None else bias.to(dtype) for bias in biases],
            plan,
        )
    return y if x.ndim == 2 else y.reshape(*x.shape[:-1], y.shape[-1])


def _island_dtype(x: Tensor, weights: Sequence[Tensor]) -> torch.dtype:
    """Return float64 where ``x`` or a weight is float64, else float32."""
    return torch.float64 if torch.float64 in (x.dtype, *(weight.dtype for weight in weights)) else torch.float32


def _without_autocast(device_type: str) -> AbstractContextManager[object]:
    """Switch autocast off where it is on; elsewhere add nothing, so that an exported graph stays plain."""
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def check_choice(argument: str, value: str, known: Sequence[str]) -> None:
    """Raise a ValueError that lists the ``known`` names where ``value`` is none of them."""
    if value not in known:
        raise ValueError(f"`{argument}` must be one of {', '.join(map(repr, known))}; got {value!r}.")


def _check_shapes(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], signs: Tensor | None) -> None:
    if not x.is_floating_point():
        raise TypeError(f"`x` must hold floating-point numbers; got {x.dtype}. Use `x.float()`.")
    if not weights or len(weights) != len(biases):
        raise ValueError(f"`weights` and `biases` must be as many, at least one; got {len(weights)} and {len(biases)}.")
    if x.ndim == 0:
        raise ValueError("`x` must have shape (..., features); got a scalar.")
    width = x.shape[-1]
    if signs is not None and signs.shape != (width,):
        raise ValueError(f"`signs` must have shape ({width},), one per feature; got {tuple(signs.shape)}.")
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if weight.ndim != 2 or weight.shape[1] != width:
            source = "`x` has" if index == 0 else "the layer before has"
            raise ValueError(
                f"`weights[{index}]` must be (outputs, {width}) since {source} {width} features; "
                f"got shape {tuple(weight.shape)}."
            )
        width = weight.shape[0]
        if bias is not None and bias.shape != (width,):
            raise ValueError(f"`biases[{index}]` must have shape ({width},); got {tuple(bias.shape)}.")
