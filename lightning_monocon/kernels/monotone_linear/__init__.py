# SPDX-License-Identifier: Apache-2.0
"""Compute the monotone layer and stacks of it.

The results are *float32 islands*: they are summed and returned in float64 if an input is float64, else in float32,
under any autocast and for any 16-bit dtype of the inputs or of the weights. A head with the reference initialisation
spreads its outputs over 1e-4 of their length, less than the step of bfloat16 (4e-3): rounding the output halves its
nearest-neighbour accuracy, while rounding the operands of the products does not change it.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lightning_monocon.kernels.dispatch import Backend
from lightning_monocon.kernels.monotone_linear.checks import check_names, check_tensors
from lightning_monocon.kernels.monotone_linear.configurations import Precision
from lightning_monocon.kernels.monotone_linear.reference import Activation, Parametrization, Plan, effective_weight
from lightning_monocon.kernels.monotone_linear.switch import run, run_small

__all__ = [
    "Activation",
    "Backend",
    "Parametrization",
    "Precision",
    "effective_weight",
    "monotone_linear",
    "monotone_mlp",
]


def monotone_mlp(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    *,
    parametrization: Parametrization = "square",
    signs: Tensor | None = None,
    activation: Activation = "leaky_relu",
    precision: Precision = "auto",
    backend: Backend = "auto",
) -> Tensor:
    r"""Return the output of a stack of monotone layers, in float32 at least.

    Every layer computes ``phi(z V^T + b)`` with ``V = g(W)`` elementwise non-negative (see
    `lightning_monocon.kernels.monotone_linear.reference`); the last has no activation.

    Args:
        x: Floating-point inputs, (..., K).
        weights: Raw weights, one (N_l, N_{l-1}) per layer, N_0 = K.
        biases: One (N_l,) or None per layer.
        parametrization: ``g``, one of ``"square"``, ``"exp"``, ``"softplus"``, ``"abs"`` or ``"none"`` (free weights).
        signs: Direction of each input feature, (K,) of +1, -1 and 0 (free); None means all +1.
        activation: ``phi``, one of ``"leaky_relu"``, ``"relu"``, ``"elu"``, ``"tanh"``, ``"linear"``.
        precision: How numbers are multiplied; sums are float32. ``"auto"`` follows
            `torch.set_float32_matmul_precision`, and under 16-bit autocast the kernels then round operands to bfloat16,
            or to TF32 if autocast is float16. ``"bf16"`` and ``"fp16"`` round both operands of every product. The rest
            apply to the kernels: ``"ieee"``, ``"bf16x6"`` (as accurate as float32), ``"bf16x3"`` and ``"tf32"``.
        backend: ``"auto"`` takes the faster implementation, ``"torch"`` plain torch, ``"triton"`` the kernels, which
            have no second derivative. Inside `torch.func` transforms and in forward mode all take plain torch.

    Returns:
        (..., N_L).

    Raises:
        ValueError: If a name is unknown, shapes or devices do not match, or ``backend="triton"`` does not support them.
        TypeError: If ``x`` is not a floating-point tensor.
        RuntimeError: If ``backend="triton"`` and Triton is not installed.

    Example:
        >>> import torch
        >>> monotone_mlp(torch.tensor([[1.0, -2.0]]), [torch.tensor([[2.0, 1.0]])], [torch.tensor([0.5])])
        tensor([[2.5000]])
    """
    plan = Plan(parametrization, activation, "linear", signs)
    small = run_small(x, weights, biases, plan, precision, backend)
    if small is not None:
        return small
    check_names(plan, precision, backend)
    check_tensors(x, weights, biases, signs)
    return run(x, weights, biases, plan, precision, backend)


def monotone_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    parametrization: Parametrization = "square",
    signs: Tensor | None = None,
    activation: Activation = "linear",
    precision: Precision = "auto",
    backend: Backend = "auto",
) -> Tensor:
    """Return the output ``phi(x V^T + b)`` of one monotone layer; the arguments are those of `monotone_mlp`.

    Example:
        >>> import torch
        >>> monotone_linear(torch.tensor([3.0]), torch.tensor([[-2.0]]), signs=torch.tensor([-1]))
        tensor([-12.])
    """
    plan = Plan(parametrization, "linear", activation, signs)
    small = run_small(x, [weight], [bias], plan, precision, backend)
    if small is not None:
        return small
    check_names(plan, precision, backend)
    check_tensors(x, [weight], [bias], signs)
    return run(x, [weight], [bias], plan, precision, backend)
