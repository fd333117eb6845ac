# SPDX-License-Identifier: Apache-2.0
"""Decide how a monotone stack is computed: by Triton kernels, plain torch, or oneDNN's product on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn.functional import linear

from lightning_monocon.kernels.dispatch import Backend, in_transform, is_gpu, use_triton
from lightning_monocon.kernels.monotone_linear import onednn, ops, reference
from lightning_monocon.kernels.monotone_linear.configurations import AUTO_FROM, MAX_WIDTH, SIXTEEN_BIT, Precision
from lightning_monocon.kernels.monotone_linear.reference import Plan

Biases = Sequence[Tensor | None]
_PLAIN, _EXACT = ("auto", "torch"), ("auto", "ieee")


def run(
    x: Tensor, weights: Sequence[Tensor], biases: Biases, plan: Plan, precision: Precision, backend: Backend
) -> Tensor:
    """Return the output of the stack, (..., N_L), for validated arguments."""
    # Flat rows: an in-place activation on a viewed product would make autograd copy it.
    rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
    accepted = _accepted_precision(x.device.type) if precision == "auto" else precision
    with _without_autocast(x.device.type):
        if _takes_kernels(rows, weights, biases, backend):
            y = _on_kernels(rows, weights, biases, plan, accepted)
        else:
            y = _on_torch(rows, weights, biases, plan, precision, backend)
    return y if x.ndim == 2 else y.reshape(*x.shape[:-1], y.shape[-1])


def run_small(
    x: Tensor, weights: Sequence[Tensor], biases: Biases, plan: Plan, precision: Precision, backend: Backend
) -> Tensor | None:
    """Return the output of a small stack on a CPU in little more time than its formula takes, else None.

    Small float32 layers take microseconds, and so does validating every argument. Here the products themselves raise
    if shapes do not match, and only what they would accept, a short bias or another device, is checked first. None
    means that `run` decides, or that the validation before it raises the error.
    """
    if not x.is_cpu or x.dtype != torch.float32 or x.ndim != 2 or plan.signs is not None:
        return None
    if backend not in _PLAIN or precision not in _EXACT or len(weights) != len(biases):
        return None
    if torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return None
    largest = onednn.SMALLEST_PRODUCT // (x.shape[0] or 1)
    for weight, bias in zip(weights, biases):  # noqa: B905 (as many, and `strict` costs)
        if not weight.is_cpu or weight.numel() >= largest:
            return None
        if bias is not None and (not bias.is_cpu or bias.shape != weight.shape[:1]):
            return None
    try:
        return _formula(x, weights, biases, plan) if weights else None
    except (RuntimeError, KeyError):
        return None


def _formula(x: Tensor, weights: Sequence[Tensor], biases: Biases, plan: Plan) -> Tensor:
    """Return the result of `reference.monotone_mlp` without signs and rounding, with as few calls as possible."""
    mapped, activate = reference.PARAMETRIZATIONS[plan.parametrization], reference.ACTIVATIONS_[plan.activation]
    for weight, bias in zip(weights[:-1], biases[:-1]):  # noqa: B905
        x = activate(linear(x, mapped(weight), bias))
    y = linear(x, mapped(weights[-1]), biases[-1])
    return y if plan.output_activation == "linear" else reference.ACTIVATIONS_[plan.output_activation](y)


def _takes_kernels(x: Tensor, weights: Sequence[Tensor], biases: Biases, backend: Backend) -> bool:
    """Return whether the Triton kernels are used; raise a ValueError if they are required but cannot be."""
    if backend == "torch" or (backend == "auto" and not is_gpu(x.device)):
        return False
    widths = [x.shape[1], *(weight.shape[0] for weight in weights)]
    if 0 in widths:
        return False
    if max(widths) > MAX_WIDTH:
        if backend == "triton":
            raise ValueError(
                f"`backend`='triton' serves layers up to {MAX_WIDTH} wide; got {max(widths)}. Pass backend='torch'."
            )
        return False
    wide = next((t for t in (x, *weights) if t.dtype == torch.float64), x)
    return use_triton("monotone_mlp", backend, AUTO_FROM, wide, *weights, *_given(biases))


def _on_kernels(x: Tensor, weights: Sequence[Tensor], biases: Biases, plan: Plan, precision: Precision) -> Tensor:
    full = [w.new_zeros(w.shape[0]) if b is None else b for w, b in zip(weights, biases, strict=True)]
    names = (plan.parametrization, plan.activation, plan.output_activation, precision)
    outputs: list[Tensor] = ops.monotone_mlp(x, list(weights), full, plan.signs, *names)
    return outputs[-1]


def _on_torch(
    x: Tensor, weights: Sequence[Tensor], biases: Biases, plan: Plan, precision: Precision, backend: Backend
) -> Tensor:
    """Run the reference, or oneDNN if it is faster, in float64 if an operand is, else in float32."""
    dtype = torch.float64 if torch.float64 in (x.dtype, *(weight.dtype for weight in weights)) else torch.float32
    rows, wide = _in(dtype, x), [_in(dtype, weight) for weight in weights]
    full = [None if bias is None else _in(dtype, bias) for bias in biases]
    if backend == "auto" and precision in ("auto", "ieee") and _fits_onednn(rows, wide, full):
        return onednn.run(rows, wide, _given(full), plan)
    return reference.monotone_mlp(rows, wide, full, plan, SIXTEEN_BIT.get(precision))


def _fits_onednn(x: Tensor, weights: list[Tensor], biases: Biases) -> bool:
    """Return whether oneDNN multiplies; compiled programs are left to their compiler."""
    if torch.compiler.is_compiling() or x.device.type != "cpu" or x.dtype != torch.float32:
        return False
    given = _given(biases)
    return len(given) == len(weights) and onednn.serves(x, weights) and not in_transform(x, *weights, *given)


def _in(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    """Return the tensor in ``dtype``; calling `Tensor.to` without need would cost a microsecond."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def _given(biases: Biases) -> list[Tensor]:
    return [bias for bias in biases if bias is not None]


def _accepted_precision(device_type: str) -> Precision:
    """Return the precision that the surrounding autocast accepts; sums and results stay float32.

    The range of float16 is too small for activations and scaled gradients; TF32 has its digits and float32's range.
    """
    if not torch.is_autocast_enabled(device_type):
        return "auto"
    return "bf16" if torch.get_autocast_dtype(device_type) == torch.bfloat16 else "tf32"


def _without_autocast(device_type: str) -> AbstractContextManager[object]:
    """Return a context without autocast, which adds nothing to an exported graph if autocast is off."""
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()
