# SPDX-License-Identifier: Apache-2.0
"""Validate the arguments of the monotone layer before a kernel runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from torch import Tensor

from lightning_monocon.functional.checks import check_choice
from lightning_monocon.kernels.dispatch import Backend
from lightning_monocon.kernels.monotone_linear.configurations import Precision
from lightning_monocon.kernels.monotone_linear.reference import ACTIVATIONS, PARAMETRIZATIONS, Plan

PRECISIONS: tuple[str, ...] = get_args(Precision)
BACKENDS: tuple[str, ...] = get_args(Backend)
_PARAMETRIZATIONS = tuple(PARAMETRIZATIONS)


def check_names(plan: Plan, precision: str, backend: str) -> None:
    """Raise a ValueError if a name is unknown."""
    check_choice("parametrization", plan.parametrization, _PARAMETRIZATIONS)
    check_choice("activation", plan.activation, ACTIVATIONS)
    check_choice("activation", plan.output_activation, ACTIVATIONS)
    check_choice("precision", precision, PRECISIONS)
    check_choice("backend", backend, BACKENDS)


def check_tensors(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], signs: Tensor | None) -> None:
    """Raise a TypeError or ValueError if dtypes, shapes or devices do not match."""
    if not x.is_floating_point():
        raise TypeError(f"`x` must hold floating-point numbers; got {x.dtype}. Use `x.float()`.")
    if not weights or len(weights) != len(biases):
        raise ValueError(f"`weights` and `biases` must be as many, at least one; got {len(weights)} and {len(biases)}.")
    if x.ndim == 0:
        raise ValueError("`x` must have shape (..., features); got a scalar.")
    width = x.shape[-1]
    if signs is not None and signs.shape != (width,):
        raise ValueError(f"`signs` must have shape ({width},); got {tuple(signs.shape)}.")
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
    _check_devices(x, weights, biases, signs)


def _check_devices(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], signs: Tensor | None) -> None:
    device = x.device
    for name, tensors in (("weights", weights), ("biases", biases), ("signs", (signs,))):
        for index, tensor in enumerate(tensors):
            if tensor is not None and tensor.device != device:
                place = name if name == "signs" else f"{name}[{index}]"
                raise ValueError(f"`{place}` must be on the device of `x`, {device}; got {tensor.device}. Move one.")
