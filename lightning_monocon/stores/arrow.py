# SPDX-License-Identifier: Apache-2.0
"""Lay stored codes out as columns of Arrow, which DuckDB and LanceDB read and give."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lightning_monocon.stores.columns import Column


def codes_as_arrow(column: Column, stored: np.ndarray) -> pa.Array:
    """Return codes ``(n, width)`` as lists of one length, or ``(n, bytes)`` of bits as binary values of one length."""
    if column.kind == "bit":
        stored = np.ascontiguousarray(stored)
        return pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(stored.shape[1]), len(stored), [None, pa.py_buffer(stored)]
        )
    return lists_as_arrow(stored)


def lists_as_arrow(stored: np.ndarray) -> pa.FixedSizeListArray:
    """Return numbers ``(n, width)`` as lists of one length."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(stored).reshape(-1)), stored.shape[1])


def codes_of_arrow(values: pa.ChunkedArray) -> np.ndarray:
    """Return what `codes_as_arrow` laid out, read back from a store."""
    if pa.types.is_binary(values.type):
        return np.frombuffer(b"".join(values.to_pylist()), np.uint8).reshape(len(values), -1)
    found: np.ndarray = values.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return found.reshape(len(values), -1)
