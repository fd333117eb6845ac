# SPDX-License-Identifier: Apache-2.0
"""The supervised contrastive losses as modules: validation and the ranks; the arithmetic is in `kernels.supcon`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_monocon.functional.gather import RowGather, is_distributed
from lightning_monocon.kernels.cross_supcon import cross_supcon
from lightning_monocon.kernels.dispatch import Backend
from lightning_monocon.kernels.supcon import supcon
from lightning_monocon.kernels.supcon.checks import (
    check_same_space,
    check_set,
    check_settings,
    check_temperature,
    check_values,
    values_are_at_hand,
)
from lightning_monocon.kernels.supcon.options import Options, Singletons
from lightning_monocon.kernels.supcon.shapes import block_size as block_size_for

__all__ = ["CrossSupConLoss", "NestedSupConLoss", "SupConLoss"]

SMALLEST_PREFIX = 4
"""Where the default prefixes begin: below it a cosine has too few directions to tell classes apart."""


class SupConLoss(nn.Module):
    r"""Supervised contrastive loss, exact and in O(N (D + block)) memory.

    .. math::
        f_i = e_i / |e_i|, \quad s_{ij} = f_i \cdot f_j / T, \quad P(i) = \{j \ne i : y_j = y_i\}

        L = -\frac1N \sum_i \frac1{|P(i)|} \sum_{p \in P(i)} \Big( s_{ip} - \log \sum_{j \ne i} e^{s_{ij}} \Big)

    Khosla et al. 2020 (arXiv:2004.11362), equation 2. With labels ``0 .. B-1`` twice over it is NT-Xent. No matrix
    of all pairs is stored, forward or backward, and the 1e-9 that the reference implementation adds inside the
    logarithm is left out: the two agree to 1e-5 at T = 0.1 and part at small T, where 1e-9 is not small.

    Under an initialised process group the contrast set is the batch of all ranks, uneven ranks included. Every rank
    returns the loss of the global batch, and its gradient is scaled so that the average which
    DistributedDataParallel takes over ranks is the gradient of one rank with the whole batch.

    As input to ``forward`` the loss accepts:

    - ``embeddings`` (Tensor): floating, ``(N, D)``. The arithmetic is float32 under any autocast and for
      half-precision input, float64 for float64.
    - ``labels`` (Tensor): integers of any sign, ``(N,)``, on the same device.

    As output it returns a 0-d loss, float32, or float64 for float64 embeddings. N = 0 and N = 1 give zero with zero
    gradients. First derivatives only.

    Values (NaN, infinities, zero length, a temperature that is not positive) are checked on the CPU. On another
    device reading them would make the host wait in every step: they are checked there only under
    ``torch.autograd.set_detect_anomaly(True)``; without it a NaN reaches the loss.

    Args:
        temperature: T > 0. A 0-d tensor (an ``nn.Parameter``, say) is learnt.
        normalize: Bring the embeddings to unit length first. Without it the logits are raw inner products over T.
        singletons: An anchor without a positive counts as ``"zero"`` in the mean over all anchors (as the reference
            implementation does), is left out of the mean by ``"skip"``, or raises with ``"error"`` (which waits for
            the device).
        ignore_index: Rows with this label take no part, neither as anchor nor as positive nor in a denominator.
        gather: Contrast against the batches of all ranks. False keeps each rank to itself.
        block_size: Side of a tile of pairs; None chooses by device.
        backend: ``"auto"`` takes the Triton kernels on a GPU and from a size where they are known to be no slower, and
            plain torch elsewhere; ``"triton"`` insists on the kernels; ``"torch"`` does without.

    Raises:
        ValueError: On a wrong shape, a value outside its rule, labels on another device, or an unknown option.
        TypeError: On embeddings that are not floating or labels that are not integers.

    Example:
        >>> import torch
        >>> loss = SupConLoss(temperature=0.5)
        >>> loss(torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, 1.0]]), torch.tensor([0, 0, 1, 1]))
        tensor(0.2395)
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.1,
        *,
        normalize: bool = True,
        singletons: Singletons = "zero",
        ignore_index: int | None = None,
        gather: bool = True,
        block_size: int | None = None,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        check_settings(temperature, singletons, block_size, backend)
        self.temperature = temperature
        self.normalize = normalize
        self.singletons: Singletons = singletons
        self.ignore_index = ignore_index
        self.gather = gather
        self.block_size = block_size
        self.backend: Backend = backend

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of ``(N, D)`` embeddings with ``(N,)`` labels, 0-d."""
        check_set(embeddings, labels)
        if values_are_at_hand(embeddings):
            check_temperature(self.temperature)
            check_values(embeddings, self.normalize)
        layout = RowGather(len(embeddings), embeddings.device) if self.gather and is_distributed() else None
        return supcon(
            embeddings,
            labels,
            self.temperature,
            normalize=self.normalize,
            singletons=self.singletons,
            ignore_index=self.ignore_index,
            gather=layout,
            block_size=self.block_size,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """Return the arguments, as `repr` shows them."""
        return _arguments(self)


class CrossSupConLoss(nn.Module):
    r"""Supervised contrastive loss of anchors against another set, exact and in O((M + N) D) memory.

    .. math::
        s_{ij} = \frac{f_i \cdot g_j}{T |f_i| |g_j|}, \quad P(i) = \{j : y_j = y_i\}, \quad
        L = -\frac1M \sum_i \frac1{|P(i)|} \sum_{p \in P(i)} \Big( s_{ip} - \log \sum_j e^{s_{ij}} \Big)

    over anchors f_i (M of them) and a contrast set g_j (N), each with labels of its own: two views or modalities, or
    a batch against a memory bank. With labels ``0 .. M-1`` on both sides it is InfoNCE in one direction (van den Oord
    et al. 2018, arXiv:1807.03748; one half of CLIP's loss). Unlike `SupConLoss` no pair is left out: an anchor
    that is also in the contrast set is its own positive.

    Both sets get gradients. A contrast set that does not require one (a bank) costs a third less backward.

    Each rank keeps to its own two sets. To contrast against those of all ranks, pass
    ``gather_rows(contrast)`` and ``gather_rows(contrast_labels)`` (`lightning_monocon.functional.gather`) on every
    rank: the average that DistributedDataParallel takes is then the gradient of the mean of the ranks' losses, and
    nothing is to be multiplied by the number of ranks. With M anchors on every rank that mean is the loss of all
    anchors; where M differs, multiply each rank's loss by ``M`` over the mean of M first.

    As input to ``forward`` the loss accepts:

    - ``anchors`` (Tensor): floating, ``(M, D)``. The arithmetic is float32 under any autocast and for half-precision
      input, float64 for float64.
    - ``contrast`` (Tensor): floating, ``(N, D)``, on the same device.
    - ``anchor_labels`` (Tensor): integers of any sign, ``(M,)``, on the same device.
    - ``contrast_labels`` (Tensor): integers, ``(N,)``, on the same device.

    As output it returns a 0-d loss, float32, or float64 for float64 anchors. M = 0 or N = 0 give zero with zero
    gradients. First derivatives only. Values are checked as `SupConLoss` does.

    Args:
        temperature: T > 0. A 0-d tensor (an ``nn.Parameter``, say) is learnt.
        normalize: Bring both sets to unit length first.
        singletons: An anchor without a positive counts as ``"zero"`` in the mean over all anchors, is left out of the
            mean by ``"skip"``, or raises with ``"error"`` (which waits for the device).
        ignore_index: Rows of either set with this label take no part.
        block_size: Side of a tile of pairs; None chooses by device.
        backend: ``"auto"``, ``"triton"`` or ``"torch"``, as for `SupConLoss`.

    Raises:
        ValueError: On a wrong shape, a value outside its rule, tensors on several devices, or an unknown option.
        TypeError: On embeddings that are not floating or labels that are not integers.

    Example:
        >>> import torch
        >>> loss = CrossSupConLoss(temperature=1.0)
        >>> loss(torch.eye(2), 3 * torch.eye(2), torch.tensor([4, 7]), torch.tensor([4, 7]))
        tensor(0.3133)
    """

    def __init__(
        self,
        temperature: float | Tensor = 0.1,
        *,
        normalize: bool = True,
        singletons: Singletons = "zero",
        ignore_index: int | None = None,
        block_size: int | None = None,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        check_settings(temperature, singletons, block_size, backend)
        self.temperature = temperature
        self.normalize = normalize
        self.singletons: Singletons = singletons
        self.ignore_index = ignore_index
        self.block_size = block_size
        self.backend: Backend = backend

    def forward(self, anchors: Tensor, contrast: Tensor, anchor_labels: Tensor, contrast_labels: Tensor) -> Tensor:
        """Return the loss of ``(M, D)`` anchors among ``(N, D)`` contrast rows, 0-d."""
        check_set(anchors, anchor_labels, "anchors", "anchor_labels")
        check_set(contrast, contrast_labels, "contrast", "contrast_labels")
        check_same_space(anchors, contrast)
        if values_are_at_hand(anchors) and values_are_at_hand(contrast):
            check_temperature(self.temperature)
            check_values(anchors, self.normalize, "anchors")
            check_values(contrast, self.normalize, "contrast")
        options = Options(
            normalize=self.normalize,
            singletons=self.singletons,
            ignore_index=self.ignore_index,
            block_size=self.block_size or block_size_for(anchors.device),
        )
        labels = anchor_labels, contrast_labels
        return cross_supcon(anchors, contrast, *labels, self.temperature, options=options, backend=self.backend)

    def extra_repr(self) -> str:
        """Return the arguments, as `repr` shows them."""
        return _arguments(self)


class NestedSupConLoss(nn.Module):
    r"""Mean of `SupConLoss` over the first :math:`k_1 < k_2 < \dots` numbers of every embedding.

    .. math::
        L = \frac1{|M|} \sum_{k \in M} L_{\mathrm{SupCon}}(e_{1:k})

    Kusupati et al. 2022, Matryoshka Representation Learning (arXiv:2205.13147), equation 1 with equal weights and
    the contrastive loss in place of the classifiers. Each prefix is normalised by itself, as a search over vectors
    cut to k numbers does.

    As input to ``forward`` the loss accepts ``embeddings`` ``(N, D)`` and integer ``labels`` ``(N,)`` as `SupConLoss`
    does; as output it returns a 0-d loss.

    Args:
        temperature: T > 0 of every prefix.
        dims: The prefixes M, increasing; None means the powers of two from 4 that are below D, and D.

    Raises:
        ValueError: If ``dims`` is empty, not increasing, below 1 or above D; and whatever `SupConLoss` refuses.

    Example:
        >>> rows, labels = torch.eye(4, 8).repeat(2, 1), torch.arange(4).repeat(2)
        >>> rows[:, 4:] = 1.0
        >>> NestedSupConLoss(0.5, dims=[4, 8])(rows, labels)
        tensor(1.1041)
    """

    def __init__(self, temperature: float = 0.1, *, dims: Sequence[int] | None = None) -> None:
        super().__init__()
        if dims is not None and (not dims or list(dims) != sorted(set(dims)) or dims[0] < 1):
            raise ValueError(f"`dims` must be increasing numbers of dimensions from 1 on, got {list(dims)}. Try 4, 8.")
        self.dims = None if dims is None else tuple(dims)
        self.prefix_loss = SupConLoss(temperature)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of ``(N, D)`` embeddings with ``(N,)`` labels, 0-d."""
        if embeddings.ndim != 2:  # the plain loss says what is wrong
            return torch.as_tensor(self.prefix_loss(embeddings, labels))
        width = embeddings.shape[1]
        dims = nested_dims(width) if self.dims is None else self.dims
        if dims[-1] > width:
            raise ValueError(f"`dims` must not exceed the embeddings' {width} dimensions, got {list(dims)}.")
        return torch.stack([self.prefix_loss(embeddings[:, :k], labels) for k in dims]).mean()

    def extra_repr(self) -> str:
        """Return the prefixes, as `repr` shows them."""
        return f"dims={'powers of two' if self.dims is None else list(self.dims)}"


def nested_dims(width: int) -> tuple[int, ...]:
    """Return the default prefixes of embeddings of ``width`` numbers.

    Example:
        >>> nested_dims(64), nested_dims(20), nested_dims(3)
        ((4, 8, 16, 32, 64), (4, 8, 16, 20), (3,))
    """
    powers = (1 << i for i in range(SMALLEST_PREFIX.bit_length() - 1, width.bit_length()))
    return (*(k for k in powers if k < width), width)


def _arguments(loss: SupConLoss | CrossSupConLoss) -> str:
    temperature = "learnt" if isinstance(loss.temperature, Tensor) else loss.temperature
    return f"temperature={temperature}, normalize={loss.normalize}, singletons={loss.singletons!r}"
