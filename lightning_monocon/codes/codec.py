# SPDX-License-Identifier: Apache-2.0
"""Encode rows into bytes, decode them and score queries against them: a space and a quantiser that were fitted."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar, overload

import numpy as np
import torch
from torch import Tensor

from lightning_monocon.codes.checks import check_finite
from lightning_monocon.codes.devices import to_device
from lightning_monocon.codes.fast import LevelEncoder
from lightning_monocon.codes.levels import LevelQuantiser
from lightning_monocon.codes.quantiser import Quantiser
from lightning_monocon.codes.space import Space
from lightning_monocon.functional.checks import check_embeddings

_ENCODED = 1024  # rows encoded at a time, so that their coordinates stay in the cache
_DECODED = 2048  # codes decoded at a time, for the same reason
_BLOCK = 16_384  # codes scored at a time, so that memory does not grow with their number

_FLOATS = "float16 float32 float64"  # of NumPy

Array = TypeVar("Array", np.ndarray, Tensor)


@dataclass(frozen=True, eq=False)
class Codec:
    """Turn rows into codes of few bytes, and score float queries against the codes.

    Every method takes NumPy arrays or tensors and returns what it was given, tensors on the device of the first
    argument. For another device than the CPU the tables are copied there at the first use.

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
    _elsewhere: dict[torch.device, Codec] = field(default_factory=dict, init=False, repr=False)

    @property
    def bytes_per_vector(self) -> int:
        """Bytes of one code."""
        return self.quantiser.bytes

    @property
    def dim(self) -> int:
        """Numbers of a row."""
        return self.space.matrix.shape[1]

    def to(self, device: torch.device | str) -> Codec:
        """Return the codec with its tables on a device; the offset is copied, not computed again."""
        space = replace(self.space, stored_offset=self.space.offset)
        target = torch.device(device)
        return replace(self, space=to_device(space, target), quantiser=to_device(self.quantiser, target))

    def encode(self, rows: Array) -> Array:
        """Return the codes ``(N, bytes_per_vector)`` uint8 of rows ``(N, D)``.

        A row of zeros gets the code of the origin: for ``similarity="cosine"`` it is left unscaled.

        Raises:
            TypeError: If ``rows`` are not floating-point.
            ValueError: If they have another width, or one is not finite.
        """
        given = self._rows(rows, "rows")
        own = self._on(given.device)
        narrow = given.device.type == "cpu" and given.dtype != torch.float64
        if narrow and own._fast is not None:
            return _like(rows, own._fast(given))
        check_finite(given, "rows")
        blocks = [own.quantiser.encode(own.space.coordinates(block)) for block in torch.split(given, _ENCODED)]
        return _like(rows, torch.cat(blocks))

    def decode(self, codes: Array) -> Array:
        """Return codes ``(N, bytes_per_vector)`` as rows ``(N, D')`` float32 of the scoring space.

        Raises:
            TypeError: If ``codes`` are not uint8.
            ValueError: If they have another width.
        """
        given = self._checked(_tensor(codes))
        own = self._on(given.device)
        blocks = [own.space.points(own.quantiser.decode(block)) for block in torch.split(given, _DECODED)]
        return _like(codes, torch.cat(blocks))

    def score(self, queries: Array, codes: Array) -> Array:
        """Return the scores ``(Q, N)`` float32 of float queries ``(Q, D)`` against codes; more is nearer.

        Codes may lie on another device than the queries: blocks of them are copied.

        Raises:
            TypeError: If ``queries`` are not floating-point, or ``codes`` not uint8.
            ValueError: If either has another width, or a query is not finite.
        """
        given = self._rows(queries, "queries")
        check_finite(given, "queries")
        return _like(queries, self._against(self._on(given.device).space.queries(given), _tensor(codes)))

    def score_codes(self, first: Array, second: Array) -> Array:
        """Return the scores ``(M, N)`` float32 of codes ``(M, B)`` against codes ``(N, B)``; more is nearer."""
        return _like(first, self._against(self.decode(_tensor(first)), _tensor(second)))

    def _against(self, points: Tensor, codes: Tensor) -> Tensor:
        """Return the inner products of points ``(Q, D')`` with codes, decoded a block at a time."""
        scores = points.new_empty(len(points), len(codes))
        for start in range(0, len(codes), _BLOCK):
            decoded = self.decode(codes[start : start + _BLOCK].to(points.device))
            scores[:, start : start + _BLOCK] = points @ decoded.T
        return scores

    @cached_property
    def _fast(self) -> LevelEncoder | None:
        """What encodes float32 rows sooner than the definition, which is for the others."""
        if self.space.similarity == "cosine" and isinstance(self.quantiser, LevelQuantiser):
            return LevelEncoder(self.space, self.quantiser)
        return None

    def _on(self, device: torch.device) -> Codec:
        """Return the codec on a device, and keep it for the next call."""
        if device == self.space.matrix.device:
            return self
        if device not in self._elsewhere:
            self._elsewhere[device] = self.to(device)
        return self._elsewhere[device]

    def _rows(self, rows: np.ndarray | Tensor, name: str) -> Tensor:
        given = check_embeddings(_tensor(rows, name, _FLOATS), name)
        if given.shape[1] != self.dim:
            raise ValueError(
                f"`{name}` must have {self.dim} numbers each, like the rows that the codec {self.name} was fitted on; "
                f"got {given.shape[1]}. Use vectors of the same model, or the codec of these."
            )
        return given

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
        return {
            "space.mean": self.space.mean,
            "space.matrix": self.space.matrix,
            "space.offset": self.space.offset,
            **tables,
        }


def _tensor(array: np.ndarray | Tensor, name: str = "codes", kinds: str = "") -> Tensor:
    """Return an array as a tensor; raise TypeError if it is none, or its numbers are of another kind."""
    if isinstance(array, Tensor):
        return array
    if not isinstance(array, np.ndarray):
        raise TypeError(f"`{name}` must be a NumPy array or a tensor; got {type(array).__name__}: convert it.")
    if kinds and array.dtype.name not in kinds.split():
        raise TypeError(
            f"`{name}` must be floating-point numbers of 16, 32 or 64 bits; got {array.dtype}: convert them, as by "
            "`.astype(numpy.float32)`."
        )
    native = array.dtype.newbyteorder("=")
    if array.dtype != native or any(stride < 0 for stride in array.strides):  # which torch does not take
        return torch.from_numpy(array.astype(native, order="C"))
    with warnings.catch_warnings():
        # torch warns of memory that must not be written to, as that of a file; nothing here writes to it
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)


@overload
def _like(given: np.ndarray, result: Tensor) -> np.ndarray: ...
@overload
def _like(given: Tensor, result: Tensor) -> Tensor: ...
def _like(given: np.ndarray | Tensor, result: Tensor) -> np.ndarray | Tensor:
    return result if isinstance(given, Tensor) else result.numpy()
