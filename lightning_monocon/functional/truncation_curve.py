# SPDX-License-Identifier: Apache-2.0
"""Score an embedding of which only the first k principal components are stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_monocon.functional.checks import check_embeddings, check_labels
from lightning_monocon.functional.knn_accuracy import check_classes
from lightning_monocon.functional.neighbour_scores import scores_from_labels
from lightning_monocon.functional.neighbours import DistanceName, neighbours
from lightning_monocon.functional.prefix_neighbours import prefix_neighbours, whole_neighbours
from lightning_monocon.functional.recall_at_k import check_ks
from lightning_monocon.functional.row_keys import row_keys
from lightning_monocon.functional.spectrum import PrincipalComponents, principal_components
from lightning_monocon.functional.unit_rows import unit_rows_

TILE = 8192  # rows that are taken to float64 at a time


def check_dims(dims: int | Sequence[int], width: int | None = None) -> tuple[int, ...]:
    """Return ``dims`` as a tuple of distinct positive integers, at most ``width``; ValueError if they are not."""
    try:
        found = check_ks(dims)
    except ValueError:
        raise ValueError(f"`dims` must hold distinct positive integers, such as (8, 16); got {dims!r}.") from None
    if width is not None and max(found) > width:
        raise ValueError(f"`dims` must be at most {width}, the features of the embeddings; got {max(found)}.")
    return found


def projected(rows: Tensor, axes: PrincipalComponents, dim: int) -> Tensor:
    """Return the first ``dim`` principal coordinates of the unit rows, ``(N, dim)`` float64."""
    directions = axes.components[:dim].nan_to_num(0.0).T  # rows that are all equal have no directions
    found = torch.empty(len(rows), directions.shape[1], dtype=torch.float64, device=axes.mean.device)
    for start in range(0, len(rows), TILE):
        part = unit_rows_(rows[start : start + TILE].to(axes.mean.device).to(torch.float64, copy=True))
        torch.mm(part.sub_(axes.mean), directions, out=found[start : start + TILE])
    return found


def truncated(rows: Tensor, axes: PrincipalComponents, dim: int) -> Tensor:
    """Return the rows cut to their first ``dim`` principal coordinates; the rows themselves for all D."""
    return rows if dim == rows.shape[1] else projected(rows, axes, dim)


class Ties(NamedTuple):
    """Order the rows that a cut has made equally near to a query.

    Cut rows are often equally near: in one dimension a cosine is only a sign, and short codes repeat. By the smaller
    row number, as `neighbours` has it, a gallery that is sorted by class would answer the first class to all queries.
    So the gallery is ordered by a hash of its uncut unit rows (equal ones by label), and each query begins at a place
    of its own, a hash of the uncut query. The result is the same in any order of the rows, and no label is favoured.

    Attributes:
        order: ``(M,)`` rows of the gallery.
        first: ``(N,)`` for each query the place in ``order`` from which equally near rows are counted.
    """

    order: Tensor
    first: Tensor

    def nearest(self, gallery: Tensor, query: Tensor, k: int, metric: DistanceName = "cosine") -> Tensor:
        """Return the k nearest rows ``(N, k)`` of the cut gallery for every cut query, nearest first."""
        if metric == "cosine" and gallery.device.type == "cpu":
            return whole_neighbours(gallery, query, k, self.first, self.order)
        found = neighbours(gallery[self.order.to(gallery.device)], query, k, metric, first=self.first).indices
        return self.order.to(found.device)[found]

    def nearest_of_prefixes(
        self,
        gallery: Tensor,
        query: Tensor,
        dims: Sequence[int],
        k: int,
        whole: tuple[Tensor, Tensor] | None = None,
    ) -> Iterator[Tensor]:
        """Yield the k nearest rows ``(N, k)`` by cosine for each of ``dims``, ascending numbers of first columns.

        If gallery and query are all coordinates of ``whole`` rows, the nearest of these come last; see
        `prefix_neighbours`.
        """
        return prefix_neighbours(gallery, query, dims, k, self.first, self.order, whole)


def ties_of(gallery: Tensor, gallery_labels: Tensor, query: Tensor) -> Ties:
    """Return the order of equally near rows for a gallery ``(M, D)`` and queries ``(N, D)`` before the cut."""
    return ties_of_keys(tie_keys(gallery), gallery_labels, tie_keys(query))


def ties_of_keys(gallery: Tensor, gallery_labels: Tensor, query: Tensor) -> Ties:
    """Return what `ties_of` does, from the `tie_keys` of the rows ``(M,)`` and ``(N,)``."""
    order = gallery_labels.to(gallery.device).argsort(stable=True)
    return Ties(order[gallery[order].argsort(stable=True)], query % len(gallery))


def tie_keys(rows: Tensor) -> Tensor:
    """Return the hash ``(N,)`` of each uncut unit row, by which `Ties` orders equally near ones."""
    parts = (part.to(torch.float64, copy=True) for part in torch.split(rows, TILE))
    return torch.cat([row_keys(unit_rows_(part)) for part in parts])


def curve_of(
    gallery: Tensor, gallery_labels: Tensor, query: Tensor, query_labels: Tensor, dims: Sequence[int], k: int
) -> dict[int, dict[str, Tensor]]:
    """Return the scores for each of ``dims``; arguments are checked."""
    axes, ties = principal_components(gallery), ties_of(gallery, gallery_labels, query)
    width = gallery.shape[1]
    below = sorted(dim for dim in dims if dim < width)
    found: dict[int, Tensor] = {}
    if below:
        cut, asked = (projected(rows, axes, below[-1]) for rows in (gallery, query))
        found = dict(zip(below, ties.nearest_of_prefixes(cut, asked, below, k), strict=True))
    if width in dims:
        found[width] = ties.nearest(gallery, query, k)
    curve = {}
    for dim in dims:
        nearest = gallery_labels.to(found[dim].device)[found[dim]]
        curve[dim] = scores_from_labels(nearest, query_labels.to(nearest.device), k, (1,))
    return curve


def truncation_curve(
    gallery: Tensor, gallery_labels: Tensor, query: Tensor, query_labels: Tensor, dims: int | Sequence[int], k: int = 5
) -> dict[int, dict[str, Tensor]]:
    """Return k-NN accuracy and Recall@1 after projection to the gallery's first principal components, for each number.

    Rows are L2-normalised, centred on the gallery's mean and projected to its principal axes; neighbours are ranked
    by the cosine of the projected rows. With all D dimensions nothing is cut, so the vectors are used as they are:
    the cosine of the embeddings, uncentred. The query takes no part in fitting. Which of equally near rows are found
    depends on a hash of the rows and not on their order.

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
