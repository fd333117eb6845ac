# SPDX-License-Identifier: Apache-2.0
"""Compute the supervised contrastive loss of anchors among another set of rows."""

from __future__ import annotations

from torch import Tensor

from lightning_monocon.kernels.cross_supcon.kept import cross_supcon_kept, serves
from lightning_monocon.kernels.cross_supcon.ops import cross_operator
from lightning_monocon.kernels.cross_supcon.reference import cross_supcon_reference
from lightning_monocon.kernels.dispatch import Backend
from lightning_monocon.kernels.supcon.checks import check_values
from lightning_monocon.kernels.supcon.options import Options
from lightning_monocon.kernels.supcon.route import find_route, keeps_small
from lightning_monocon.kernels.supcon.shapes import as_scale, block_size, is_bounded, resolved


def cross_supcon(
    anchors: Tensor,
    contrast: Tensor,
    anchor_labels: Tensor,
    contrast_labels: Tensor,
    temperature: float | Tensor = 0.1,
    *,
    options: Options | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Return the mean loss of ``(M, D)`` anchors among an ``(N, D)`` contrast set.

    `lightning_monocon.losses.CrossSupConLoss` documents the loss and validates its arguments; this function does not,
    except for `Options.check_values`. Half embeddings become float32. `find_route` says where the formula is evaluated.

    Args:
        anchors: Embeddings of the anchors.
        contrast: Embeddings of the contrast set. Without a gradient (a memory bank) the backward pass is cheaper.
        anchor_labels: Integer labels of the anchors, ``(M,)``.
        contrast_labels: Integer labels of the contrast set, ``(N,)``.
        temperature: T > 0; a 0-d tensor receives a gradient.
        options: As in `kernels.supcon.supcon`, without `Options.gather`.
        backend: The implementation; "auto" takes the faster one.

    Returns:
        The loss, 0-d, in float64 for float64 anchors and else in float32.

    Raises:
        ValueError: If `backend` does not support these tensors.
        RuntimeError: If ``backend="triton"`` and Triton is not installed.

    Example:
        >>> import torch
        >>> eye = torch.eye(2)
        >>> cross_supcon(eye, eye, torch.tensor([0, 1]), torch.tensor([0, 1]), temperature=1.0)
        tensor(0.3133)
    """
    given = options or Options(block_size=block_size(anchors.device))
    labels = anchor_labels.long(), contrast_labels.long()
    if _keeps(anchors, contrast, labels, temperature, given, backend):
        return cross_supcon_kept(anchors, contrast, *labels, temperature, given)
    scale = as_scale(temperature, anchors)
    chosen = resolved(given, anchors, temperature)
    pairs = anchors.shape[0] * contrast.shape[0]
    route, taken = find_route("cross_supcon", backend, anchors, contrast, scale, pairs=pairs)
    if chosen.check_values:
        _check_both(anchors, contrast, chosen.normalize)
    if route == "formula":
        return cross_supcon_reference(anchors, contrast, *labels, scale, chosen)
    return cross_operator(anchors, contrast, *labels, scale, chosen, taken)


def _keeps(
    anchors: Tensor, contrast: Tensor, labels: tuple[Tensor, Tensor], temperature: float | Tensor, options: Options,
    backend: Backend,
) -> bool:  # fmt: skip
    """Return whether the route is "kept", in few calls."""
    given = (temperature,) if isinstance(temperature, Tensor) else ()
    if not keeps_small("cross_supcon", backend, anchors, contrast, *given):
        return False
    return is_bounded(temperature, options.normalize) and serves(anchors, contrast, labels, options)


def _check_both(anchors: Tensor, contrast: Tensor, normalize: bool) -> None:
    check_values(anchors, normalize, "anchors")
    check_values(contrast, normalize, "contrast")
