# SPDX-License-Identifier: Apache-2.0
"""Provide the contrastive losses of pairs, CLIP's and SigLIP's, as modules.

Both validate their inputs, compute each score of a batch once, a tile at a time, and gather the rows of all ranks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lightning_monocon.distributed import RowGather, is_distributed
from lightning_monocon.kernels.pairs import clip, siglip
from lightning_monocon.kernels.supcon.checks import (
    check_rows,
    check_same_space,
    check_set,
    check_settings,
    check_temperature,
    check_values,
    values_are_at_hand,
)
from lightning_monocon.kernels.supcon.options import KEEP_BYTES, Options
from lightning_monocon.kernels.supcon.shapes import block_size as block_size_for

__all__ = ["ClipLoss", "PairsByLabel", "SigLipLoss"]


class _PairLoss(nn.Module):
    """Hold the validated options that the losses of pairs share."""

    def __init__(
        self,
        temperature: float | Tensor,
        normalize: bool,
        gather: bool,
        block_size: int | None,
        keep_bytes: int,
        backend: str,
    ) -> None:
        super().__init__()
        if backend == "triton":
            raise ValueError(
                f"`backend` must not be 'triton', for which {type(self).__name__} has no kernels; pass 'auto', and "
                "plain torch serves every device."
            )
        check_settings(temperature, "zero", block_size, keep_bytes, backend)
        self.temperature = temperature
        self.normalize = normalize
        self.gather = gather
        self.block_size = block_size
        self.keep_bytes = keep_bytes

    def _checked_options(self, first: Tensor, second: Tensor) -> Options:
        """Validate the two sides of a batch and return the options of the call."""
        check_rows(first, "first")
        check_rows(second, "second")
        check_same_space(first, second, "`first`'s", "second")
        if first.shape[0] != second.shape[0]:  # `len` would fix the size in an export
            raise ValueError(
                f"`second` must hold the partner of each row of `first`, {len(first)} rows; got {len(second)}. For "
                "rows with labels use CrossSupConLoss."
            )
        if values_are_at_hand(first) and values_are_at_hand(second):
            check_temperature(self.temperature)
            check_values(first, self.normalize, "first", can_ignore=False)
            check_values(second, self.normalize, "second", can_ignore=False)
        layout = RowGather(len(first), first.device) if self.gather and is_distributed() else None
        block_size = self.block_size or block_size_for(first.device)
        return Options(self.normalize, block_size=block_size, keep_bytes=self.keep_bytes, gather=layout)

    def extra_repr(self) -> str:
        """Return the arguments, as `repr` shows them."""
        return f"temperature={_shown(self.temperature)}, normalize={self.normalize}"


class ClipLoss(_PairLoss):
    r"""Compute CLIP's loss of pairs in both directions from one pass over their scores, in O(N (D + block)) memory.

    .. math::
        s_{ij} = \frac{f_i \cdot g_j}{T |f_i| |g_j|}, \quad
        L = -\frac1{2N} \sum_i \Big( \log \frac{e^{s_{ii}}}{\sum_j e^{s_{ij}}}
            + \log \frac{e^{s_{ii}}}{\sum_j e^{s_{ji}}} \Big)

    over N pairs of rows f_i and g_i, such as images and their captions (Radford et al. 2021, arXiv:2103.00020). It is
    the mean of InfoNCE in both directions, sentence-transformers' MultipleNegativesSymmetricRankingLoss. Each row has
    one positive, its partner; for several, or for a memory bank, use `CrossSupConLoss`. A pair that occurs twice in a
    batch is a negative of itself: leave repeats out.

    Each score is computed once for both directions, and the matrix of all scores is never stored, forward or backward.

    Under an initialised process group the batch is that of all ranks, which may hold different numbers of pairs. A rank
    computes the scores of its own first rows against all second rows. Every rank returns the loss of the global batch,
    and the average that DistributedDataParallel takes over ranks is its gradient.

    As input to ``forward`` the loss accepts:

    - ``first`` (Tensor): Floating-point, ``(N, D)``. The arithmetic is float64 for float64, else float32, under any
      autocast.
    - ``second`` (Tensor): Floating-point, ``(N, D)``, on the same device; row i is the partner of row i. If it needs no
      gradient (a frozen tower), its products are left out.

    As output it returns a 0-d loss. N = 0 gives zero, N = 1 zero to rounding, both with zero gradients. Values are
    checked as in `SupConLoss`. There are no second derivatives.

    Args:
        temperature: T > 0; CLIP starts at 0.07 and learns it. A 0-d tensor (for example an ``nn.Parameter``) is learnt.
        normalize: Scale both sides to unit length first.
        gather: Contrast against the batches of all ranks. With False, each rank uses its own batch only.
        block_size: Side of a tile of scores; None chooses one by device.
        keep_bytes: Most bytes of exponentials, of all scores, that a step on a CPU keeps for its backward pass, if the
            temperature is not below 1/40; others are computed again.
        backend: ``"auto"`` or ``"torch"``, which are the same: there are no Triton kernels for this loss.

    Raises:
        ValueError: If a shape or value is not valid, or an option is unknown.
        TypeError: If the rows are not floating-point.

    Example:
        >>> import torch
        >>> ClipLoss(temperature=1.0)(torch.eye(2), 3 * torch.eye(2))
        tensor(0.3133)
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.07,
        *,
        normalize: bool = True,
        gather: bool = True,
        block_size: int | None = None,
        keep_bytes: int = KEEP_BYTES,
        backend: str = "auto",
    ) -> None:
        super().__init__(temperature, normalize, gather, block_size, keep_bytes, backend)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the loss of ``(N, D)`` rows and their ``(N, D)`` partners, 0-d."""
        return clip(first, second, self.temperature, options=self._checked_options(first, second))


class SigLipLoss(_PairLoss):
    r"""Compute SigLIP's sigmoid loss of pairs, with its gradients in one pass over their scores, in O(N (D + block)).

    .. math::
        s_{ij} = \frac{f_i \cdot g_j}{T |f_i| |g_j|} + b, \quad
        L = -\frac1N \Big( \sum_i \log \sigma(s_{ii}) + \sum_{i \ne j} \log \sigma(-s_{ij}) \Big)

    over N pairs of rows f_i and g_i (Zhai et al. 2023, arXiv:2303.15343). Each score is judged by itself, so that no
    row waits for a sum over others: where gradients are needed the forward pass computes them, each score once.

    Shapes and ranks are those of `ClipLoss`; a batch without pairs gives zero, a single pair the loss of its score.

    Args:
        temperature: T > 0, the inverse of the paper's scale, which starts at 10. A 0-d tensor is learnt.
        bias: b, which starts at -10, because nearly all scores are those of wrong pairs. A 0-d tensor is learnt.
        normalize: Scale both sides to unit length first.
        gather: Judge the pairs of all ranks. With False, each rank uses its own batch only.
        block_size: Side of a tile of scores; None chooses one by device.
        backend: ``"auto"`` or ``"torch"``, which are the same: there are no Triton kernels for this loss.

    Raises:
        ValueError: If a shape or value is not valid, or an option is unknown.
        TypeError: If the rows are not floating-point.

    Example:
        >>> import torch
        >>> SigLipLoss(temperature=1.0, bias=0.0)(torch.eye(2), 3 * torch.eye(2))
        tensor(1.0064)
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.1,
        bias: float | Tensor = -10.0,
        *,
        normalize: bool = True,
        gather: bool = True,
        block_size: int | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__(temperature, normalize, gather, block_size, 0, backend)
        _check_bias(bias)
        self.bias = bias

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the loss of ``(N, D)`` rows and their ``(N, D)`` partners, 0-d."""
        options = self._checked_options(first, second)
        if values_are_at_hand(first):
            _check_bias(self.bias)
        return siglip(first, second, self.temperature, self.bias, options=options)

    def extra_repr(self) -> str:
        """Return the arguments, as `repr` shows them."""
        return f"{super().extra_repr()}, bias={_shown(self.bias)}"


class PairsByLabel(nn.Module):
    """Apply a loss of pairs to one set of rows, in which two rows with a label of their own are a pair.

    `MonoCon` hands its loss embeddings and labels. The batches of sentence pairs of this package number their pairs,
    so that this trains them with `ClipLoss` or `SigLipLoss`; in a configuration::

        loss:
          class_path: lightning_monocon.PairsByLabel
          init_args: {loss: {class_path: lightning_monocon.SigLipLoss}}

    Of the two rows the one that comes first is on the first side. The order of the pairs is that of their labels.

    As input to ``forward`` it accepts ``embeddings`` ``(2 N, D)`` and integer ``labels`` ``(2 N,)``; as output it
    returns what ``loss`` returns.

    Args:
        loss: Maps two sides ``(N, D)`` to a scalar.

    Raises:
        ValueError: If a label does not have two rows, or a shape is not valid. On a GPU the host waits for the labels.
        TypeError: If the labels are not integers.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 1.0], [3.0, 0.0]])
        >>> PairsByLabel(ClipLoss(temperature=1.0))(rows, torch.tensor([5, 7, 7, 5]))
        tensor(0.3133)
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of ``(2 N, D)`` embeddings whose ``(2 N,)`` labels name pairs, 0-d."""
        check_set(embeddings, labels)
        names, counts = torch.unique(labels, return_counts=True)
        odd = counts != 2
        if odd.any():
            raise ValueError(
                f"`labels` must name pairs, each by two rows; {int(odd.sum())} of {len(names)} labels have another "
                f"number of rows (label {int(names[odd][0])} has {int(counts[odd][0])}). Use SupConLoss for classes."
            )
        order = labels.argsort(stable=True)
        loss: Tensor = self.loss(embeddings[order[0::2]], embeddings[order[1::2]])
        return loss


def _check_bias(bias: float | Tensor) -> None:
    """Raise a ValueError or TypeError unless b is a finite number or a floating-point 0-d tensor."""
    if isinstance(bias, Tensor):
        if bias.ndim or not bias.is_floating_point():
            raise ValueError(
                f"`bias` must be a number or a floating 0-d tensor; got a tensor of shape {tuple(bias.shape)} and "
                f"dtype {bias.dtype}. Pass nn.Parameter(torch.tensor(-10.0)) to learn it."
            )
        if not values_are_at_hand(bias):
            return
        bias = float(bias.detach())
    try:
        finite = math.isfinite(bias)
    except TypeError as error:
        raise TypeError(
            f"`bias` must be a number or a floating 0-d tensor; got {bias!r}. Pass -10.0, as SigLIP does."
        ) from error
    if not finite:
        raise ValueError(f"`bias` must be finite; got {bias}. SigLIP starts at -10.")


def _shown(value: float | Tensor) -> float | str:
    return "learnt" if isinstance(value, Tensor) else value
