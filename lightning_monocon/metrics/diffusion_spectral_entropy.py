# SPDX-License-Identifier: Apache-2.0
"""Measure diffusion spectral entropy; see `lightning_monocon.functional.diffusion_spectral_entropy`."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import Unpack

from lightning_monocon.functional.diffusion_spectral_entropy import check_diffusion, diffusion_spectral_entropy
from lightning_monocon.metrics.rows import RowsOfOneRole, SampleOptions


class DiffusionSpectralEntropy(RowsOfOneRole):
    r"""Compute the entropy in bits of the spectrum of a random walk on the rows (Liao et al., arXiv 2312.04823).

    .. math::
        K_{ij} = \frac{e^{-|x_i-x_j|^2/2\sigma^2}}{\sqrt{d_i d_j}},\qquad
        S = -\sum_{i\ge2} p_i\log_2 p_i,\quad p_i = |\mu_i|^t / \sum_{j\ge2}|\mu_j|^t

    An N x N eigenproblem: by default of a seeded sample of 2000 rows.

    As input to ``update`` the metric accepts ``embeddings`` ``(N, D)`` and optionally ``role``.
    As output of ``compute`` it returns ``{"diffusion_spectral_entropy", "rows_kept", "rows_seen"}``, 0-d float32
    tensors; NaN, with one warning, for fewer than three rows.

    Args:
        sigma: Bandwidth of the kernel, in the units of the embeddings.
        t: Steps of the walk.
        max_rows: Hold a seeded sample of at most so many rows; None for all.
        kwargs: Those of `SampleOptions` and of `torchmetrics.Metric`.

    Raises:
        ValueError: If ``sigma`` or ``t`` is not positive, or another argument is out of range.

    Example:
        >>> import torch
        >>> metric = DiffusionSpectralEntropy(sigma=1.0)
        >>> metric.update(torch.eye(5) * 100)
        >>> metric.compute()["diffusion_spectral_entropy"]
        tensor(2.)
    """

    higher_is_better = False

    def __init__(
        self, sigma: float = 10.0, t: int = 1, max_rows: int | None = 2000, **kwargs: Unpack[SampleOptions]
    ) -> None:
        check_diffusion(sigma, t)
        super().__init__(max_rows, **kwargs)
        self.sigma, self.t = sigma, t

    def compute(self) -> dict[str, Tensor]:
        """Return the entropy and the sizes of the sample, 0-d float32."""
        value = diffusion_spectral_entropy(self.held(self.role).rows, self.sigma, self.t)
        return self.reported({"diffusion_spectral_entropy": value})
