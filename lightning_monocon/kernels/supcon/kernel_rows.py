# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ANN001, ANN201
# mypy: disable-error-code="untyped-decorator, no-untyped-def"
# (Triton gives the arguments of a kernel their types)
"""Triton kernels of the supervised contrastive loss that work row by row; `kernel` has the tiles and the notation."""

from __future__ import annotations

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
SHORTEST = tl.constexpr(1e-12)
# bits of float32: the exponent, 1, and the smallest normal number
EXPONENT = tl.constexpr(0x7F800000)
ONE = tl.constexpr(0x3F800000)
TWICE_ONE = tl.constexpr(0x7F000000)  # exponents are biased: this less that of a power gives its inverse
SMALLEST_POWER = tl.constexpr(0x00800000)


@triton.jit
def unit_rows_kernel(y_ptr, z_ptr, r_ptr, D, y_stride, z_stride, BLOCK_D: tl.constexpr):
    """One program per row, which it first multiplies by a power of two, as `unit` does."""
    row = tl.program_id(0).to(tl.int64)
    peak = tl.zeros((BLOCK_D,), tl.float32)
    for first in range(0, D, BLOCK_D):
        column = first + tl.arange(0, BLOCK_D)
        y = tl.load(y_ptr + (row * y_stride + column), mask=column < D, other=0.0).to(tl.float32)
        peak = tl.maximum(peak, tl.abs(y))
    power = tl.max(peak).to(tl.int32, bitcast=True) & EXPONENT
    scale = tl.where(power == 0, ONE, tl.maximum(-(power - TWICE_ONE), SMALLEST_POWER)).to(tl.float32, bitcast=True)
    square = tl.zeros((BLOCK_D,), tl.float32)
    for first in range(0, D, BLOCK_D):
        column = first + tl.arange(0, BLOCK_D)
        y = tl.load(y_ptr + (row * y_stride + column), mask=column < D, other=0.0).to(tl.float32) * scale
        square += y * y
    length = tl.sqrt(tl.sum(square))
    r = 1.0 / tl.maximum(length, SHORTEST)
    for first in range(0, D, BLOCK_D):
        column = first + tl.arange(0, BLOCK_D)
        y = tl.load(y_ptr + (row * y_stride + column), mask=column < D, other=0.0).to(tl.float32) * scale
        tl.store(z_ptr + (row * z_stride + column), (y * r).to(z_ptr.dtype.element_ty), mask=column < D)
    tl.store(r_ptr + row, tl.where(length > SHORTEST, r, -r) * scale)


@triton.jit
def finish_kernel(
    slots_ptr, mean_positive_ptr, paired_ptr, temperature_ptr, loss_ptr, scale_ptr, share_ptr, M, SLOTS,
    LABELS: tl.constexpr, BOUNDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One program per BLOCK rows. Without LABELS the mean positive cosine and the 0/1 weight come from outside."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = i < M
    plane = tl.cast(M, tl.int64) * SLOTS
    peak = tl.zeros((BLOCK,), tl.float32)
    used: tl.constexpr = 1 if BOUNDED else 2
    if not BOUNDED:
        peak += -float("inf")
        for slot in range(SLOTS):
            at = slots_ptr + (plane + tl.cast(slot, tl.int64) * M + i)
            peak = tl.maximum(peak, tl.load(at, mask=mask, other=0.0))
    total = tl.zeros((BLOCK,), tl.float32)
    positive = tl.zeros((BLOCK,), tl.float32)
    count = tl.zeros((BLOCK,), tl.float32)
    for slot in range(SLOTS):
        at = slots_ptr + (tl.cast(slot, tl.int64) * M + i)
        part = tl.load(at, mask=mask, other=0.0)
        if not BOUNDED:
            part *= tl.exp2(tl.load(at + plane, mask=mask, other=0.0) - peak)
        total += part
        if LABELS:
            positive += tl.load(at + used * plane, mask=mask, other=0.0)
            count += tl.load(at + (used + 1) * plane, mask=mask, other=0.0)
    if not LABELS:
        positive = tl.load(mean_positive_ptr + i, mask=mask, other=0.0)
        count = tl.load(paired_ptr + i, mask=mask, other=0.0)
    counts = count > 0.5
    share = tl.where(counts, 1.0 / tl.maximum(count, 1.0), 0.0)
    log2_total = tl.log2(tl.where(counts, total, 1.0)) + peak
    loss = log2_total / LOG2_E - positive * share / tl.load(temperature_ptr)
    scale = tl.where(counts, log2_total, float("inf"))
    if BOUNDED:
        scale = tl.where(counts, 1.0 / tl.where(counts, total, 1.0), 0.0)
    tl.store(loss_ptr + i, tl.where(counts, loss, 0.0), mask=mask)
    tl.store(scale_ptr + i, scale, mask=mask)
    tl.store(share_ptr + i, share, mask=mask)


@triton.jit
def unit_rows_backward_kernel(
    dz_ptr, z_ptr, r_ptr, grad_ptr, temperature_ptr, averaged_ptr, dy_ptr, along_ptr, D, stride, factor,
    NORMALIZE: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One program per row: dy, and <dz, z> (M,), of which the gradient of the temperature is made."""
    row = tl.program_id(0).to(tl.int64)
    scale = factor * tl.load(grad_ptr) / (tl.load(temperature_ptr) * tl.load(averaged_ptr))
    along = tl.zeros((BLOCK_D,), tl.float32)
    for first in range(0, D, BLOCK_D):
        column = first + tl.arange(0, BLOCK_D)
        at = row * stride + column
        dz = tl.load(dz_ptr + at, mask=column < D, other=0.0)
        along += dz * tl.load(z_ptr + at, mask=column < D, other=0.0).to(tl.float32)
    total = tl.sum(along) * scale
    r = tl.load(r_ptr + row)
    for first in range(0, D, BLOCK_D):
        column = first + tl.arange(0, BLOCK_D)
        at = row * stride + column
        dy = tl.load(dz_ptr + at, mask=column < D, other=0.0) * scale
        if NORMALIZE:
            z = tl.load(z_ptr + at, mask=column < D, other=0.0).to(tl.float32)
            dy = (dy - tl.where(r > 0, total, 0.0) * z) * tl.abs(r)
        tl.store(dy_ptr + at, dy.to(dy_ptr.dtype.element_ty), mask=column < D)
    tl.store(along_ptr + row, total)
