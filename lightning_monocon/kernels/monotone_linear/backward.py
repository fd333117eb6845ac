# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ANN001, ANN201, ANN202 (Triton's arguments have no Python types)
# mypy: disable-error-code="untyped-decorator, no-untyped-def"
r"""Triton kernels of the monotone layer's backward pass.

With dz the gradient at the layer's own pre-activation, (M, N), and x its input, (M, K):

    dx = dz V                 times phi'(x) where x is an earlier layer's output: that layer's dz, written at once
    dW = p'(W) * (dz^T x)     elementwise product
    db = column sums of dz

The caller multiplies the upstream gradient by the last layer's phi'; every other dz leaves `dx`'s epilogue. Rounding
is as in the forward pass: operands as ``DOT`` says, sums and factors in float32.

No atomics. A batch that is split over programs writes float32 partial sums into one slot per part, which
`finish_dw_kernel` adds in their order: equal bits from run to run for one configuration.
"""

from __future__ import annotations

import triton
import triton.language as tl

from lightning_monocon.kernels.monotone_linear.elementwise import (
    activation_slope,
    dot,
    narrow,
    positive,
    positive_slope,
    rounded,
    tile_of,
)


@triton.jit
def _dx_tile(
    pid, dz_ptr, w_ptr, s_ptr, x_ptr, dx_ptr, M, N, K, dz_stride, w_stride, x_stride,
    PARAM: tl.constexpr, ACT: tl.constexpr, DOT: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Write tile ``pid``, (BLOCK_M, BLOCK_K), of dx (contiguous); ACT is the activation that made x."""
    BLOCK_M: tl.constexpr = TILE[0]
    BLOCK_N: tl.constexpr = TILE[1]
    BLOCK_K: tl.constexpr = TILE[2]
    i_m, i_k = tile_of(pid, tl.cdiv(M, BLOCK_M), tl.cdiv(K, BLOCK_K))
    o_m = i_m * BLOCK_M + tl.arange(0, BLOCK_M).to(tl.int64)
    o_k = i_k * BLOCK_K + tl.arange(0, BLOCK_K).to(tl.int64)
    m_m = (o_m < M)[:, None]
    m_k = (o_k < K)[None, :]
    acc = tl.zeros((BLOCK_M, BLOCK_K), tl.float32)
    for n in range(0, N, BLOCK_N):
        o_n = n + tl.arange(0, BLOCK_N).to(tl.int64)
        m_n = o_n < N
        dz = tl.load(dz_ptr + o_m[:, None] * dz_stride + o_n[None, :], mask=m_m & m_n[None, :], other=0.0)
        p_w = w_ptr + o_n[:, None] * w_stride + o_k[None, :]
        w = tl.load(p_w, mask=m_n[:, None] & m_k, other=0.0).to(tl.float32)
        acc = dot(narrow(dz, DOT), narrow(positive(w, s_ptr, o_k, K, PARAM), DOT), acc, DOT)
    mask = m_m & m_k
    if ACT != "linear":
        x = tl.load(x_ptr + o_m[:, None] * x_stride + o_k[None, :], mask=mask, other=0.0).to(tl.float32)
        acc *= activation_slope(x, ACT)
    tl.store(dx_ptr + o_m[:, None] * K + o_k[None, :], rounded(acc, dx_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _dw_tile(
    pid, dz_ptr, x_ptr, w_ptr, s_ptr, dw_ptr, db_ptr, first, last, N, K, dz_stride, x_stride, w_stride,
    PARAM: tl.constexpr, DOT: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Write tile ``pid``, (BLOCK_N, BLOCK_K), of dW (contiguous) and its share of db, over rows first to last."""
    BLOCK_M: tl.constexpr = TILE[0]
    BLOCK_N: tl.constexpr = TILE[1]
    BLOCK_K: tl.constexpr = TILE[2]
    i_n, i_k = tile_of(pid, tl.cdiv(N, BLOCK_N), tl.cdiv(K, BLOCK_K))
    o_n = i_n * BLOCK_N + tl.arange(0, BLOCK_N).to(tl.int64)
    o_k = i_k * BLOCK_K + tl.arange(0, BLOCK_K).to(tl.int64)
    m_n = o_n < N
    m_k = (o_k < K)[None, :]
    acc = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
    db = tl.zeros((BLOCK_N,), tl.float32)
    for m in range(first, last, BLOCK_M):
        o_m = m + tl.arange(0, BLOCK_M).to(tl.int64)
        m_m = (o_m < last)[:, None]
        dz = tl.load(dz_ptr + o_m[:, None] * dz_stride + o_n[None, :], mask=m_m & m_n[None, :], other=0.0)
        x = tl.load(x_ptr + o_m[:, None] * x_stride + o_k[None, :], mask=m_m & m_k, other=0.0)
        acc = dot(tl.trans(narrow(dz, DOT)), narrow(x, DOT), acc, DOT)
        db += tl.sum(dz.to(tl.float32), 0)
    mask = m_n[:, None] & m_k
    if PARAM != "none":
        p_w = w_ptr + o_n[:, None] * w_stride + o_k[None, :]
        acc *= positive_slope(tl.load(p_w, mask=mask, other=0.0).to(tl.float32), s_ptr, o_k, K, PARAM)
    p_dw = dw_ptr + o_n[:, None] * K + o_k[None, :]
    tl.store(p_dw, rounded(acc, dw_ptr.dtype.element_ty), mask=mask)
    if i_k == 0:
        tl.store(db_ptr + o_n, db, mask=m_n)


@triton.jit
def monotone_dx_kernel(
    dz_ptr,  # (M, N)
    w_ptr,  # (N, K)
    s_ptr,  # (K,) or None
    x_ptr,  # (M, K)
    dx_ptr,  # (M, K), contiguous
    M,
    N,
    K,
    dz_stride,
    w_stride,
    x_stride,
    PARAM: tl.constexpr,
    ACT: tl.constexpr,
    DOT: tl.constexpr,
    TILE: tl.constexpr,
):
    """One program per tile of dx."""
    pid = tl.program_id(0)
    _dx_tile(pid, dz_ptr, w_ptr, s_ptr, x_ptr, dx_ptr, M, N, K, dz_stride, w_stride, x_stride, PARAM, ACT, DOT, TILE)


@triton.jit
def monotone_dw_kernel(
    dz_ptr,  # (M, N)
    x_ptr,  # (M, K)
    w_ptr,  # (N, K)
    s_ptr,  # (K,) or None
    dw_ptr,  # (parts, N, K), contiguous
    db_ptr,  # (parts, N), contiguous, float32
    M,
    N,
    K,
    rows,
    dz_stride,
    x_stride,
    w_stride,
    PARAM: tl.constexpr,
    DOT: tl.constexpr,
    TILE: tl.constexpr,
):
    """One program per tile of dW (axis 0) and part of ``rows`` rows (axis 1); several parts come with PARAM "none"."""
    part = tl.program_id(1)
    first = part * rows
    last = tl.minimum(first + rows, M)
    dw_ptr += part.to(tl.int64) * N * K
    db_ptr += part.to(tl.int64) * N
    pid = tl.program_id(0)
    _dw_tile(pid, dz_ptr, x_ptr, w_ptr, s_ptr, dw_ptr, db_ptr, first, last, N, K, dz_stride, x_stride, w_stride,
             PARAM, DOT, TILE)  # fmt: skip


@triton.jit
def finish_dw_kernel(
    parts_ptr,  # (PARTS, N, K), contiguous, float32
    sums_ptr,  # (PARTS, N), contiguous, float32
    w_ptr,  # (N, K)
    s_ptr,  # (K,) or None
    dw_ptr,  # (N, K), contiguous
    db_ptr,  # (N,)
    N,
    K,
    w_stride,
    PARTS: tl.constexpr,
    PARAM: tl.constexpr,
    TILE: tl.constexpr,
):
    """Add the parts in order and multiply by p'(W); one program per tile."""
    BLOCK_N: tl.constexpr = TILE[0]
    BLOCK_K: tl.constexpr = TILE[1]
    o_n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N).to(tl.int64)
    o_k = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K).to(tl.int64)
    m_n = o_n < N
    mask = m_n[:, None] & (o_k < K)[None, :]
    offsets = o_n[:, None] * K + o_k[None, :]
    acc = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
    db = tl.zeros((BLOCK_N,), tl.float32)
    height = tl.cast(N, tl.int64)  # a number of one row is a constant, which has no `to`
    for part in range(PARTS):
        acc += tl.load(parts_ptr + part * height * K + offsets, mask=mask, other=0.0)
        db += tl.load(sums_ptr + part * height + o_n, mask=m_n, other=0.0)
    if PARAM != "none":
        w = tl.load(w_ptr + o_n[:, None] * w_stride + o_k[None, :], mask=mask, other=0.0).to(tl.float32)
        acc *= positive_slope(w, s_ptr, o_k, K, PARAM)
    tl.store(dw_ptr + offsets, rounded(acc, dw_ptr.dtype.element_ty), mask=mask)
    if tl.program_id(1) == 0:
        tl.store(db_ptr + o_n, rounded(db, db_ptr.dtype.element_ty), mask=m_n)


@triton.jit
def monotone_bwd_kernel(
    dz_ptr,  # (M, N), contiguous
    x_ptr,  # (M, K)
    w_ptr,  # (N, K)
    s_ptr,  # (K,) or None
    dx_ptr,  # (M, K), contiguous
    dw_ptr,  # (N, K), contiguous
    db_ptr,  # (N,)
    M,
    N,
    K,
    x_stride,
    w_stride,
    PARAM: tl.constexpr,
    ACT: tl.constexpr,
    DOT: tl.constexpr,
    TILE: tl.constexpr,
):
    """Write everything in one launch, for batches that are bound by launches: programs of dx first, then of dW."""
    pid = tl.program_id(0)
    n_dx = tl.cdiv(M, TILE[0]) * tl.cdiv(K, TILE[2])
    if pid < n_dx:
        _dx_tile(pid, dz_ptr, w_ptr, s_ptr, x_ptr, dx_ptr, M, N, K, N, w_stride, x_stride,
                 PARAM, ACT, DOT, TILE)  # fmt: skip
    else:
        _dw_tile(pid - n_dx, dz_ptr, x_ptr, w_ptr, s_ptr, dw_ptr, db_ptr, 0, M, N, K, N, x_stride, w_stride,
                 PARAM, DOT, TILE)  # fmt: skip
