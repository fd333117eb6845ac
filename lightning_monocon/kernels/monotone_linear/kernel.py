# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ANN001, ANN201 (Triton's arguments have no Python types)
# mypy: disable-error-code="untyped-decorator, no-untyped-def"
r"""Triton kernels of the monotone layer: forward, and the mapped weight.

Forward:   y = phi(x V^T + b),  V = p(W)      x: (M, K)   W: (N, K)   b: (N,) float32   y: (M, N)
Backward:  in `lightning_monocon.kernels.monotone_linear.backward`; it needs x, W and y, and nothing else is saved.

``x`` is rounded to the type that ``DOT`` names, ``V`` is mapped in float32 and then rounded; products are summed in
float32, bias and activation are applied there, and the result is rounded once, to the dtype of ``y``.

``V`` is recomputed: on load in every tile (no extra memory, each weight mapped once per row of tiles), or once per call
by `map_weight_kernel`, whose output is then read with ``PARAM="none"``. A cached copy would be stale after a graph
replay of the optimiser, which does not move a tensor's version counter.

Every offset is int64: a batch may hold more than 2^31 numbers. Strides count elements, and the last axis is contiguous.
"""

from __future__ import annotations

import triton
import triton.language as tl

from lightning_monocon.kernels.monotone_linear.elementwise import activate, dot, narrow, positive, rounded, tile_of


@triton.jit
def monotone_fwd_kernel(
    x_ptr,  # (M, K)
    w_ptr,  # (N, K)
    b_ptr,  # (N,)
    s_ptr,  # (K,) or None
    y_ptr,  # (M, N)
    M,
    N,
    K,
    x_stride,
    w_stride,
    y_stride,
    PARAM: tl.constexpr,
    ACT: tl.constexpr,
    DOT: tl.constexpr,
    TILE: tl.constexpr,
    SWAP: tl.constexpr,
):
    """One program per (BLOCK_M, BLOCK_N) tile of ``y``.

    SWAP makes the weight the product's left operand and the accumulator y^T: Hopper's wgmma reads a left operand from
    registers, so the mapped weight need not go back through shared memory.
    """
    BLOCK_M: tl.constexpr = TILE[0]
    BLOCK_N: tl.constexpr = TILE[1]
    BLOCK_K: tl.constexpr = TILE[2]
    i_m, i_n = tile_of(tl.program_id(0), tl.cdiv(M, BLOCK_M), tl.cdiv(N, BLOCK_N))
    o_m = i_m * BLOCK_M + tl.arange(0, BLOCK_M).to(tl.int64)
    o_n = i_n * BLOCK_N + tl.arange(0, BLOCK_N).to(tl.int64)
    m_m = o_m < M
    m_n = o_n < N
    p_x = x_ptr + o_m[:, None] * x_stride
    p_w = w_ptr + o_n[:, None] * w_stride
    if SWAP:
        acc = tl.zeros((BLOCK_N, BLOCK_M), tl.float32)
    else:
        acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for k in range(0, K, BLOCK_K):
        o_k = k + tl.arange(0, BLOCK_K).to(tl.int64)
        m_k = (o_k < K)[None, :]
        b_x = narrow(tl.load(p_x + o_k[None, :], mask=m_m[:, None] & m_k, other=0.0), DOT)
        w = tl.load(p_w + o_k[None, :], mask=m_n[:, None] & m_k, other=0.0)
        # A masked weight may map to something (exp(0) = 1): its input is 0.
        b_w = narrow(positive(w.to(tl.float32), s_ptr, o_k, K, PARAM), DOT)
        if SWAP:
            acc = dot(b_w, tl.trans(b_x), acc, DOT)
        else:
            acc = dot(b_x, tl.trans(b_w), acc, DOT)
    bias = tl.load(b_ptr + o_n, mask=m_n, other=0.0).to(tl.float32)
    if SWAP:
        y = activate(acc + bias[:, None], ACT)
        p_y = y_ptr + o_m[None, :] * y_stride + o_n[:, None]
        tl.store(p_y, rounded(y, y_ptr.dtype.element_ty), mask=m_m[None, :] & m_n[:, None])
    else:
        y = activate(acc + bias[None, :], ACT)
        p_y = y_ptr + o_m[:, None] * y_stride + o_n[None, :]
        tl.store(p_y, rounded(y, y_ptr.dtype.element_ty), mask=m_m[:, None] & m_n[None, :])


@triton.jit
def map_weight_kernel(
    w_ptr,  # (N, K)
    s_ptr,  # (K,) or None
    v_ptr,  # (N, K), contiguous
    N,
    K,
    w_stride,
    PARAM: tl.constexpr,
    TILE: tl.constexpr,
):
    """Write the effective weight V = p(W), rounded to the dtype of ``v``; one program per tile."""
    BLOCK_N: tl.constexpr = TILE[0]
    BLOCK_K: tl.constexpr = TILE[1]
    o_n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N).to(tl.int64)
    o_k = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K).to(tl.int64)
    mask = (o_n < N)[:, None] & (o_k < K)[None, :]
    w = tl.load(w_ptr + o_n[:, None] * w_stride + o_k[None, :], mask=mask, other=0.0).to(tl.float32)
    v = positive(w, s_ptr, o_k, K, PARAM)
    tl.store(v_ptr + o_n[:, None] * K + o_k[None, :], rounded(v, v_ptr.dtype.element_ty), mask=mask)
