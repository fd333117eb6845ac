# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ANN001, ANN201 (Triton's arguments have no Python types)
# mypy: disable-error-code="untyped-decorator, no-untyped-def"
r"""What the monotone kernels do to single numbers, and their matrix product.

    p  = s g(w)  (w itself where s = 0)      g(w)  = w^2 | exp(w) | softplus(w) | |w|      `positive`
    dp = s g'(w) (1 where s = 0)             g'(w) = 2 w | exp(w) | sigmoid(w)  | sign(w)  `positive_slope`
    h  = phi(z)                              `activate`
    phi'(z) as a function of h = phi(z)      `activation_slope`: every phi is monotone, so h suffices and z is not kept

All arithmetic is float32; `dot` rounds its operands as ``DOT`` says and sums in float32. The constexpr strings are the
names of `lightning_monocon.kernels.monotone_linear.reference`, and of Triton's input precisions.
"""

from __future__ import annotations

import os

import triton
import triton.language as tl

from lightning_monocon.kernels.monotone_linear.reference import NEGATIVE_SLOPE

SLOPE = tl.constexpr(NEGATIVE_SLOPE)
GROUP = tl.constexpr(8)  # row tiles that share one pass over the columns, so that their operands stay in L2

# The interpreter truncates float32 to bfloat16 (`rounded` fixes it), holds bfloat16 as uint16 whose integers `tl.dot`
# then multiplies, and does not know the split bf16 precisions (`dot` widens and multiplies in float32).
INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET", "0") == "1")


@triton.jit
def positive(w, s_ptr, o_k, K, PARAM: tl.constexpr):
    """Return the effective weight of the tile ``w`` (float32), whose columns are ``o_k`` along its second axis."""
    if PARAM == "square":
        p = w * w
    elif PARAM == "exp":
        p = tl.exp(w)
    elif PARAM == "softplus":
        p = tl.maximum(w, 0.0) + log1p(tl.exp(-tl.abs(w)))
    elif PARAM == "abs":
        p = tl.abs(w)
    else:
        p = w
    if s_ptr is not None:
        s = tl.load(s_ptr + o_k, mask=o_k < K, other=1).to(tl.float32)[None, :]
        p = tl.where(s == 0.0, w, s * p)
    return p


@triton.jit
def positive_slope(w, s_ptr, o_k, K, PARAM: tl.constexpr):
    """Return the derivative of `positive` with respect to ``w``; 0 at 0 for the absolute value, as torch has it."""
    if PARAM == "square":
        d = 2.0 * w
    elif PARAM == "exp":
        d = tl.exp(w)
    elif PARAM == "softplus":
        d = 1.0 / (1.0 + tl.exp(-w))
    elif PARAM == "abs":
        d = tl.where(w > 0, 1.0, tl.where(w < 0, -1.0, 0.0))
    else:
        d = w * 0.0 + 1.0
    if s_ptr is not None:
        s = tl.load(s_ptr + o_k, mask=o_k < K, other=1).to(tl.float32)[None, :]
        d = tl.where(s == 0.0, 1.0, s * d)
    return d


@triton.jit
def log1p(e):
    """Return log(1 + e) for e >= 0 without losing small ``e`` (Kahan): a weight of 1e-8 must not become 0."""
    u = 1.0 + e
    return tl.where(u == 1.0, e, tl.log(u) * (e / tl.where(u == 1.0, 1.0, u - 1.0)))


@triton.jit
def activate(z, ACT: tl.constexpr):
    """Return phi(z)."""
    if ACT == "leaky_relu":
        z = tl.where(z > 0, z, z * SLOPE)
    elif ACT == "relu":
        z = tl.maximum(z, 0.0)
    elif ACT == "elu":
        z = tl.where(z > 0, z, tl.exp(tl.minimum(z, 0.0)) - 1.0)
    elif ACT == "tanh":
        e = tl.exp(-2.0 * tl.abs(z))
        t = (1.0 - e) / (1.0 + e)
        z = tl.where(z >= 0, t, -t)
    return z


@triton.jit
def activation_slope(h, ACT: tl.constexpr):
    """Return phi'(z) from h = phi(z); at 0 the left slope, as torch has it."""
    if ACT == "leaky_relu":
        d = tl.where(h > 0, 1.0, SLOPE)
    elif ACT == "relu":
        d = tl.where(h > 0, 1.0, 0.0)
    elif ACT == "elu":
        d = tl.where(h > 0, 1.0, h + 1.0)
    elif ACT == "tanh":
        d = 1.0 - h * h
    else:
        d = h * 0.0 + 1.0
    return d


@triton.jit
def rounded(a, dtype: tl.constexpr):
    """Return float32 ``a`` in ``dtype``, rounded to nearest, ties to even."""
    if INTERPRETED and dtype == tl.bfloat16:
        bits = a.to(tl.int32, bitcast=True)
        bits += 0x7FFF + ((bits >> 16) & 1)
        a = (bits & -0x10000).to(tl.float32, bitcast=True)
    return a.to(dtype)


@triton.jit
def narrow(a, DOT: tl.constexpr):
    """Return an operand in the type that ``DOT`` multiplies."""
    if DOT == "bf16":
        a = rounded(a.to(tl.float32), tl.bfloat16)
    elif DOT == "fp16":
        a = rounded(a.to(tl.float32), tl.float16)
    else:
        a = a.to(tl.float32)
    return a


@triton.jit
def dot(a, b, acc, DOT: tl.constexpr):
    """Return ``acc + a b`` for operands from `narrow`, summed in float32."""
    if INTERPRETED:
        acc = tl.dot(a.to(tl.float32), b.to(tl.float32), acc, input_precision="ieee")
    elif DOT == "bf16" or DOT == "fp16":
        acc = tl.dot(a, b, acc)
    else:
        acc = tl.dot(a, b, acc, input_precision=DOT)
    return acc


@triton.jit
def tile_of(pid, n_rows, n_columns):
    """Return the (row, column) of tile ``pid``: groups of GROUP row tiles, column by column."""
    first = pid // (GROUP * n_columns) * GROUP
    height = tl.minimum(n_rows - first, GROUP)
    inside = pid % (GROUP * n_columns)
    return first + inside % height, inside // height
