# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: disable-error-code="untyped-decorator, no-untyped-def"
# (Triton gives the arguments of a kernel their types)
r"""Triton kernels of the supervised contrastive loss: tiles of pairs that never leave the chip.

Notation   z: (M, D) anchors, rows ``start : start + M`` of the N contrast rows; unit rows unless the caller says not.
           c_ij = z_i . z_j,  e_ij = exp(c_ij / T),  S_i = sum_{j != i} e_ij,  P(i) the positives of i.

Forward    `unit_rows`: z = y r, r = 1 / |y|; r = -1e12 for a row of zeros, which stays zero.
           `denominators`: one tile of c gives its rows their part of S, and with SYMMETRIC its columns too. Parts go
           to slots (tile, row), each written once, so no atomics and the same sum in every run.
           `finish`: slots summed in order -> loss_i = log S_i - mean_{P(i)} c / T, a_i = 1 / S_i, b_i = 1 / |P(i)|.
Backward   `weights`: a tile of A_ij = e_ij (a_i + a_j) - [y_i = y_j] 2 b_i, which a GEMM then multiplies by z (on a
           positive pair b_i = b_j, so b_j is not loaded). ROW counts i as anchor, COL as contrast.
           `unit_rows_backward`: dy = |r| (dz - <dz, z> z), without the projection where the length was clamped.

Variants   LABELS   positives by comparing labels in the tile; otherwise they come from class sums, outside.
           IGNORE   rows with id < 0 are in no pair.
           BOUNDED  |c / T| is small enough for exp without a shift. Otherwise slots hold a maximum too, `finish` gives
                    log2 S in the place of 1 / S (+inf for no weight), and a tile takes two exponentials.
Shapes     ids (M,), (N,) int32; a, b, r float32; slots (planes, tiles, M) float32: sum[, maximum][, positives, count],
           for as many anchors at a time as `launch.SLOT_BYTES` holds.
Saved      z, r, a, b. Everything of size M x N is computed again. Row indices are int32, offsets int64.
Precision  float16 z keeps eleven bits of numbers below one, as TF32 does; A is then scaled by 2^12 before it is rounded
           (|A| <= 2). float32 z multiplies by PRECISION ("tf32", "bf16x3" or "ieee").
"""

from __future__ import annotations

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _cosines(
    left_ptr, right_ptr, left, right, D, stride,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, EVEN_D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Return the inner products of rows `left` and `right`, (BLOCK_M, BLOCK_N) float32."""
    tile = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for first in range(0, D, BLOCK_D):
        column = first + tl.arange(0, BLOCK_D)
        left_at = left_ptr + (left[:, None] * stride + column[None, :])
        right_at = right_ptr + (right[:, None] * stride + column[None, :])
        if EVEN_D:
            a = tl.load(left_at)
            b = tl.load(right_at)
        else:
            a = tl.load(left_at, mask=column[None, :] < D, other=0.0)
            b = tl.load(right_at, mask=column[None, :] < D, other=0.0)
        tile = tl.dot(a, tl.trans(b), tile, input_precision=PRECISION)
    return tile


@triton.jit
def _write_side(
    slots_ptr, at, plane, mask, cosine, logit, weight, same, AXIS: tl.constexpr, LABELS: tl.constexpr,
    BOUNDED: tl.constexpr,
):  # fmt: skip
    """Reduce a tile over one axis into its slot of each plane."""
    if BOUNDED:
        tl.store(slots_ptr + at, tl.sum(weight, AXIS), mask=mask)
        used = 1
    else:
        peak = tl.max(logit, AXIS)
        shift = tl.where(peak == -float("inf"), 0.0, peak)
        tl.store(slots_ptr + at, tl.sum(tl.exp2(logit - tl.expand_dims(shift, AXIS)), AXIS), mask=mask)
        tl.store(slots_ptr + (at + plane), shift, mask=mask)
        used = 2
    if LABELS:
        tl.store(slots_ptr + (at + used * plane), tl.sum(tl.where(same, cosine, 0.0), AXIS), mask=mask)
        # a one made of the tile stays in its layout; a cast of `same` is reduced through shared memory
        count = tl.sum(tl.where(same, cosine * 0.0 + 1.0, 0.0), AXIS)
        tl.store(slots_ptr + (at + (used + 1) * plane), count, mask=mask)


@triton.jit
def denominators_kernel(
    anchors_ptr, rows_ptr, anchor_ids_ptr, row_ids_ptr, slots_ptr, temperature_ptr, M, N, D, stride, start,
    SYMMETRIC: tl.constexpr, LABELS: tl.constexpr, IGNORE: tl.constexpr, BOUNDED: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, EVEN_D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One program per tile (columns, rows); SYMMETRIC (anchors are all rows) works on and above the diagonal only."""
    j_tile = tl.program_id(0)
    i_tile = tl.program_id(1)
    wanted = True
    if SYMMETRIC:
        wanted = j_tile >= i_tile
    if wanted:
        i = i_tile * BLOCK_M + tl.arange(0, BLOCK_M)
        j = j_tile * BLOCK_N + tl.arange(0, BLOCK_N)
        left = tl.where(i < M, i, 0).to(tl.int64)
        right = tl.where(j < N, j, 0).to(tl.int64)
        cosine = _cosines(anchors_ptr, rows_ptr, left, right, D, stride, BLOCK_M, BLOCK_N, BLOCK_D, EVEN_D, PRECISION)
        pair = ((i + start)[:, None] != j[None, :]) & (i < M)[:, None] & (j < N)[None, :]
        same = pair
        if LABELS or IGNORE:
            i_id = tl.load(anchor_ids_ptr + left)
            j_id = tl.load(row_ids_ptr + right)
            if IGNORE:
                pair = pair & (i_id >= 0)[:, None] & (j_id >= 0)[None, :]
            same = pair & (i_id[:, None] == j_id[None, :])
        logit = cosine * (LOG2_E / tl.load(temperature_ptr))
        weight = logit
        if BOUNDED:
            weight = tl.where(pair, tl.exp2(logit), 0.0)
        else:
            logit = tl.where(pair, logit, -float("inf"))
        plane = tl.num_programs(0).to(tl.int64) * M
        _write_side(
            slots_ptr, j_tile.to(tl.int64) * M + i, plane, i < M, cosine, logit, weight, same, 1, LABELS, BOUNDED
        )
        if SYMMETRIC:
            if i_tile != j_tile:
                _write_side(
                    slots_ptr,
                    i_tile.to(tl.int64) * M + j,
                    plane,
                    j < N,
                    cosine,
                    logit,
                    weight,
                    same,
                    0,
                    LABELS,
                    BOUNDED,
                )


@triton.jit
def weights_kernel(
    anchors_ptr, rows_ptr, anchor_ids_ptr, row_ids_ptr, own_ptr, other_ptr, share_ptr, out_ptr, temperature_ptr,
    M, N, D, stride, out_stride, start,
    ROW: tl.constexpr, COL: tl.constexpr, LABELS: tl.constexpr, IGNORE: tl.constexpr, BOUNDED: tl.constexpr,
    SCALE: tl.constexpr, GROUP: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, EVEN_D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One program per tile of A SCALE, visited in groups of GROUP tile rows so that z stays in the cache."""
    program = tl.program_id(0)
    across = tl.cdiv(N, BLOCK_N)
    first = program // (GROUP * across) * GROUP
    height = tl.minimum(tl.cdiv(M, BLOCK_M) - first, GROUP)
    i = (first + program % (GROUP * across) % height) * BLOCK_M + tl.arange(0, BLOCK_M)
    j = program % (GROUP * across) // height * BLOCK_N + tl.arange(0, BLOCK_N)
    left = tl.where(i < M, i, 0).to(tl.int64)
    right = tl.where(j < N, j, 0).to(tl.int64)
    cosine = _cosines(anchors_ptr, rows_ptr, left, right, D, stride, BLOCK_M, BLOCK_N, BLOCK_D, EVEN_D, PRECISION)
    logit = cosine * (LOG2_E / tl.load(temperature_ptr))
    weight = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    if BOUNDED:
        if ROW:
            weight += (tl.load(own_ptr + left) * SCALE)[:, None]
        if COL:
            weight += (tl.load(other_ptr + right) * SCALE)[None, :]
        weight *= tl.exp2(logit)
    else:
        if ROW:
            weight += tl.exp2(logit - tl.load(own_ptr + left)[:, None])
        if COL:
            weight += tl.exp2(logit - tl.load(other_ptr + right)[None, :])
        weight *= SCALE
    pair = (i + start)[:, None] != j[None, :]
    if LABELS or IGNORE:
        i_id = tl.load(anchor_ids_ptr + left)
        j_id = tl.load(row_ids_ptr + right)
        if LABELS:
            share = tl.load(share_ptr + left) * ((ROW + COL) * SCALE)
            weight = tl.where(i_id[:, None] == j_id[None, :], weight - share[:, None], weight)
        if IGNORE:
            pair = pair & (i_id >= 0)[:, None] & (j_id >= 0)[None, :]
    weight = tl.where(pair, weight, 0.0)
    at = out_ptr + (i.to(tl.int64)[:, None] * out_stride + j[None, :])
    tl.store(at, weight.to(out_ptr.dtype.element_ty), mask=(i < M)[:, None] & (j < N)[None, :])
