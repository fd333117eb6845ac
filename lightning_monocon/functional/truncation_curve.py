# SPDX-License-Identifier: Apache-2.0
"""Score an embedding of which only the first k principal components are stored."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_embeddings, check_labels
from lightning_monocon.functional.knn_accuracy import check_classes
from lightning_monocon.functional.neighbour_scores import scores_from_labels
from lightning_monocon.functional.neighbours import neighbours
from lightning_monocon.functional.recall_at_k import check_ks
from lightning_monocon.functional.spectrum import PrincipalComponents, principal_components
from lightning_monocon.functional.unit_rows import unit_rows


def check_dims(dims: int | Sequence[int], width: int | None = None) -> tuple[int, ...]:
    """Return ``dims`` as a tuple of distinct positive integers, at most ``width``; ValueError if they are not."""
    try:
        found = check_ks(dims)
    except ValueError:
        raise ValueError(f"`dims` must hold distinct positive integers, such as (8, 16); got {dims!r}.") from None
    if width is not None and max(found) > width:
        raise ValueError(f"`dims` must be at most {width}, the features of the embeddings; got {max(found)}.")
    return found


def truncated(rows: Tensor, axes: PrincipalComponents, dim: int) -> Tensor:
    """Return the first ``dim`` principal coordinates of the unit rows, ``(N, dim)`` float64; uncut rows for all."""
    rows = rows.to(axes.mean.device).to(torch.float64)
    if dim == rows.shape[1]:
        return rows
    return (unit_rows(rows) - axes.mean) @ axes.components[:dim].T


def curve_of(
    gallery: Tensor, gallery_labels: Tensor, query: Tensor, query_labels: Tensor, dims: Sequence[int], k: int
) -> dict[int, dict[str, Tensor]]:
    """Return the scores for each of ``dims``; arguments are checked."""
    axes = principal_components(gallery)
    curve = {}
    for dim in dims:
        found = neighbours(truncated(gallery, axes, dim), truncated(query, axes, dim), k).indices
        nearest = gallery_labels.to(found.device)[found]
        curve[dim] = scores_from_labels(nearest, query_labels.to(found.device), k, (1,))
    return curve


def truncation_curve(
    gallery: Tensor, gallery_labels: Tensor, query: Tensor, query_labels: Tensor, dims: int | Sequence[int], k: int = 5
) -> dict[int, dict[str, Tensor]]:
    """Return k-NN accuracy and Recall@1 after projection to the gallery's first principal components, for each number.

    Rows are L2-normalised, centred on the gallery's mean and projected to its principal axes; neighbours are ranked
    by the cosine of the projected rows. With all D dimensions nothing is cut, so the vectors are used as they are:
    the cosine of the embeddings, uncentred. The query takes no part in fitting.

    Args:
        gallery: ``(M, D)``, any floating dtype.
        gallery_labels: ``(M,)`` integers, at least two classes.
        query: ``(N, D)``.
        query_labels: ``(N,)`` integers.
        dims: A number of kept dimensions, 1 to D, or several distinct ones.
        k: How many neighbours vote, 1 to M.

    Returns:
        For each of ``dims`` ``{"knn_accuracy", "recall@1"}``, 0-d float64 tensors.

    Raises:
        TypeError: If embeddings are not floating-point tensors or labels are not integers.
        ValueError: If shapes do not match, a row is not finite, the gallery has one class, or ``dims`` or ``k`` is out
            of range.

    Example:
        >>> gallery, labels = torch.eye(4).repeat(2, 1), torch.arange(4).repeat(2)
        >>> curve = truncation_curve(gallery, labels, torch.eye(4), torch.arange(4), dims=(4,), k=1)
        >>> curve[4]["knn_accuracy"]
        tensor(1., dtype=torch.float64)
    """
    check_embeddings(gallery, "gallery")
    check_embeddings(query, "query", width=gallery.shape[1])
    known = check_labels(gallery_labels, len(gallery), "gallery_labels")
    truth = check_labels(query_labels, len(query), "query_labels")
    check_classes(known)
    return curve_of(gallery, known, query, truth, check_dims(dims, gallery.shape[1]), k)
