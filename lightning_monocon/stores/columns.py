# SPDX-License-Identifier: Apache-2.0
"""Lay a code out as a column that stores rank by a distance of their own, with the query that makes it right.

==========  ==============================================  ======================  ==============================
kind        codes that lie so                               distance                query
==========  ==============================================  ======================  ==============================
``half``    float16, scored about the mean or uncentred     cosine (or dot)         float coordinates
``int8``    8 bits with one step, the same                  cosine (or dot)         float coordinates
``bit``     1 bit a number, however scored                  Hamming                 the query's own bits; then the
                                                                                    rows found are scored again
==========  ==============================================  ======================  ==============================

A code that is scored as whole vectors although it was centred cannot be a column of numbers: the mean that scoring
puts back would have to be stored with each row. Product and transform codes stand for numbers only through tables,
which none of these stores has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lightning_monocon.codes import Codec, LevelQuantiser
from lightning_monocon.codes.half import HalfQuantiser

Kind = Literal["half", "int8", "bit"]
"""What a column holds: float16 numbers, signed bytes, or bits."""
Metric = Literal["cosine", "dot", "hamming"]
"""What a store ranks it by."""

_ADVICE: dict[Kind, str] = {
    "half": "uncentred float16 codes",
    "int8": "uncentred int8 codes of one step",
    "bit": "codes of one bit",
}


@dataclass(frozen=True, eq=False)
class Column:
    """Hold how the codes of one codec lie in a store.

    Attributes:
        codec: The codec.
        kind: What the column holds.
        width: Numbers, or bits, of a row.
        metric: What ranks it.
    """

    codec: Codec = field(repr=False)
    kind: Kind
    width: int
    metric: Metric

    def stored(self, codes: NDArray[np.uint8]) -> np.ndarray:
        """Return codes ``(N, bytes)`` as what is stored: float16 or int8 ``(N, width)``, or bytes of bits unchanged."""
        if self.kind == "half":
            return np.ascontiguousarray(codes).view("<f2")
        return (codes ^ np.uint8(128)).view(np.int8) if self.kind == "int8" else codes

    def codes(self, stored: np.ndarray) -> NDArray[np.uint8]:
        """Return the codes ``(N, bytes)`` of what is stored: the inverse of `stored`."""
        if self.kind == "half":
            return np.ascontiguousarray(stored, "<f2").view(np.uint8)
        return stored.view(np.uint8) ^ np.uint8(128) if self.kind == "int8" else stored

    def asked(self, queries: np.ndarray, exactly: bool) -> np.ndarray:
        """Return queries ``(Q, D)`` as what a store is asked: bytes of bits, float32 or int8 ``(Q, width)``.

        Those of a half column are divided by their largest number, which changes no order.

        Args:
            queries: Embeddings.
            exactly: Whether the store takes float queries; if not, those of an int8 column are rounded to int8.
        """
        if self.kind == "bit":
            return self.codec.encode(queries)
        import torch

        points: np.ndarray = self.codec.space.queries(torch.from_numpy(queries)).numpy()[:, : self.width]
        if self.kind == "half":
            # most stores round queries to float16; beyond its range pgvector refuses them and LanceDB finds no rows
            scaled: np.ndarray = points / _largest(points)
            return scaled
        return points if exactly else _rounded(points)


def column_of(codec: Codec, kinds: Sequence[Kind], store: str) -> Column:
    """Return the column of a codec in a store that holds the given kinds.

    Raises:
        ValueError: If the store cannot rank the code by itself.
    """
    kind = _kind(codec)
    if kind is None or kind not in kinds:
        advice = " or ".join(_ADVICE[known] for known in kinds)
        why = _reason(codec) if kind is None else f"holds {kind} numbers, which {store} has no column for"
        raise ValueError(
            f"`OUT` must hold a code that {store} ranks itself; {codec.name} {why}. Take {advice}, which "
            "`monocon shrink --store` tries alone."
        )
    numbers = 8 * codec.bytes_per_vector if kind == "bit" else codec.space.matrix.shape[0]
    metric: Metric = "hamming" if kind == "bit" else codec.space.similarity
    return Column(codec, kind, numbers, metric)


def _kind(codec: Codec) -> Kind | None:
    quantiser = codec.quantiser
    if isinstance(quantiser, LevelQuantiser) and bool((quantiser.bits == 1).all()):
        return "bit"
    if codec.space.scoring == "whole" and bool(codec.space.mean.any()):
        return None
    if isinstance(quantiser, HalfQuantiser):
        return "half"
    return "int8" if isinstance(quantiser, LevelQuantiser) and _one_step(quantiser) else None


def _one_step(quantiser: LevelQuantiser) -> bool:
    """Return whether every number has the levels ``step * (-128, ..., 127)``, so that cosines of codes are theirs."""
    if not bool((quantiser.bits == 8).all()):
        return False
    levels = quantiser.levels.double()
    step = levels[0, 129]
    places = (levels / step).round()
    whole = bool((places[0] == places.new_tensor(range(-128, 128))).all())
    return whole and bool((levels == levels[0]).all()) and bool(((levels - places * step).abs() <= step * 1e-4).all())


def _reason(codec: Codec) -> str:
    quantiser = codec.quantiser
    if isinstance(quantiser, HalfQuantiser) or (isinstance(quantiser, LevelQuantiser) and _one_step(quantiser)):
        return "puts the mean back when it scores"
    return "stands for numbers only through its own tables"


def _rounded(points: np.ndarray) -> NDArray[np.int8]:
    """Return each query with its largest number at 127: a cosine does not depend on the length."""
    rounded: NDArray[np.int8] = np.rint(points * (127 / _largest(points))).astype(np.int8)
    return rounded


def _largest(points: np.ndarray) -> np.ndarray:
    """Return the largest number ``(Q, 1)`` of each query, above 0."""
    found: np.ndarray = np.maximum(np.abs(points).max(1, keepdims=True), np.finfo(np.float32).tiny)
    return found
