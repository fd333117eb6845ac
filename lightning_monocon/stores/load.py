# SPDX-License-Identifier: Apache-2.0
"""Write a folder of codes into a store, all of it or nothing."""

from __future__ import annotations

from lightning_monocon.stores.bundle import Bundle
from lightning_monocon.stores.collection import Collection
from lightning_monocon.stores.columns import column_of
from lightning_monocon.stores.store import Stamp, Store, blocks_of


def load(bundle: Bundle, store: Store, index: bool = True) -> Collection:
    """Write codes, ids and the stamp under a free name, and return what searches them.

    Args:
        bundle: What to write.
        store: Where.
        index: Whether to build the store's graph index, if it has one for the column.

    Raises:
        ValueError: If the store cannot rank the code, or holds something under this name.
    """
    column = column_of(bundle.codec, store.kinds, store.title)
    held = store.stamp()
    if held is not None:
        same = "the same codec" if held.codec == bundle.stamp else f"another space ({held.name})"
        option, other = ("--name", "name") if store.named else ("--into", "file")
        raise ValueError(
            f"`{option}` must be free; {store.title} has {store.count()} rows of {same} there: append to them, or "
            f"choose another {other}."
        )
    stamp = Stamp.of(bundle.stamp, column, bundle.ids)
    store.create(column, stamp, blocks_of(column, bundle.ids, bundle.codes), index)
    return Collection(store, bundle.codec, bundle.stamp)
