# SPDX-License-Identifier: Apache-2.0
"""Open the store that an address names."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

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


DEFAULT = "documents"
"""Name of a table or collection."""


def open_store(address: str, name: str = DEFAULT, existing: bool = False) -> Store:
    """Open a store.

    Args:
        address: ``postgresql://USER:PASSWORD@HOST/DATABASE``, ``sqlite:///FILE``, ``duckdb:///FILE``,
            ``lancedb://FOLDER``, ``qdrant:///FOLDER``, ``faiss:///FILE`` or ``usearch:///FILE``.
        name: Its table or collection; an index file holds one without a name.
        existing: Whether a file or folder must be there; without it, some stores make one.

    Raises:
        ConnectionError: If a server does not answer or refuses.
        FileNotFoundError: If a file or folder is missing that must be there.
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
            place = known.removeprefix(scheme)
            if existing and scheme != SCHEMES[0] and not Path(place).exists():
                raise FileNotFoundError(f"`--into` must hold codes; there is no {place}: load them first.")
            return opened(known, place, name)
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

    _check_unnamed(name)
    return FaissStore(place)


def _usearch(address: str, place: str, name: str) -> Store:
    _need("usearch", "usearch", "search")
    from lightning_monocon.stores.usearch_index import UsearchStore

    _check_unnamed(name)
    return UsearchStore(place)


_OPENERS = dict(zip(SCHEMES, (_pgvector, _sqlite, _duckdb, _lancedb, _qdrant, _faiss, _usearch), strict=True))


def _check_unnamed(name: str) -> None:
    if name != DEFAULT:
        raise ValueError(f"`--name` must be left out for an index file, which holds one collection; got {name!r}.")


def _need(package: str, scheme: str, extra: str) -> None:
    if find_spec(package) is None:
        raise ImportError(f"`--into {scheme}://...` needs {package}: pip install 'lightning-monocon[{extra}]'.")
