# SPDX-License-Identifier: Apache-2.0
"""Append rows to a store with the codec that is there, and delete rows, in step with the folder of the codes."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_monocon.codes.domain import USUAL
from lightning_monocon.stores.bundle import Bundle, changing, write_rows
from lightning_monocon.stores.collection import Collection

ALARM = 0.01
"""Share of far rows above which a warning is given: ten times that of the rows which the code was chosen for."""


class FarRowsWarning(UserWarning):
    """Warn that a code loses more of new rows than of those that it was chosen for."""


def append(collection: Collection, bundle: Bundle, ids: NDArray[Any], rows: NDArray[np.floating]) -> Bundle:
    """Encode rows ``(N, D)``, write them into a store and then into the folder of the codes.

    Rows of which the code loses more than it usually does are counted (`lightning_monocon.codes.domain`); if more than
    one in a hundred are such, there is a `FarRowsWarning`. They are written nonetheless.

    Args:
        collection: The store.
        bundle: What it holds.
        ids: ``(N,)`` ids of the rows.
        rows: Embeddings, as those that the codec was fitted on.

    Returns:
        What the store holds now, without the queries' exact neighbours, which may be others now.

    Raises:
        ConnectionError: If another process changes the folder, or the store.
        TypeError: If ``rows`` are not floating-point.
        ValueError: If ids and rows do not fit, an id is already there, a row is not finite, or the folder has changed
            since it was read; nothing is written then.
    """
    if len(ids) != len(rows):
        raise ValueError(f"`ids` must name each row; got {len(ids)} ids and {len(rows)} rows.")
    ids, codes = collection.held(ids), bundle.codec.encode(rows)
    far = far_rows(bundle, rows)
    if far is not None and (told := alarm(int(far.sum()), len(rows))):
        warnings.warn(told, FarRowsWarning, stacklevel=2)
    with changing(bundle):
        _check_new(bundle, ids)
        collection.append(ids, codes)
        return _kept(bundle, np.concatenate([bundle.ids, ids]), np.concatenate([bundle.codes, codes]))


def delete(collection: Collection, bundle: Bundle, ids: NDArray[Any]) -> Bundle:
    """Delete rows by their ids from a store and then from the folder of the codes; ids that are not there are ignored.

    Returns:
        What the store holds now, without the queries' exact neighbours.

    Raises:
        ConnectionError: If another process changes the folder, or the store.
        ValueError: If an id occurs twice or is of another type, or the folder has changed since it was read; nothing is
            deleted then.
    """
    ids = collection.held(ids)
    left = ~np.isin(bundle.ids, ids)
    with changing(bundle):
        collection.delete(ids)
        return _kept(bundle, bundle.ids[left], np.asarray(bundle.codes)[left])


def far_rows(bundle: Bundle, rows: NDArray[np.floating]) -> NDArray[np.bool_] | None:
    """Return which rows ``(N, D)`` are far from those of the code; None if the folder does not tell."""
    if bundle.domain is None:
        return None
    far: NDArray[np.bool_] = bundle.domain.far(bundle.codec, torch.from_numpy(rows)).numpy()
    return far


def alarm(far: int, count: int) -> str:
    """Return what is to be said of so many far rows among those that are appended; empty if they are few."""
    if far <= ALARM * count:
        return ""
    return (
        f"{far} of {count} rows are far from those that the code was chosen for: it loses more of each than of "
        f"{1000 * USUAL:.0f} in 1000 of them, so searches find fewer of their neighbours. Choose a code on rows like "
        "these too."
    )


def _check_new(bundle: Bundle, ids: NDArray[Any]) -> None:
    """Raise ValueError if some ids are known, and name one; the store itself would only say that there is one."""
    if len(known := ids[np.isin(ids, bundle.ids)]):
        raise ValueError(
            f"`rows` must hold ids that the store has not; it has {len(known)} of these {len(ids)} already, such as "
            f"{known[0].item()!r}. Delete those rows first, or leave them out."
        )


def _kept(bundle: Bundle, ids: NDArray[Any], codes: NDArray[np.uint8]) -> Bundle:
    found = replace(bundle, ids=ids, codes=codes, nearest=None)
    write_rows(found)
    return found
