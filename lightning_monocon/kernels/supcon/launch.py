# SPDX-License-Identifier: Apache-2.0
"""Launch the tile kernels: choose tile sizes, allocate slots, and split the backward pass. Imports Triton."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from lightning_monocon.kernels.dispatch import architecture
from lightning_monocon.kernels.monotone_linear.configurations import nearest
from lightning_monocon.kernels.products import add_product_
from lightning_monocon.kernels.supcon import kernel, kernel_rows


class Tiles(NamedTuple):
    """Hold the size and the schedule of a tile of pairs."""

    block: int
    """Rows and columns."""
    depth: int
    """Number of dimensions multiplied at a time."""
    num_warps: int
    num_stages: int


# By architecture, then by bytes per number. Each compiles without register spills for every variant, which a test
# asserts. They were chosen by registers, shared memory and occupancy, and not measured on a GPU.
TILES = {
    "sm_90": {2: Tiles(128, 64, 8, 3), 4: Tiles(128, 32, 8, 3)},
    "sm_80": {2: Tiles(128, 32, 8, 3), 4: Tiles(64, 32, 4, 3)},
    "gfx942": {2: Tiles(64, 64, 4, 2), 4: Tiles(64, 32, 4, 2)},
}
OTHER_TILES = {2: Tiles(64, 32, 4, 3), 4: Tiles(64, 16, 4, 3)}
"""Also used if D is not a multiple of the depth: numbers are then loaded one by one, and larger tiles spill."""
SMALL_TILES = Tiles(32, 16, 4, 2)
SCALAR_UNITS_FROM = {"sm_75": 2, "gfx1100": 4, "gfx1200": 4}
"""Bytes per number from which no matrix unit multiplies on an architecture: larger tiles spill."""
INTERPRETER_TILES = Tiles(16, 16, 1, 1)

CHUNK_BYTES = 64 << 20
"""Bytes of A that exist at a time in the backward pass, few enough for a large last-level cache."""
SLOT_BYTES = 128 << 20
"""Bytes of partial sums that exist at a time in the forward pass. More anchors than that take turns, and then both
halves of the tiles are computed, so that memory stays O(N (D + block)): with tiles of 128 from 65 536 rows on."""
HALF_SCALE = 4096.0
"""A is at most 2 and mostly tiny; a factor of 2^12 brings it into the normal range of float16."""
FINISH_BLOCK = 128
TILE_ROWS_TOGETHER = 8


PRODUCTS = {
    "sm_90": {},
    "sm_80": {},
    "gfx942": {},
    # no TF32, and no product for Turing's tensor cores in Triton 3.7: its float16 tiles are multiplied as float32
    "gfx90a": {"tf32": "ieee"},
    "gfx1100": {"tf32": "ieee", "bf16x3": "ieee"},
    "gfx1200": {"tf32": "ieee", "bf16x3": "ieee"},
    "sm_75": {"tf32": "ieee", "bf16x3": "ieee"},
}
"""How float32 tiles multiply where an architecture lacks what was asked for; "ieee" is as accurate or more."""


def product_for(architecture: str, precision: str) -> str:
    """Return how float32 tiles multiply on an architecture."""
    return PRODUCTS[nearest(architecture)].get(precision, precision)


def tiles_for(architecture: str, number_bytes: int, dim: int) -> Tiles:
    """Return the tile sizes for rows of `dim` numbers."""
    if number_bytes >= SCALAR_UNITS_FROM.get(nearest(architecture), 8):
        return SMALL_TILES
    found = TILES.get(architecture, OTHER_TILES)[number_bytes]
    if dim % found.depth:
        return OTHER_TILES[number_bytes]._replace(num_stages=found.num_stages)
    return found


class Variant(NamedTuple):
    """Select the variant of the kernels; see `kernel`."""

    labels: bool
    """Whether the tiles compare labels."""
    ignore: bool
    bounded: bool
    precision: str = "ieee"
    """How float32 tiles multiply: "tf32", "bf16x3" or "ieee". It does not matter for float16 tiles."""


class Pairs(NamedTuple):
    """Hold the anchors and the rows that they are compared with."""

    z: Tensor
    """Anchors, ``(M, D)``, contiguous; `rows` itself if all rows are anchors, so that half of the tiles suffice."""
    rows: Tensor
    """Contrast rows, ``(N, D)``, contiguous."""
    anchor_ids: Tensor
    """Class ids of the anchors, ``(M,)`` int32, negative for ignored ones; read only if the variant needs them."""
    row_ids: Tensor
    """Class ids of the rows, ``(N,)``."""
    temperature: Tensor
    """T, 0-d float32."""
    start: int
    """Index of the first anchor among the rows; N or more if the two are different sets."""
    variant: Variant

    @property
    def tiles(self) -> Tiles:
        """Return the tile sizes for rows of this device and dtype."""
        if self.z.device.type == "cpu":
            return INTERPRETER_TILES
        return tiles_for(architecture(self.z.device), self.z.element_size(), self.z.shape[1])

    def part(self, rows: slice, first_column: int) -> Pairs:
        """Return the pairs of some anchors with the rows from `first_column` on."""
        return self._replace(
            z=self.z[rows],
            rows=self.rows[first_column:],
            anchor_ids=self.anchor_ids[rows],
            row_ids=self.row_ids[first_column:],
            start=self.start + rows.start - first_column,
        )

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that both tile kernels take."""
        tiles = self.tiles
        return {
            "anchors_ptr": self.z,
            "rows_ptr": self.rows,
            "anchor_ids_ptr": self.anchor_ids,
            "row_ids_ptr": self.row_ids,
            "temperature_ptr": self.temperature,
            "M": len(self.z),
            "N": len(self.rows),
            "D": self.z.shape[1],
            "stride": self.z.stride(0),
            "start": self.start,
            "LABELS": self.variant.labels,
            "IGNORE": self.variant.ignore,
            "BOUNDED": self.variant.bounded,
            "BLOCK_M": tiles.block,
            "BLOCK_N": tiles.block,
            "BLOCK_D": tiles.depth,
            "EVEN_D": self.z.shape[1] % tiles.depth == 0,
            "PRECISION": product_for(architecture(self.z.device), self.variant.precision),
            "num_warps": tiles.num_warps,
            "num_stages": tiles.num_stages,
        }


class Statistics(NamedTuple):
    """Hold the results of the forward pass for each anchor, ``(M,)`` float32."""

    loss: Tensor
    scale: Tensor
    """1 / S, or log2 S if the variant is not bounded."""
    share: Tensor
    """1 / number of positives."""


def statistics(pairs: Pairs, mean_positive_cosine: Tensor | None = None, paired: Tensor | None = None) -> Statistics:
    """Return loss, scale and share of the anchors.

    Args:
        pairs: The anchors and the rows.
        mean_positive_cosine: ``(M,)`` float32, if the variant does not compare labels.
        paired: ``(M,)`` float32, 1 for anchors that count, with `mean_positive_cosine`.
    """
    count = len(pairs.z)
    found = Statistics(*(pairs.z.new_empty(count, dtype=torch.float32) for _ in range(3)))
    together = _anchors_together(pairs)
    for first in range(0, count, together):
        own = slice(first, min(first + together, count))
        part = pairs if together >= count else pairs.part(own, 0)
        given = (None if whole is None else whole[own] for whole in (mean_positive_cosine, paired))
        _statistics(part, Statistics(*(whole[own] for whole in found)), *given)
    return found


def _planes(variant: Variant) -> int:
    return (1 if variant.bounded else 2) + (2 if variant.labels else 0)


def _anchors_together(pairs: Pairs) -> int:
    """Return the number of anchors whose slots are held at a time, a multiple of the tile."""
    block = pairs.tiles.block
    across = max(-(-len(pairs.rows) // block), 1)
    return max(SLOT_BYTES // (4 * _planes(pairs.variant) * across) // block, 1) * block


def _statistics(pairs: Pairs, found: Statistics, cosine: Tensor | None, paired: Tensor | None) -> None:
    """Write the statistics of some anchors, at least one."""
    count, variant = len(pairs.z), pairs.variant
    across = triton.cdiv(len(pairs.rows), pairs.tiles.block)
    slots = found.loss.new_empty((_planes(variant), across, count))
    kernel.denominators_kernel[(across, triton.cdiv(count, pairs.tiles.block))](
        slots_ptr=slots, SYMMETRIC=pairs.z is pairs.rows, **pairs.arguments()
    )
    kernel_rows.finish_kernel[(triton.cdiv(count, FINISH_BLOCK),)](
        slots_ptr=slots,
        mean_positive_ptr=slots if cosine is None else cosine,
        paired_ptr=slots if paired is None else paired,
        temperature_ptr=pairs.temperature,
        loss_ptr=found.loss,
        scale_ptr=found.scale,
        share_ptr=found.share,
        M=count,
        SLOTS=across,
        LABELS=variant.labels,
        BOUNDED=variant.bounded,
        BLOCK=FINISH_BLOCK,
    )


class Weights(NamedTuple):
    """Hold the factors of A other than the cosines."""

    own: Tensor
    """Scale of the anchors, ``(M,)``."""
    other: Tensor
    """Scale of the rows, ``(N,)``."""
    share: Tensor
    """Share of the anchors, ``(M,)``."""
    factor: float
    """Factor of A before it is rounded to the tile dtype."""
    roles: tuple[bool, bool] = (True, True)
    """Whether z acts as anchors, and as contrast."""


def add_gradient(pairs: Pairs, weights: Weights, out: Tensor) -> None:
    """Add ``factor sum_j A_ij z_j`` of the anchors to `out`, ``(M, D)`` float32."""
    count, chunk = len(pairs.z), _chunk(pairs)
    symmetric = pairs.z is pairs.rows
    for first in range(0, count, chunk):
        rows = slice(first, min(first + chunk, count))
        part = pairs.part(rows, first if symmetric else 0)
        tile = _weights(part, _part(weights, rows, first if symmetric else 0))
        add_product_(out[rows], tile, part.rows)
        if symmetric and rows.stop < count:
            add_product_(out[rows.stop :], tile[:, rows.stop - first :].T, part.z)


def add_gradients_between(pairs: Pairs, weights: Weights, by_anchors: Tensor, by_rows: Tensor | None) -> None:
    """Add ``factor W c`` to the anchors' gradient ``(M, D)`` and ``factor W^T z`` to the rows' ``(N, D)``, float32."""
    count = len(pairs.z)
    chunk = _chunk(pairs)
    for first in range(0, count, chunk):
        rows = slice(first, min(first + chunk, count))
        part = pairs.part(rows, 0)
        tile = _weights(part, _part(weights, rows, 0))
        add_product_(by_anchors[rows], tile, part.rows)
        if by_rows is not None:
            add_product_(by_rows, tile.T, part.z)


def _chunk(pairs: Pairs) -> int:
    """Return the number of anchors whose weights are held at a time."""
    block = pairs.tiles.block
    return max(CHUNK_BYTES // (pairs.z.element_size() * max(len(pairs.rows), 1)) // block, 1) * block


def _part(weights: Weights, rows: slice, first_column: int) -> Weights:
    return weights._replace(own=weights.own[rows], other=weights.other[first_column:], share=weights.share[rows])


def _weights(pairs: Pairs, weights: Weights) -> Tensor:
    """Return ``factor A``, ``(M, N)`` in the tile dtype."""
    count, total = len(pairs.z), len(pairs.rows)
    padded = triton.cdiv(total, 8) * 8  # 16 bytes of float16, so that the GEMM can use wide loads
    out = pairs.z.new_empty((count, padded))[:, :total]
    block = pairs.tiles.block
    kernel.weights_kernel[(triton.cdiv(count, block) * triton.cdiv(total, block),)](
        own_ptr=weights.own,
        other_ptr=weights.other,
        share_ptr=weights.share,
        out_ptr=out,
        out_stride=padded,
        ROW=weights.roles[0],
        COL=weights.roles[1],
        SCALE=weights.factor,
        GROUP=TILE_ROWS_TOGETHER,
        **pairs.arguments(),
    )
    return out
