# SPDX-License-Identifier: Apache-2.0
"""Turn a head's output by a learnt rotation, so that its first numbers can live in the space of an older model."""

from __future__ import annotations

from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn


class CompatibleHead(nn.Module):
    r"""Rotate the output of a head by an orthonormal matrix that is learnt with it.

    .. math::
        e = B\,h(x), \qquad B = (I + S)^{-1} (I - S)\,B_0, \quad S = A - A^\top

    A rotation keeps all cosines of ``h``, and only chooses what the first numbers hold. ``B_0`` is drawn at random, as
    a head with non-negative weights has one sign and an old space has both; A starts at zero, so weight decay pulls
    towards ``B_0``. Once the head is trained, B is a constant, and `fold` makes a linear layer of it.

    This is the basis transformation of Zhou et al. 2023 (BT2, arXiv 2211.03989), one for the whole embedding where the
    paper has two that overlap, and without the fixed share of the length that it gives to the additional dimensions:
    the numbers outside the old space.

    Args:
        head: Maps features ``(N, F)`` to ``(N, out_features)``.
        out_features: Width of the embedding.

    Example:
        >>> head = CompatibleHead(nn.Identity(), 3)
        >>> rows = torch.tensor([[3.0, 0.0, 4.0]])
        >>> head(rows).detach().norm().round()
        tensor(5.)
    """

    start: Tensor

    def __init__(self, head: nn.Module, out_features: int) -> None:
        super().__init__()
        self.head = head
        self.out_features = out_features
        self.generator = nn.Parameter(torch.zeros(out_features, out_features))
        self.register_buffer("start", nn.init.orthogonal_(torch.empty(out_features, out_features)))

    @property
    def basis(self) -> Tensor:
        """Return B ``(D, D)``, float32 at least; Cayley's map of a skew-symmetric matrix is orthonormal."""
        upper = self.generator.to(torch.promote_types(self.generator.dtype, torch.float32)).triu(1)
        skew, one = upper - upper.T, torch.eye(self.out_features, dtype=upper.dtype, device=upper.device)
        # as good as the exponential here, and many times as fast
        rotation: Tensor = torch.linalg.solve(one + skew, one - skew)
        return rotation @ self.start.to(upper.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return the embedding ``(N, out_features)`` of features ``(N, F)``."""
        rows = self.head(x)
        with torch.autocast(rows.device.type, enabled=False):
            basis = self.basis
            turned: Tensor = rows.to(basis.dtype) @ basis.T
        return turned

    @torch.no_grad()
    def fold(self) -> nn.Sequential:
        """Return a copy of the head, folded if it can be, and of the rotation as a linear layer."""
        own = getattr(self.head, "fold", None)
        inner = cast("nn.Module", own()) if callable(own) else deepcopy(self.head)
        basis = self.basis
        last = nn.Linear(self.out_features, self.out_features, device=basis.device, dtype=basis.dtype)
        last.load_state_dict({"weight": basis, "bias": basis.new_zeros(self.out_features)})
        return nn.Sequential(*(inner if isinstance(inner, nn.Sequential) else [inner]), last)
