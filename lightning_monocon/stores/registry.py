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
    if address.startswith(("postgresql://", "postgres://")):
        _need("psycopg", "postgresql", "pgvector")
        from lightning_monocon.stores.pgvector import PgvectorStore

        return PgvectorStore(address, name)
    if address.startswith("sqlite:///"):
        from lightning_monocon.stores.sqlite import SqliteStore

        return SqliteStore(address.removeprefix("sqlite:///"), name)
    if address.startswith("duckdb:///"):
        _need("duckdb", "duckdb", "duckdb")
        from lightning_monocon.stores.duckdb import DuckdbStore

        return DuckdbStore(address.removeprefix("duckdb:///"), name)
    if address.startswith("lancedb://"):
        _need("lancedb", "lancedb", "lancedb")
        from lightning_monocon.stores.lancedb import LancedbStore

        return LancedbStore(address.removeprefix("lancedb://"), name)
    if address.startswith("qdrant:///"):
        _need("qdrant_edge", "qdrant", "qdrant")
        from lightning_monocon.stores.qdrant import QdrantStore

        return QdrantStore(address.removeprefix("qdrant:///"), name)
    if address.startswith("faiss:///"):
        _need("faiss", "faiss", "search")
        from lightning_monocon.stores.faiss_index import FaissStore

        return FaissStore(address.removeprefix("faiss:///"))
    if address.startswith("usearch:///"):
        _need("usearch", "usearch", "search")
        from lightning_monocon.stores.usearch_index import UsearchStore

        return UsearchStore(address.removeprefix("usearch:///"))
    raise ValueError(f"`--into` must begin with one of {', '.join(SCHEMES)}; got {shown(address)}.")


def _need(package: str, scheme: str, extra: str) -> None:
    if find_spec(package) is None:
        raise ImportError(f"`--into {scheme}://...` needs {package}: pip install 'lightning-monocon[{extra}]'.")
