# SPDX-License-Identifier: Apache-2.0
"""Measure the entropy of the spectrum of a random walk on the embeddings."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_embeddings, finite_rows, warn_degenerate
from lightning_monocon.functional.moments import statistics_device


def check_diffusion(sigma: float, t: int) -> None:
    """Raise ValueError unless ``sigma > 0`` and ``t >= 1``."""
    if not sigma > 0:
        raise ValueError(f"`sigma` must be positive, in the units of the embeddings; got {sigma!r}.")
    if isinstance(t, bool) or not isinstance(t, int) or t < 1:
        raise ValueError(f"`t` must be a positive integer, the steps of the walk; got {t!r}.")


def diffusion_spectral_entropy(embeddings: Tensor, sigma: float = 10.0, t: int = 1) -> Tensor:
    r"""Return the diffusion spectral entropy in bits, 0-d float64, between 0 and log2(N - 1).

    Liao et al., "Assessing neural network representations during training using noise-resilient diffusion spectral
    entropy" (arXiv 2312.04823), as in the authors' code: a Gaussian kernel of bandwidth sigma, degrees taken out on
    both sides, its eigenvalues without the first (trivial) one,

    .. math::
        K_{ij} = \frac{e^{-|x_i-x_j|^2/2\sigma^2}}{\sqrt{d_i d_j}},\qquad
        S = -\sum_{i\ge2} p_i\log_2 p_i,\quad p_i = |\mu_i|^t / \sum_{j\ge2}|\mu_j|^t

    The value depends on ``sigma``; the default is the authors', for raw activations; for unit rows take about 0.5. It
    needs an N x N matrix in float64 (200 MB and minutes of eigenvalues at N = 5000): sample the rows first.

    Args:
        embeddings: ``(N, D)``, any floating dtype, at least 3 rows.
        sigma: Bandwidth of the kernel.
        t: Steps of the walk; more steps suppress noise.

    Raises:
        TypeError: If ``embeddings`` is not a floating-point tensor.
        ValueError: If the shape is wrong, a row is not finite, or ``sigma`` or ``t`` is out of range.

    Example:
        >>> diffusion_spectral_entropy(torch.eye(5) * 100, sigma=1.0)
        tensor(2., dtype=torch.float64)
    """
    check_diffusion(sigma, t)
    rows = check_embeddings(embeddings)
    finite_rows(rows, "error")
    rows = rows.to(statistics_device(rows.device)).to(torch.float64)
    if len(rows) < 3:
        warn_degenerate(f"Diffusion spectral entropy needs at least 3 rows, got {len(rows)}")
        return rows.new_tensor(torch.nan)
    # Exact distances: the fast product form loses the digits of near neighbours.
    squared = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").square_()
    kernel = squared.div_(-2.0 * sigma * sigma).exp_()
    scale = kernel.sum(dim=1).rsqrt()
    values: Tensor = torch.linalg.eigvalsh(kernel.mul_(scale).mul_(scale[:, None]))
    weights = values[:-1].abs().pow(t)
    if not weights.sum() > torch.finfo(weights.dtype).eps * len(weights):
        warn_degenerate("All rows are within a small part of `sigma`: the walk has one eigenvalue only (lower `sigma`)")
        return rows.new_tensor(torch.nan)
    entropy: Tensor = torch.special.entr(weights / weights.sum()).sum()
    return entropy / torch.log(entropy.new_tensor(2.0))
