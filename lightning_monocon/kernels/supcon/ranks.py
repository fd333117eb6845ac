# SPDX-License-Identifier: Apache-2.0
"""Compute the loss of the rows of all ranks on Triton kernels. Imports Triton.

The ranks communicate between the passes over the tiles, so this is an autograd function and not one operator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_monocon.kernels.supcon import fused
from lightning_monocon.kernels.supcon.ops import refuse_second_derivative
from lightning_monocon.kernels.supcon.options import Options


class _AcrossRanks(torch.autograd.Function):
    """Differentiate the loss of the rows of all ranks."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, labels: Tensor, temperature: Tensor, options: Options) -> Tensor:  # noqa: ANN401
        loss, residuals = fused.forward(embeddings, labels, temperature, options)
        ctx.options = options
        ctx.save_for_backward(embeddings, temperature, *residuals)
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        by_embeddings, by_temperature = _across_ranks_gradient(grad, ctx.options, *ctx.saved_tensors)
        return by_embeddings, None, by_temperature, None


class _AcrossRanksGradient(torch.autograd.Function):
    """Run the backward pass as a function of its own, so that a second derivative raises."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        grad: Tensor,
        options: Options,
        embeddings: Tensor,
        temperature: Tensor,
        *residuals: Tensor,
    ) -> tuple[Tensor, Tensor]:
        by_embeddings, by_temperature = fused.backward(grad, temperature, fused.Residuals(*residuals), options)
        return by_embeddings.to(embeddings.dtype), by_temperature

    backward = staticmethod(refuse_second_derivative)


across_ranks: Callable[[Tensor, Tensor, Tensor, Options], Tensor] = _AcrossRanks.apply
_across_ranks_gradient: Callable[..., tuple[Tensor, Tensor]] = _AcrossRanksGradient.apply
