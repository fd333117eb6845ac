# SPDX-License-Identifier: Apache-2.0
r"""Compute the supervised contrastive loss in plain torch, one tile of pairs at a time.

Rows z: (N, D) are the contrast set; the M anchors are the rows ``start : start + M`` (M = N on one rank).

Forward:   s_ij = z_i . z_j / T,   l_i = log sum_{j != i} exp s_ij
           loss = sum_i u_i (l_i - z_i . mu_i / T)                       u, mu: see `positives`
Backward:  A_ij = exp(s_ij) (a_i + a_j),   a_i = u_i exp(-l_i)           a row is anchor and contrast; s is symmetric
                = exp(s_ij - b_i) + exp(s_ij - b_j),   b_i = l_i - log u_i   if exp(s) might overflow float32
           dz_i = (g / T) (sum_{j != i} A_ij z_j - 2 u_i mu_i)
           dT   = -(1 / 2T) sum_i dz_i . z_i
Saved:     z (N, D), a or b (N,), u mu (M, D). The backward pass computes the tiles again. Nothing is N x N.

Cost:      N^2 D operations forward and 3 N^2 D backward, and one exponential per pair of rows in each pass, because s
           and A are symmetric.
Ranks:     each rank computes the tiles of its own anchors. The ranks exchange the rows and then one float per row, a
           or b, from which each computes the gradient of the *global* loss for its own rows; nothing is sent back. The
           gradient is multiplied by the number of ranks, because data-parallel training averages over ranks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.positives import anchor_terms
from lightning_monocon.kernels.supcon.tiles import PairTiles, denominators, repulsion
from lightning_monocon.kernels.supcon.unit import differentiable_rows

NO_SECOND_DERIVATIVE = (
    "The supervised contrastive loss has no second derivative: its backward pass recomputes what it needs and records "
    "nothing. Take first derivatives only, or write the dense formula for a small batch."
)


def supcon_streamed(embeddings: Tensor, labels: Tensor, temperature: Tensor, options: Options) -> Tensor:
    """Return the loss, differentiable once in the embeddings and the temperature.

    Reverse mode, forward mode and the transforms of `torch.func` work; a second derivative raises a RuntimeError.

    Args:
        embeddings: Embeddings of this rank, ``(M, D)``.
        labels: Their integer labels, ``(M,)``.
        temperature: T, 0-d, float32 or float64: the dtype of all arithmetic.
        options: The rules of the loss.

    Returns:
        The loss over the rows of all ranks, 0-d, the same on every rank.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        rows = differentiable_rows(embeddings, temperature.dtype, options.normalize)
    everyone = rows.detach() if options.gather is None else options.gather(rows)
    everyone_labels = labels if options.gather is None else options.gather(labels)
    return _supcon(rows, temperature, everyone, everyone_labels, options)[0]


def loss_and_residuals(
    anchors: Tensor, temperature: Tensor, rows: Tensor, labels: Tensor, options: Options
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss, a or b ``(N,)`` and u mu ``(M, D)``, without gradients; rows and labels are of all ranks."""
    with torch.autocast(rows.device.type, enabled=False):
        own = slice(options.start, options.start + len(anchors))
        terms = anchor_terms(rows, labels, own, options)
        sums = denominators(_pairs(anchors, rows, labels, temperature, options))
        weight = terms.weight
        pull = terms.mean_positive.mul_(weight.unsqueeze(1))
        counts = weight > 0
        log_sums = sums.log() if options.bounded else sums
        loss = torch.where(counts, weight * log_sums, 0).sum() - (anchors * pull).sum() / temperature
        scale = weight / sums if options.bounded else sums - weight.log()
        scale = torch.where(counts, scale, 0.0 if options.bounded else math.inf)
        if options.gather is not None:
            loss, scale = options.gather.sum(loss), options.gather(scale)
        return loss, scale, pull


def gradients(
    grad: Tensor,
    anchors: Tensor,
    temperature: Tensor,
    rows: Tensor,
    labels: Tensor,
    scale: Tensor,
    pull: Tensor,
    options: Options,
) -> tuple[Tensor, Tensor]:
    """Return (dz, dT), without gradients, from the arguments and results of `loss_and_residuals`."""
    with torch.autocast(rows.device.type, enabled=False):
        by_anchors = repulsion(_pairs(anchors, rows, labels, temperature, options), scale)
        by_anchors.sub_(pull, alpha=2).mul_(grad * options.ranks / temperature)
        return by_anchors, (by_anchors * anchors).sum() / (-2 * temperature)


def _pairs(anchors: Tensor, rows: Tensor, labels: Tensor, temperature: Tensor, options: Options) -> PairTiles:
    ignored = None if options.ignore_index is None else labels == options.ignore_index
    return PairTiles(anchors, rows, options.start, temperature, ignored, options.block_size, options.bounded)


class _SupCon(torch.autograd.Function):
    """Return (loss, a or b, u mu) of the anchors; only the loss is differentiable."""

    forward = staticmethod(loss_and_residuals)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:  # noqa: ANN401
        *tensors, ctx.options = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *output[1:])
        ctx.save_for_forward(*tensors, *output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        if grad is None:
            return None, None, None, None, None
        return *_gradient(grad, *ctx.saved_tensors, ctx.options), None, None, None

    @staticmethod
    def jvp(ctx: Any, anchors: Tensor | None, temperature: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        one = torch.ones_like(ctx.saved_tensors[1])
        by_anchors, by_temperature = _gradient(one, *ctx.saved_tensors, ctx.options)
        tangent = torch.zeros_like(one)
        if anchors is not None:
            tangent = tangent + (by_anchors * anchors).sum()
        if temperature is not None:
            tangent = tangent + by_temperature * temperature
        return tangent, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:  # noqa: ANN401
        return _one_by_one(_SupCon.apply, info.batch_size, in_dims, args)


class _SupConGradient(torch.autograd.Function):
    """Return (dz, dT), as a function of its own so that a second derivative raises instead of being zero."""

    forward = staticmethod(gradients)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:  # noqa: ANN401
        pass

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:  # noqa: ANN401
        raise RuntimeError(NO_SECOND_DERIVATIVE)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:  # noqa: ANN401
        return _one_by_one(_SupConGradient.apply, info.batch_size, in_dims, args)


_supcon: Callable[..., tuple[Tensor, Tensor, Tensor]] = _SupCon.apply
_gradient: Callable[..., tuple[Tensor, Tensor]] = _SupConGradient.apply


def _one_by_one(
    function: Callable[..., tuple[Tensor, ...]], size: int, in_dims: tuple[Any, ...], args: tuple[Any, ...]
) -> tuple[Any, Any]:
    """Run a function once per element of the mapped dimension, because vmap cannot batch tiles written in place."""
    calls = [
        function(*(arg if dim is None else arg.select(dim, k) for arg, dim in zip(args, in_dims, strict=True)))
        for k in range(size)
    ]
    outputs = tuple(torch.stack(parts) for parts in zip(*calls, strict=True))
    return outputs, (0,) * len(outputs)
