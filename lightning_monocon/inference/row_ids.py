# SPDX-License-Identifier: Apache-2.0
"""Check the ids of rows, by which stores and answers name them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_LARGEST = 2**63 - 1


def check_ids(name: str, ids: NDArray[Any]) -> None:
    """Raise ValueError unless ids are a list of integers that stores hold, or of text, and each occurs once."""
    if ids.dtype.kind not in "iuU" or ids.ndim != 1:
        raise ValueError(f"`{name}` must be one integer or text a row; got {ids.shape} {ids.dtype}: convert them.")
    if ids.dtype.kind in "iu" and len(ids) and (int(ids.max()) > _LARGEST or int(ids.min()) < -_LARGEST):
        most = ids.max() if int(ids.max()) > _LARGEST else ids.min()
        raise ValueError(f"`{name}` must be integers up to {_LARGEST}; got {most}: write them as text.")
    if ids.dtype.kind == "U":
        _check_text(name, ids)
    found, counts = np.unique(ids, return_counts=True)
    if len(found) < len(ids):
        twice = found[counts > 1]
        shown = ", ".join(map(repr, twice[:3].tolist()))
        occur = f"{shown} occurs more often" if len(twice) == 1 else f"{len(twice)} occur more often, such as {shown}"
        raise ValueError(f"`{name}` must name each row once; {occur}: give a column of unique ids.")


def _check_text(name: str, ids: NDArray[Any]) -> None:
    """Refuse half of a surrogate pair, which has no UTF-8: no store takes it."""
    try:
        "".join(ids.tolist()).encode()
    except UnicodeEncodeError:
        broken = next(one for one in ids.tolist() if any("\ud800" <= letter <= "\udfff" for letter in one))
        raise ValueError(f"`{name}` must be text that UTF-8 can write; {broken!a} is not: rename that row.") from None
