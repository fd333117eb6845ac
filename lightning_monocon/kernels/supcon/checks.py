# SPDX-License-Identifier: Apache-2.0
"""Validate the arguments of the contrastive losses."""

from __future__ import annotations

import math
from typing import get_args

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_choice
from lightning_monocon.kernels.dispatch import Backend
from lightning_monocon.kernels.supcon.options import Singletons
from lightning_monocon.kernels.supcon.shapes import wide_dtype

SMALL_LENGTH = 1e-12
"""Length above which a row has a direction for certain; its squares do not vanish, in any dtype."""


def check_settings(
    temperature: float | Tensor, singletons: str, block_size: int | None, keep_bytes: int, backend: str
) -> None:
    """Raise a ValueError if an option of a loss is not valid."""
    check_choice("singletons", singletons, get_args(Singletons))
    check_choice("backend", backend, get_args(Backend))
    if block_size is not None and block_size < 1:
        raise ValueError(f"`block_size` must be at least 1, or None to let the device decide; got {block_size}.")
    if keep_bytes < 0:
        raise ValueError(f"`keep_bytes` must be at least 0; got {keep_bytes}. 0 keeps nothing from pass to pass.")
    check_temperature(temperature)


def check_temperature(temperature: float | Tensor) -> None:
    """Raise a ValueError or TypeError unless T is a positive number or a floating-point 0-d tensor."""
    if isinstance(temperature, Tensor):
        if temperature.ndim or not temperature.is_floating_point():
            raise ValueError(
                "`temperature` must be a number or a floating 0-d tensor; got a tensor of shape "
                f"{tuple(temperature.shape)} and dtype {temperature.dtype}."
            )
        if not values_are_at_hand(temperature):
            return
        temperature = float(temperature.detach())
    try:
        valid = math.isfinite(temperature) and temperature > 0
    except TypeError as error:
        raise TypeError(
            f"`temperature` must be a number or a floating 0-d tensor; got {temperature!r}. Pass 0.1."
        ) from error
    if not valid:
        raise ValueError(f"`temperature` must be positive and finite; got {temperature:g}. Usual are 0.05 to 0.5.")


def check_set(embeddings: Tensor, labels: Tensor, name: str = "embeddings", label_name: str = "labels") -> None:
    """Raise a ValueError or TypeError unless embeddings and labels are ``(N, D)`` rows and their N integers."""
    check_rows(embeddings, name)
    if labels.ndim != 1 or labels.shape[0] != embeddings.shape[0]:  # `len` would fix the size in an export
        raise ValueError(
            f"`{label_name}` must hold {len(embeddings)} integers, one per embedding; got shape {tuple(labels.shape)}."
        )
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"`{label_name}` must be integers; got {labels.dtype}. Cast class indices with `.long()`.")
    if labels.device != embeddings.device:
        raise ValueError(
            f"`{label_name}` must be on the embeddings' device, {embeddings.device}; got {labels.device}. "
            "Move them with `.to(embeddings.device)`."
        )


def check_rows(embeddings: Tensor, name: str) -> None:
    """Raise a ValueError or TypeError unless embeddings are ``(N, D)`` floating-point rows."""
    if embeddings.ndim != 2 or not embeddings.shape[1]:
        raise ValueError(f"`{name}` must be (N, D) with D at least 1; got shape {tuple(embeddings.shape)}.")
    if not embeddings.is_floating_point():
        raise TypeError(f"`{name}` must be floating; got {embeddings.dtype}. Cast them with `.float()`.")


def check_same_space(one: Tensor, other: Tensor, whose: str = "the anchors'", other_name: str = "contrast") -> None:
    """Raise a ValueError if two sets differ in dimensions or device."""
    if other.shape[1] != one.shape[1]:
        raise ValueError(f"`{other_name}` must have {whose} {one.shape[1]} dimensions; got shape {tuple(other.shape)}.")
    if other.device != one.device:
        raise ValueError(f"`{other_name}` must be on {whose} device, {one.device}; got {other.device}. Move one.")


def values_are_at_hand(tensor: Tensor) -> bool:
    """Return whether values may be read: on a CPU or in anomaly mode, outside of compilation and transforms."""
    if torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return False
    return tensor.is_cpu or torch.is_anomaly_enabled()


def check_values(embeddings: Tensor, normalize: bool, name: str = "embeddings", can_ignore: bool = True) -> None:
    """Raise a ValueError if a row is not finite, or has no direction although it is to be normalised."""
    rows = embeddings.detach()
    if len(rows) and _all_have_a_direction(rows):
        return
    peak = torch.maximum(rows.amax(1), -rows.amin(1))
    finite = peak.isfinite()
    if not finite.all():
        row = int(finite.logical_not().nonzero()[0])
        raise ValueError(
            f"`{name}` must be finite; {int(finite.logical_not().sum())} of {len(finite)} rows hold NaN or "
            f"infinity (row {row} is the first). A smaller learning rate, gradient clipping or bfloat16 instead of "
            "float16 usually helps."
        )
    # numbers below the smallest normal one have lost digits: a row of such numbers has no direction either
    short = peak < torch.finfo(wide_dtype(rows.dtype)).tiny
    if normalize and short.any():
        raise ValueError(
            f"`{name}` must have a length above zero to be normalised; {int(short.sum())} of {len(short)} "
            f"rows do not (row {int(short.nonzero()[0])} is the first). Drop those rows, "
            f"{'or give them `ignore_index` and a length, ' if can_ignore else ''}or pass normalize=False."
        )


def _all_have_a_direction(rows: Tensor) -> bool:
    """Return whether all rows are certain to be valid: a step on small rows would feel every further operation."""
    shortest, longest = torch.aminmax(torch.linalg.vector_norm(rows, dim=1))
    return float(shortest) > SMALL_LENGTH and math.isfinite(float(longest))  # NaN is neither
