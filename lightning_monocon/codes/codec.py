# SPDX-License-Identifier: Apache-2.0
"""Encode rows into bytes, decode them and score queries against them: a space and a quantiser that were fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import numpy as np
import torch
from torch import Tensor

from lightning_monocon.codes.fast import encode_levels
from lightning_monocon.codes.levels import LevelQuantiser
from lightning_monocon.codes.quantiser import Quantiser
from lightning_monocon.codes.space import Space
from lightning_monocon.functional.checks import check_embeddings, finite_rows

_ENCODED = 1024  # rows encoded at a time, so that their coordinates stay in the cache
_BLOCK = 16_384  # codes decoded at a time, so that memory does not grow with their number

Array = TypeVar("Array", np.ndarray, Tensor)


@dataclass(frozen=True, eq=False)
class Codec:
    """Turn rows into codes of few bytes, and score float queries against the codes.

    Every method takes NumPy arrays or tensors and returns what it was given.

    Attributes:
        name: Such as ``"transform-32"``.
        family: Family that fitted it, such as ``"transform"``.
        space: Map from rows to the coordinates that are quantised.
        quantiser: Coordinates to bytes and back.
    """

    name: str
    family: str
    space: Space
    quantiser: Quantiser

    @property
    def bytes_per_vector(self) -> int:
        """Bytes of one code."""
        return self.quantiser.bytes

    @property
    def dim(self) -> int:
        """Numbers of a row."""
        return self.space.matrix.shape[1]

    def encode(self, rows: Array) -> Array:
        """Return the codes ``(N, bytes_per_vector)`` uint8 of rows ``(N, D)``.

        A row of zeros gets the code of the origin: for ``similarity="cosine"`` it is left unscaled.

        Raises:
            TypeError: If ``rows`` are not floating-point.
            ValueError: If they have another width, or one is not finite.
        """
        given = check_embeddings(_tensor(rows), "rows", self.dim)
        if isinstance(self.quantiser, LevelQuantiser):
            return _like(rows, encode_levels(self.space, self.quantiser, given))
        finite_rows(given, "error", "rows")
        blocks = [self.quantiser.encode(self.space.coordinates(block)) for block in torch.split(given, _ENCODED)]
        return _like(rows, torch.cat(blocks))

    def decode(self, codes: Array) -> Array:
        """Return codes ``(N, bytes_per_vector)`` as rows ``(N, D')`` float32 of the scoring space.

        Raises:
            TypeError: If ``codes`` are not uint8.
            ValueError: If they have another width.
        """
        return _like(codes, self.space.points(self.quantiser.decode(self._checked(_tensor(codes)))))

    def score(self, queries: Array, codes: Array) -> Array:
        """Return the scores ``(Q, N)`` float32 of float queries ``(Q, D)`` against codes; more is nearer."""
        asked = self.space.queries(check_embeddings(_tensor(queries), "queries", self.dim))
        return _like(queries, self._against(asked, _tensor(codes)))

    def score_codes(self, first: Array, second: Array) -> Array:
        """Return the scores ``(M, N)`` float32 of codes ``(M, B)`` against codes ``(N, B)``; more is nearer."""
        return _like(first, self._against(self.decode(_tensor(first)), _tensor(second)))

    def _against(self, points: Tensor, codes: Tensor) -> Tensor:
        """Return the inner products of points ``(Q, D')`` with codes, decoded a block at a time."""
        scores = points.new_empty(len(points), len(codes))
        for start in range(0, len(codes), _BLOCK):
            decoded = self.decode(codes[start : start + _BLOCK])
            scores[:, start : start + _BLOCK] = points @ decoded.T
        return scores

    def _checked(self, codes: Tensor) -> Tensor:
        if codes.dtype != torch.uint8:
            raise TypeError(f"`codes` must be uint8, as `encode` returns them; got {codes.dtype}.")
        if codes.ndim != 2 or codes.shape[1] != self.bytes_per_vector:
            raise ValueError(
                f"`codes` must be (N, {self.bytes_per_vector}) for the codec {self.name}; got {tuple(codes.shape)}. "
                "Decode codes with the codec that encoded them."
            )
        return codes

    def description(self) -> Mapping[str, Any]:
        """Return what is not a tensor, as plain values for JSON."""
        space = {"similarity": self.space.similarity, "scoring": self.space.scoring}
        quantiser = {"kind": self.quantiser.kind, **self.quantiser.description()}
        return {"name": self.name, "family": self.family, "space": space, "quantiser": quantiser}

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the tables, by name."""
        tables = {f"quantiser.{name}": table for name, table in self.quantiser.tensors().items()}
        return {"space.mean": self.space.mean, "space.matrix": self.space.matrix, **tables}


def _tensor(array: np.ndarray | Tensor) -> Tensor:
    return array if isinstance(array, Tensor) else torch.from_numpy(array)


@overload
def _like(given: np.ndarray, result: Tensor) -> np.ndarray: ...
@overload
def _like(given: Tensor, result: Tensor) -> Tensor: ...
def _like(given: np.ndarray | Tensor, result: Tensor) -> np.ndarray | Tensor:
    return result if isinstance(given, Tensor) else result.numpy()
