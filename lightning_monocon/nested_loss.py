# SPDX-License-Identifier: Apache-2.0
"""The supervised contrastive loss on nested prefixes: embeddings that may be cut without a projection."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_monocon.losses import SupConLoss

SMALLEST_PREFIX = 4
"""Where the default prefixes begin: below it a cosine has too few directions to tell classes apart."""


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
