# SPDX-License-Identifier: Apache-2.0
"""Give arrays of one small file as a stream of rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_monocon.inference.shards import Ids
from lightning_monocon.scorecard.arrays import array_names, read_array
from lightning_monocon.scorecard.embeddings import as_tensor
from lightning_monocon.scorecard.row_files.formats import labels_in
from lightning_monocon.scorecard.row_files.source import BLOCK, Piece, check_matrix, lacking


class ArrayRows:
    """Read an array of embeddings and those of its ids and labels, a `RowSource`.

    Args:
        path: A file of any kind that `array_names` reads.
        name: The array of embeddings.
        ids: The array of ids; row numbers if it is empty.
        labels: The array of labels, if there is one.

    Raises:
        ValueError: If the file is damaged, an array is missing, there are no rows of floating-point numbers, or
            not as many ids as rows.
    """

    def __init__(self, path: Path, name: str, ids: str = "", labels: str = "") -> None:
        there = array_names(path)
        if name not in there:
            raise lacking(path, name, there)
        if ids and ids not in there:
            raise lacking(path, ids, there, are_ids=True)
        self._file = str(path)
        rows = as_tensor("files", read_array(path, name), f"{path}:{name}".removesuffix(":"))
        check_matrix(path, name, rows.shape, rows.dtype)
        self._rows = rows if rows.dtype == torch.float64 else rows.float()
        self._ids = np.asarray(read_array(path, ids)) if ids else None
        self._labels = labels
        self.length, self.width = rows.shape
        if self._ids is not None:
            self._check("ids", self._ids)
        self.dtype = self._rows.dtype

    @property
    def has_ids(self) -> bool:
        """Whether rows have ids."""
        return self._ids is not None

    @property
    def named(self) -> bool:
        """Whether rows have ids that are texts."""
        return self._ids is not None and self._ids.dtype.kind == "U"

    def pieces(self) -> Iterator[Piece]:
        """Yield all rows."""
        for start in range(0, self.length, BLOCK):
            yield Piece(self._file, start, self._rows[start : start + BLOCK])

    def ids(self) -> Iterator[Ids]:
        """Yield the ids, or the numbers of the rows."""
        yield np.arange(self.length) if self._ids is None else self._ids

    def labels(self) -> NDArray[Any] | None:
        """Return the labels ``(N,)``.

        Raises:
            TypeError: If they are neither integers nor texts.
            ValueError: If there are not as many as rows.
        """
        if not self._labels:
            return None
        labels = labels_in(Path(self._file), self._labels)
        self._check("labels", labels)
        return labels

    def _check(self, what: str, part: NDArray[Any]) -> None:
        if len(part) != self.length:
            raise ValueError(
                f"`files` must have {what} for every row; {self._file} has {len(part)} for {self.length} rows."
            )
