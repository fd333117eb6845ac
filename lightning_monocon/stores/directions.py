# SPDX-License-Identifier: Apache-2.0
"""List the numbers of a codec as the rows of a table, for stores that map an embedding by themselves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_monocon.codes import Codec, LevelQuantiser


class Direction(NamedTuple):
    """Hold what one number of a code is: ``direction · x - shift``.

    Attributes:
        number: Its place in the code.
        direction: ``(D,)`` float32.
        shift: What is taken off.
        cut: Where a bit becomes 1; None for the part of the mean outside the span of the numbers.
        low: What a bit of 0 stands for; 0 if the code has none.
        high: What a bit of 1 stands for.
        stored: Whether codes hold it.
    """

    number: int
    direction: NDArray[np.float32]
    shift: float
    cut: float | None
    low: float
    high: float
    stored: bool


def directions_of(codec: Codec) -> list[Direction]:
    """Return one row a number, and one for the part of the mean outside their span where scoring puts it back."""
    space = codec.space
    count = space.matrix.shape[0]
    matrix = space.matrix.numpy().astype(np.float32)
    shift = space.offset.numpy()
    low = high = np.zeros(count)
    if isinstance(codec.quantiser, LevelQuantiser):
        low, high = codec.quantiser.levels[:, :2].double().numpy().T
    cut = (low + high) / 2
    if space.scoring == "whole":
        low, high = low + shift, high + shift
    rows = [
        Direction(j, matrix[j], float(shift[j]), float(cut[j]), float(low[j]), float(high[j]), True)
        for j in range(count)
    ]
    beyond = space.beyond.numpy()
    length = float(np.linalg.norm(beyond))
    if space.scoring == "whole" and length > 0:
        rows.append(Direction(count, (beyond / length).astype(np.float32), 0.0, None, length, length, False))
    return rows
