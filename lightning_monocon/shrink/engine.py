# SPDX-License-Identifier: Apache-2.0
"""Map blocks of rows: in this process, or over the files on a cluster.

Fitting and encoding are both such a map, whose results come back in the order of the rows. So it does not matter for
the bytes where it ran.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from lightning_monocon.codes import Codec, FittingRows
from lightning_monocon.codes.fitting import FittingStream
from lightning_monocon.runs.files import reserve, whole
from lightning_monocon.shrink.rows import Rows, blocks

Function: TypeAlias = "Callable[[Tensor, int], Tensor]"
"""Takes a block ``(B, D)`` and the number of its first row, and returns ``(b, k)``."""

Engine: TypeAlias = "Callable[[Rows, Function], Iterator[Tensor]]"
"""Yields what a function returns of all blocks of rows, in their order."""


def in_process(rows: Rows, function: Function) -> Iterator[Tensor]:
    """Map the blocks one after the other."""
    start = 0
    for block in blocks(rows):
        yield function(block, start)
        start += len(block)


def fitting_rows(rows: Rows, numbers: Tensor, seed: int, engine: Engine = in_process) -> FittingRows:
    """Collect what codes are fitted on from some of the rows, by number."""
    wanted = torch.zeros(len(rows), dtype=torch.bool)
    wanted[numbers] = True
    stream = FittingStream(rows.shape[1], seed=seed)
    for block in engine(rows, partial(_selected, wanted)):
        if len(block):
            stream.add(block)
    return stream.result()


def encoded_file(codec: Codec, rows: Rows, path: Path, engine: Engine = in_process) -> Tensor:
    """Return the codes ``(N, bytes)`` of rows ``(N, D)``, mapped from a ``.npy`` file that is written once."""
    if not path.exists():
        with whole(path) as temporary:
            shape = (len(rows), codec.bytes_per_vector)
            file = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
            reserve(temporary)
            start = 0
            for codes in engine(rows, partial(_encoded, codec)):
                file[start : start + len(codes)] = codes.numpy()
                start += len(codes)
            file.flush()
    # "c": torch warns of arrays that it may not write to
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))


def _selected(wanted: Tensor, block: Tensor, start: int) -> Tensor:
    return block[wanted[start : start + len(block)]]


def _encoded(codec: Codec, block: Tensor, _: int) -> Tensor:
    return codec.encode(block)
