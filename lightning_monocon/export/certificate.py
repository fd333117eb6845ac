# SPDX-License-Identifier: Apache-2.0
r"""Prove for how many held-out queries rounding cannot change the nearest exported row.

Rounded are the encoder's features, and the query's vector where the gallery's are stored as int8 or bits.

The head's output y over the box of features lies in a zonotope (`Head.zonotope`). Centring after unit length makes the
exported vector depend on the length of y, :math:`P (y / |y| - m) \propto P y - |y| P m`. With u a unit vector along the
zonotope's centre and :math:`\rho` the farthest that y gets from that ray, :math:`u^\top y \le |y| \le u^\top y +
\rho^2 / (2 \min u^\top y)`. So the vector lies in a zonotope as well, with one generator more.

Rounding a vector of unit length to int8 moves each number by half a step at most, or to the largest code: as many
generators more, times the greatest length of y. Of bits those may be either that the zonotope leaves open.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_monocon.export.calibration import Calibration
from lightning_monocon.export.prepare import Prepared
from lightning_monocon.export.stack import projection_layer
from lightning_monocon.functional.certified_neighbours import Zonotope, certified_neighbours
from lightning_monocon.functional.quantisation import Storage
from lightning_monocon.heads.base import Head

MOST_QUERIES = 100
"""Queries that are tried, since each costs about as much as a hundred searches."""

_QUERIES = 16


class Proved(NamedTuple):
    """Hold for how many queries the nearest row is proved.

    Attributes:
        bfloat16: Share of the queries for which rounding to bfloat16 changes nothing.
        int8: The same for int8, with a step per feature of a 127th of the largest magnitude.
        queries: How many were tried.
        storage: What the query's vector is rounded to as well: that of the export.
    """

    bfloat16: float
    int8: float
    queries: int
    storage: Storage = "float32"

    def sentence(self) -> str:
        """Return what the card says."""
        vector = {"float32": "", "int8": " and its vector to int8", "binary": " and its vector to bits"}[self.storage]
        return (
            f"Rounding the encoder's features of a query{vector} cannot change its nearest row: proved for "
            f"{100 * self.bfloat16:.0f} % of {self.queries} held-out queries for features in bfloat16, and for "
            f"{100 * self.int8:.0f} % for features in int8. Of the others nothing is known."
        )


@torch.no_grad()
def prove_rounding(prepared: Prepared) -> Proved | None:
    """Return what is proved; None for codes, and unless the head is one of the package's.

    Of a head of the user's own the layers are not known.
    """
    layer, calibration = projection_layer(prepared.stack), prepared.calibration
    if not isinstance(prepared.head, Head) or not isinstance(calibration, Calibration) or layer is None:
        return None
    query = prepared.query.features[prepared.units][:MOST_QUERIES].double()
    if not len(query):
        return None
    gallery = calibration.decode(calibration.codes(prepared.stack(prepared.searched.features)))
    head, projection = deepcopy(prepared.head).double(), deepcopy(layer).double()
    largest = torch.cat([prepared.searched.features, prepared.query.features]).abs().amax(0).double()
    # a bfloat16 number has 8 binary digits, so it is off by at most a 256th
    steps = (query.abs() / 256, (largest / 127 / 2).expand_as(query))
    proved = (_proved(head, projection, calibration, gallery, query, step) for step in steps)
    bfloat16, int8 = (sum(found) / len(query) for found in proved)
    return Proved(bfloat16, int8, len(query), calibration.storage)


def _proved(
    head: Head, projection: nn.Linear, calibration: Calibration, gallery: Tensor, query: Tensor, step: Tensor
) -> Iterator[int]:
    """Yield how many of the queries of each piece are proved."""
    for start in range(0, len(query), _QUERIES):
        rows, reach = query[start : start + _QUERIES], step[start : start + _QUERIES]
        embedded = head(rows)
        lengths = torch.linalg.vector_norm(embedded, dim=1, keepdim=True)
        region, known = vector_region(head.zonotope(rows - reach, rows + reach), projection)
        if calibration.storage == "int8":
            region, rounded = rounded_region(region, calibration.step.double())
            known = known & rounded
        half = region.generators.abs().sum(1)
        lower, upper = region.centre - half, region.centre + half
        # sums in another order may differ in the last digit
        vectors = embedded @ projection.weight.T + lengths * projection.bias
        vectors = torch.minimum(torch.maximum(vectors, lower), upper)
        zone: Zonotope | None = region
        if calibration.storage == "binary":
            (lower, vectors, upper), zone = ((part > 0).double() * 2 - 1 for part in (lower, vectors, upper)), None
        found = certified_neighbours(gallery, None, vectors, lower, upper, 1, zone).nearest
        found |= (lower == upper).all(1)  # rows of equal codes tie, but a query that stays as it is finds what it found
        yield int((found & known).sum())


def rounded_region(region: Zonotope, step: Tensor) -> tuple[Zonotope, Tensor]:
    """Return regions of vectors that were rounded to int8, up to their length, and which are known, ``(Q,)`` bool.

    Args:
        region: Of the vectors before, up to their length, as `vector_region` returns it.
        step: ``(k,)`` width of one int8 step of each number of a vector of unit length.
    """
    reach = region.generators.abs().sum(1)
    far = torch.minimum(
        torch.linalg.vector_norm(reach, dim=1), torch.linalg.vector_norm(region.generators, dim=2).sum(1)
    )
    length = torch.linalg.vector_norm(region.centre, dim=1)
    known = length > far
    largest = (region.centre.abs() + reach) / torch.where(known, length - far, torch.inf)[:, None]
    # float32 rounds before int8 does, so half a step may be exceeded in its last digits
    off = torch.maximum(step / 2 * (1 + 1e-3), largest - 127 * step)
    more = torch.diag_embed((length + far)[:, None] * off)
    return Zonotope(region.centre, torch.cat([region.generators, more], dim=1)), known


def vector_region(region: Zonotope, projection: nn.Linear) -> tuple[Zonotope, Tensor]:
    """Return regions of exported vectors, up to their length, and whether each is known, ``(Q,)`` bool.

    Args:
        region: Of the head's outputs.
        projection: What follows them at unit length: components, and minus the mean along them as the bias.
    """
    weight, bias = projection.weight, projection.bias
    length = torch.linalg.vector_norm(region.centre, dim=1, keepdim=True).clamp_min(1e-300)
    ray = region.centre / length
    along = (region.generators @ ray[:, :, None])[..., 0]
    least = length[:, 0] - along.abs().sum(1)
    beside = region.generators - along[..., None] * ray[:, None]
    # the shorter of two bounds: of each coordinate, and of each generator
    far = torch.minimum(
        torch.linalg.vector_norm(beside.abs().sum(1), dim=1), torch.linalg.vector_norm(beside, dim=2).sum(1)
    )
    known = least > 0
    longer = torch.where(known, far.square() / (2 * least), 0.0)[:, None] / 2 * bias
    turned = weight + bias[:, None] * ray[:, None]  # (Q, k, D)
    centre = (turned @ region.centre[:, :, None])[..., 0] + longer
    generators = torch.cat([region.generators @ turned.transpose(1, 2), longer[:, None]], dim=1)
    return Zonotope(centre, generators), known
