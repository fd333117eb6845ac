# SPDX-License-Identifier: Apache-2.0
"""Open the store that an address names."""

from __future__ import annotations

import re
from importlib.util import find_spec

from lightning_monocon.stores.address import shown
from lightning_monocon.stores.columns import Kind
from lightning_monocon.stores.store import Store

SCHEMES = ("postgresql://", "sqlite:///", "duckdb:///", "lancedb://", "qdrant:///", "faiss:///", "usearch:///")
"""Beginnings of the addresses that are known."""

KINDS: dict[str, tuple[Kind, ...]] = {
    "pgvector": ("half", "bit"),
    "sqlite": ("int8", "bit"),
    "duckdb": ("int8", "bit"),
    "lancedb": ("half", "bit"),
    "qdrant": ("half",),
    "faiss": ("half", "bit"),
    "usearch": ("half", "bit"),
}
"""What the columns of each store hold, by the name that `monocon shrink --store` takes."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")


def open_store(address: str, name: str = "documents") -> Store:
    """Open a store.

    Args:
        address: ``postgresql://USER:PASSWORD@HOST/DATABASE``, ``sqlite:///FILE``, ``duckdb:///FILE``,
            ``lancedb://FOLDER``, ``qdrant:///FOLDER``, ``faiss:///FILE`` or ``usearch:///FILE``.
        name: Its table or collection; an index file holds one and ignores it.

    Raises:
        ConnectionError: If a server does not answer or refuses.
        ImportError: If a package is missing.
        ValueError: If the address or the name is not one.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"`--name` must be letters, digits and underscores, at most 48 and no digit first; got {name!r}."
        )
    known = address.replace("postgres://", "postgresql://", 1) if address.startswith("postgres://") else address
    for scheme, opened in _OPENERS.items():
        if known.startswith(scheme):
            return opened(known, known.removeprefix(scheme), name)
    raise ValueError(f"`--into` must begin with one of {', '.join(SCHEMES)}; got {shown(address)}.")


def _pgvector(address: str, place: str, name: str) -> Store:
    _need("psycopg", "postgresql", "pgvector")
    from lightning_monocon.stores.pgvector import PgvectorStore

    return PgvectorStore(address, name)


def _sqlite(address: str, place: str, name: str) -> Store:
    from lightning_monocon.stores.sqlite import SqliteStore

    return SqliteStore(place, name)


def _duckdb(address: str, place: str, name: str) -> Store:
    _need("duckdb", "duckdb", "duckdb")
    from lightning_monocon.stores.duckdb import DuckdbStore

    return DuckdbStore(place, name)


def _lancedb(address: str, place: str, name: str) -> Store:
    _need("lancedb", "lancedb", "lancedb")
    from lightning_monocon.stores.lancedb import LancedbStore

    return LancedbStore(place, name)


def _qdrant(address: str, place: str, name: str) -> Store:
    _need("qdrant_edge", "qdrant", "qdrant")
    from lightning_monocon.stores.qdrant import QdrantStore

    return QdrantStore(place, name)


def _faiss(address: str, place: str, name: str) -> Store:
    _need("faiss", "faiss", "search")
    from lightning_monocon.stores.faiss_index import FaissStore

    return FaissStore(place)


def _usearch(address: str, place: str, name: str) -> Store:
    _need("usearch", "usearch", "search")
    from lightning_monocon.stores.usearch_index import UsearchStore

    return UsearchStore(place)


_OPENERS = dict(zip(SCHEMES, (_pgvector, _sqlite, _duckdb, _lancedb, _qdrant, _faiss, _usearch), strict=True))


def _need(package: str, scheme: str, extra: str) -> None:
    if find_spec(package) is None:
        raise ImportError(f"`--into {scheme}://...` needs {package}: pip install 'lightning-monocon[{extra}]'.")
