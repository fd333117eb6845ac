# SPDX-License-Identifier: Apache-2.0
"""Match the ids that a file of answers names with the rows of embeddings.

Ids are compared as text: the integer 1 and the text ``1`` are the same id, ``01`` is another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightning_monocon.data.text.pair_files import texts
from lightning_monocon.encoders.hub import optional_package
from lightning_monocon.inference.shards import Ids

if TYPE_CHECKING:
    from pyarrow import Table

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,19}")
"""Texts that an int64 or uint64 id is written as; a few others match that no such id has."""
_SHOWN = 3


def ids_of(table: Table, column: str, path: Path) -> list[str]:
    """Return a column of ids, integers or texts, as texts.

    Raises:
        TypeError: If it holds anything else, such as the floats that integers become beside a gap.
        ValueError: If a cell is empty.
    """
    pyarrow, types = optional_package("pyarrow", "text"), optional_package("pyarrow.types", "text")
    cells, kind = table[column], table.schema.field(column).type
    if types.is_integer(kind) and not cells.null_count:
        cells = cells.cast(pyarrow.string())
    elif types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        gaps = f", {cells.null_count} of {len(cells)} missing" if cells.null_count else ""
        raise TypeError(
            f"`path` must have an integer or a text as id in every row; {column!r} of {str(path)!r} holds {kind}{gaps}."
        )
    return texts(pyarrow.table({column: cells}), column, path)


def rows_of(wanted: Iterable[str], known: Iterable[Ids]) -> dict[str, int]:
    """Return the row of each wanted id that is known.

    Args:
        wanted: Ids as texts.
        known: Ids of the rows, block by block; a single array is ``[array]``.

    Raises:
        ValueError: If a wanted id belongs to two rows.
    """
    names = set(wanted)
    numbers = [int(name) for name in names if _INTEGER.fullmatch(name)]
    held: dict[np.dtype[Any], NDArray[Any]] = {}
    rows: dict[str, int] = {}
    start = 0
    for block in known:
        if block.dtype.kind in "iu" and block.dtype not in held:
            held[block.dtype] = _in_range(numbers, block.dtype)
        for place in _places(block, names, held):
            name = str(block[place])
            if name in rows:
                raise ValueError(
                    f"`ids` must be unique; {name!r} is the id of the rows {rows[name]} and {start + place}. Remove "
                    "one of them, or give the rows other ids."
                )
            rows[name] = start + place
        start += len(block)
    return rows


def _in_range(numbers: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return those numbers that a dtype holds, in it: NumPy compares int64 with uint64 as float64, which rounds."""
    bounds = np.iinfo(dtype)
    return np.array([number for number in numbers if bounds.min <= number <= bounds.max], dtype=dtype)


def _places(block: Ids, names: set[str], numbers: Mapping[np.dtype[Any], NDArray[Any]]) -> list[int]:
    """Return the places of wanted ids in a block; integers are not turned into texts, of which millions take long."""
    if block.dtype.kind in "iu":
        return np.flatnonzero(np.isin(block, numbers[block.dtype])).tolist()
    return [place for place, name in enumerate(block.tolist()) if name in names]


def check_known(argument: str, what: str, wanted: Sequence[str], rows: dict[str, int], known: Iterable[Ids]) -> None:
    """Check that every id has a row.

    Args:
        argument: Name of the argument that holds the ids, for the message.
        what: What they are ids of, such as ``"row of the gallery"``.
        wanted: The ids, with repetitions.
        rows: What `rows_of` found.
        known: Ids of the rows, of which the message shows a few.

    Raises:
        ValueError: If some have none; the message shows three of them.
    """
    unknown = sorted(set(wanted) - rows.keys())
    if not unknown:
        return
    there = [repr(name) for block in islice(known, 1) for name in block[:_SHOWN].tolist()]
    shown = ", ".join(map(repr, unknown[:_SHOWN]))
    raise ValueError(
        f"`{argument}` must name a {what} by each id; {len(unknown)} of {len(set(wanted))} ids are unknown: {shown}"
        f"{', ...' if len(unknown) > _SHOWN else ''}, and the embeddings have {', '.join(there)}, ... Embed those rows "
        "too, or use the same ids in both files; ids are compared as text, so '01' is not 1."
    )
