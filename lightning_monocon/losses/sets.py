# SPDX-License-Identifier: Apache-2.0
"""Provide the supervised contrastive losses of one set and between two, and those that are made of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from lightning_monocon.distributed import RowGather, is_distributed
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
from lightning_monocon.kernels.supcon.options import KEEP_BYTES, Options, Singletons
from lightning_monocon.kernels.supcon.shapes import block_size as block_size_for

__all__ = ["CompatibilityLoss", "CrossSupConLoss", "NestedSupConLoss", "SupConLoss"]

SMALLEST_PREFIX = 4
"""Smallest default prefix: in fewer dimensions a cosine has too few directions to separate classes."""


class _ContrastiveLoss(nn.Module):
    """Hold the validated options that the losses of one set and of two share."""

    def __init__(
        self,
        temperature: float | Tensor = 0.1,
        *,
        normalize: bool = True,
        singletons: Singletons = "zero",
        ignore_index: int | None = None,
        block_size: int | None = None,
        keep_bytes: int = KEEP_BYTES,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        check_settings(temperature, singletons, block_size, keep_bytes, backend)
        self.temperature = temperature
        self.normalize = normalize
        self.singletons: Singletons = singletons
        self.ignore_index = ignore_index
        self.block_size = block_size
        self.keep_bytes = keep_bytes
        self.backend: Backend = backend

    def _options(self, device: torch.device, gather: RowGather | None = None, check_values: bool = False) -> Options:
        """Return the options of a call on a device."""
        block_size = self.block_size or block_size_for(device)
        rules = self.normalize, self.singletons, self.ignore_index
        return Options(*rules, block_size, keep_bytes=self.keep_bytes, check_values=check_values, gather=gather)

    def extra_repr(self) -> str:
        """Return the arguments, as `repr` shows them."""
        temperature = "learnt" if isinstance(self.temperature, Tensor) else self.temperature
        return f"temperature={temperature}, normalize={self.normalize}, singletons={self.singletons!r}"


class SupConLoss(_ContrastiveLoss):
    r"""Compute the supervised contrastive loss, exactly and in O(N (D + block)) memory.

    .. math::
        f_i = e_i / |e_i|, \quad s_{ij} = f_i \cdot f_j / T, \quad P(i) = \{j \ne i : y_j = y_i\}

        L = -\frac1N \sum_i \frac1{|P(i)|} \sum_{p \in P(i)} \Big( s_{ip} - \log \sum_{j \ne i} e^{s_{ij}} \Big)

    This is equation 2 of Khosla et al. 2020 (arXiv:2004.11362). With the labels ``0 .. B-1`` twice it is NT-Xent. No
    matrix of all pairs is stored, forward or backward. The 1e-9 that the paper's code adds inside the logarithm is left
    out: the two agree to 1e-5 at T = 0.1, and differ at small T, where 1e-9 is not small.

    Under an initialised process group the contrast set is the batch of all ranks, which may hold different numbers of
    rows. Every rank returns the loss of the global batch, and its gradient is scaled so that the average that
    DistributedDataParallel takes over ranks equals the gradient of one rank with the whole batch.

    As input to ``forward`` the loss accepts:

    - ``embeddings`` (Tensor): Floating-point, ``(N, D)``. The arithmetic is float64 for float64, else float32, under
      any autocast.
    - ``labels`` (Tensor): Integers of any sign, ``(N,)``, on the same device.

    As output it returns a 0-d loss, in float64 for float64 embeddings, else in float32. N = 0 and N = 1 give zero with
    zero gradients. There are no second derivatives.

    Values (NaN, infinities, rows of length zero, a temperature that is not positive) are checked on the CPU. On another
    device the host would have to wait for them in every step, so they are checked there only under
    ``torch.autograd.set_detect_anomaly(True)``; otherwise a NaN reaches the loss.

    Args:
        temperature: T > 0. A 0-d tensor (for example an ``nn.Parameter``) is learnt.
        normalize: Scale the embeddings to unit length first. Otherwise the logits are raw inner products over T.
        singletons: An anchor without a positive counts as 0 in the mean over all anchors with ``"zero"`` (as in the
            paper's code), is left out of the mean with ``"skip"``, and raises with ``"error"`` (which waits for the
            device).
        ignore_index: Label of the rows to leave out, as anchors, as positives and in the denominators.
        gather: Contrast against the batches of all ranks. With False, each rank uses its own batch only.
        block_size: Side of a tile of pairs; None chooses one by device.
        keep_bytes: Most bytes of exponentials, half of all pairs, that a step on a CPU keeps from the forward to the
            backward pass; a batch with more computes the rest again. The default, 64 MiB, serves 5 600 rows.
        backend: ``"auto"`` takes the Triton kernels on a GPU, for sizes at which they are known to be no slower, and
            plain torch elsewhere; ``"triton"`` requires the kernels; ``"torch"`` never uses them.

    Raises:
        ValueError: If a shape or value is not valid, labels are on another device, or an option is unknown.
        TypeError: If the embeddings are not floating-point or the labels are not integers.

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
        keep_bytes: int = KEEP_BYTES,
        backend: Backend = "auto",
    ) -> None:
        super().__init__(
            temperature,
            normalize=normalize,
            singletons=singletons,
            ignore_index=ignore_index,
            block_size=block_size,
            keep_bytes=keep_bytes,
            backend=backend,
        )
        self.gather = gather

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of ``(N, D)`` embeddings with ``(N,)`` labels, 0-d."""
        check_set(embeddings, labels)
        if values_are_at_hand(embeddings):
            check_temperature(self.temperature)
            check_values(embeddings, self.normalize)
        layout = RowGather(len(embeddings), embeddings.device) if self.gather and is_distributed() else None
        options = self._options(embeddings.device, layout)
        return supcon(embeddings, labels, self.temperature, options=options, backend=self.backend)


class CrossSupConLoss(_ContrastiveLoss):
    r"""Compute the supervised contrastive loss of anchors against another set, exactly and in O((M + N) D) memory.

    .. math::
        s_{ij} = \frac{f_i \cdot g_j}{T |f_i| |g_j|}, \quad P(i) = \{j : y_j = y_i\}, \quad
        L = -\frac1M \sum_i \frac1{|P(i)|} \sum_{p \in P(i)} \Big( s_{ip} - \log \sum_j e^{s_{ij}} \Big)

    over M anchors f_i and a contrast set of N rows g_j, each with its own labels: two views or modalities, or a batch
    against a memory bank. With the labels ``0 .. M-1`` on both sides it is InfoNCE in one direction (van den Oord et
    al. 2018, arXiv:1807.03748; one half of CLIP's loss). Unlike in `SupConLoss`, no pair is left out: an anchor that is
    also in the contrast set is its own positive.

    Both sets receive gradients. A contrast set that does not require one (a memory bank) makes the backward pass a
    third cheaper.

    Each rank uses its own two sets. To contrast against those of all ranks, pass ``gather_rows(contrast)`` and
    ``gather_rows(contrast_labels)`` (`lightning_monocon.distributed`) on every rank: the average that
    DistributedDataParallel takes is then the gradient of the mean of the ranks' losses, without a factor for the number
    of ranks. If every rank has M anchors, that mean is the loss of all anchors; if M differs, first multiply the loss
    of each rank by its ``M`` over the mean of M.

    As input to ``forward`` the loss accepts:

    - ``anchors`` (Tensor): Floating-point, ``(M, D)``. The arithmetic is float64 for float64, else float32, under any
      autocast.
    - ``contrast`` (Tensor): Floating-point, ``(N, D)``, on the same device.
    - ``anchor_labels`` (Tensor): Integers of any sign, ``(M,)``, on the same device.
    - ``contrast_labels`` (Tensor): Integers of any sign, ``(N,)``, on the same device.

    As output it returns a 0-d loss, in float64 for float64 anchors, else in float32. M = 0 or N = 0 give zero with zero
    gradients. Values are checked as in `SupConLoss`. There are no second derivatives.

    Args:
        temperature: T > 0. A 0-d tensor (for example an ``nn.Parameter``) is learnt.
        normalize: Scale both sets to unit length first.
        singletons: An anchor without a positive counts as 0 in the mean over all anchors with ``"zero"``, is left out
            of the mean with ``"skip"``, and raises with ``"error"`` (which waits for the device).
        ignore_index: Label of the rows of either set to leave out.
        block_size: Side of a tile of pairs; None chooses one by device.
        keep_bytes: Most bytes of exponentials, of all pairs, that a step on a CPU keeps for its backward pass.
        backend: ``"auto"``, ``"triton"`` or ``"torch"``, as for `SupConLoss`.

    Raises:
        ValueError: If a shape or value is not valid, tensors are on several devices, or an option is unknown.
        TypeError: If the embeddings are not floating-point or the labels are not integers.

    Example:
        >>> import torch
        >>> loss = CrossSupConLoss(temperature=1.0)
        >>> loss(torch.eye(2), 3 * torch.eye(2), torch.tensor([4, 7]), torch.tensor([4, 7]))
        tensor(0.3133)
    """

    def forward(self, anchors: Tensor, contrast: Tensor, anchor_labels: Tensor, contrast_labels: Tensor) -> Tensor:
        """Return the loss of ``(M, D)`` anchors among ``(N, D)`` contrast rows, 0-d."""
        check_set(anchors, anchor_labels, "anchors", "anchor_labels")
        check_set(contrast, contrast_labels, "contrast", "contrast_labels")
        check_same_space(anchors, contrast)
        at_hand = values_are_at_hand(anchors) and values_are_at_hand(contrast)
        if at_hand:
            check_temperature(self.temperature)
        options, labels = self._options(anchors.device, check_values=at_hand), (anchor_labels, contrast_labels)
        return cross_supcon(anchors, contrast, *labels, self.temperature, options=options, backend=self.backend)


class CompatibilityLoss(nn.Module):
    r"""Compute how badly the first k numbers of new embeddings serve in the space of an old model, with rows ``o``.

    .. math::
        L = w_1 \Big(1 - \frac1N \sum_i \cos(e_{i,1:k}, o_i)\Big) + w_2\, L_{\mathrm{CrossSupCon}}(e_{1:k}, o)

    The first term matches each row with its old self, as in Zhou et al. 2023 (BT2, arXiv 2211.03989). The second asks
    that a new query finds the old rows of its label. That is the influence loss of Shen et al. 2020 (BCT, arXiv
    2003.11942), which BT2 takes too: cross-entropy of the new embedding under an old classifier, in which the old rows
    of the batch here stand for the classifier's weights, since pairs and rare labels have no class means. BT2's third
    term, the likeness to a new model that was trained freely before, is left out.

    As input to ``forward`` the loss accepts ``embeddings`` ``(N, D)``, ``old`` ``(N, k)`` with k <= D, and integer
    ``labels`` ``(N,)``; as output it returns a 0-d loss. Every rank takes its own batch.

    Args:
        match: :math:`w_1`, not negative.
        influence: :math:`w_2`, not negative.
        temperature: T > 0 of the second term.

    Raises:
        ValueError: If a weight is negative, k > D, rows do not fit, or `CrossSupConLoss` raises one.

    Example:
        >>> new, old, labels = torch.eye(2, 3), torch.eye(2), torch.tensor([4, 7])
        >>> CompatibilityLoss(match=1.0, influence=0.0)(new, old, labels)
        tensor(0.)
        >>> CompatibilityLoss(match=0.0, influence=1.0, temperature=1.0)(new, old, labels)
        tensor(0.3133)
    """

    def __init__(self, match: float = 5.0, influence: float = 1.0, temperature: float = 0.1) -> None:
        super().__init__()
        for name, weight in (("match", match), ("influence", influence)):
            if not weight >= 0:
                raise ValueError(f"`{name}` must not be negative, got {weight}. Leave the term out with 0.")
        self.match, self.influence = match, influence
        self.cross = CrossSupConLoss(temperature)

    def forward(self, embeddings: Tensor, old: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of ``(N, D)`` embeddings beside the ``(N, k)`` old rows of the same inputs, 0-d."""
        width = old.shape[1]
        if embeddings.ndim != 2 or len(embeddings) != len(old) or width > embeddings.shape[1]:
            raise ValueError(
                f"`old` must have a row for each embedding and no more numbers; got {tuple(old.shape)} beside "
                f"{tuple(embeddings.shape)}. Take `out_features` of at least {width}."
            )
        new = embeddings[:, :width].to(torch.promote_types(embeddings.dtype, torch.float32))
        old = old.to(new.dtype)
        loss = self.match * (1 - cosine_similarity(new, old).mean())
        return loss + self.influence * self.cross(new, old, labels, labels) if self.influence else loss

    def extra_repr(self) -> str:
        """Return the weights, as `repr` shows them."""
        return f"match={self.match}, influence={self.influence}"


class NestedSupConLoss(nn.Module):
    r"""Compute the mean of `SupConLoss` over the first :math:`k_1 < k_2 < \dots` dimensions of the embeddings.

    .. math::
        L = \frac1{|M|} \sum_{k \in M} L_{\mathrm{SupCon}}(e_{1:k})

    This is equation 1 of Kusupati et al. 2022, Matryoshka Representation Learning (arXiv:2205.13147), with equal
    weights and the contrastive loss in place of the classifiers: the embeddings may then be cut without a projection.
    Each prefix is normalised by itself, as a search over vectors cut to k dimensions does.

    As input to ``forward`` the loss accepts ``embeddings`` ``(N, D)`` and integer ``labels`` ``(N,)``, like
    `SupConLoss`; as output it returns a 0-d loss.

    Args:
        temperature: T > 0 of every prefix.
        dims: The prefixes M, increasing; None means the powers of two from 4 to below D, and D.

    Raises:
        ValueError: If ``dims`` is empty, not increasing, below 1 or above D, or if `SupConLoss` raises one.

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
        if embeddings.ndim != 2:  # the plain loss raises the error
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
    """Return the default prefixes of embeddings with ``width`` dimensions.

    Example:
        >>> nested_dims(64), nested_dims(20), nested_dims(3)
        ((4, 8, 16, 32, 64), (4, 8, 16, 20), (3,))
    """
    powers = (1 << i for i in range(SMALLEST_PREFIX.bit_length() - 1, width.bit_length()))
    return (*(k for k in powers if k < width), width)
