# SPDX-License-Identifier: Apache-2.0
"""Run `monocon load`: put codes into a store and check that it ranks them as their codec does."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jsonargparse import Namespace

from lightning_monocon.cli.config import refusing
from lightning_monocon.cli.options import CommandParser

if TYPE_CHECKING:
    from lightning_monocon.scorecard.row_files.source import RowSource
    from lightning_monocon.stores import Bundle, Collection, Report
    from lightning_monocon.stores.store import Store

_MORE = """\
OUT is a folder that `monocon shrink --out` wrote. URL is one of

    postgresql://USER:PASSWORD@HOST/DATABASE    PostgreSQL with pgvector
    sqlite:///FILE                              SQLite with sqlite-vec
    duckdb:///FILE                              DuckDB
    lancedb://FOLDER                            LanceDB
    qdrant:///FOLDER                            Qdrant's engine in process
    faiss:///FILE                               an index file of FAISS
    usearch:///FILE                             an index file of usearch

All rows are written in one transaction, with the stamp of their space. Then
queries are asked of the store, and the command fails if a row that it finds
differs from the codec's own ranking by more than rounding. Without --queries
those are asked on which the code was certified.

--append and --delete change what was loaded before, in the store and in OUT.
Rows without ids are given the numbers that follow the largest id.
"""

_MOST = 4_096
"""Rows that a query asks for at most: sqlite-vec finds no more."""


def run(args: Sequence[str]) -> None:
    """Run the command; exit with status 2 if an option does not fit, and with 1 if the check fails."""
    options, _ = parser().parse(args[1:])
    with refusing():
        report = loaded(options)
    if report is not None and not report.passed:
        raise SystemExit(f"monocon load: {_failed(report, options.out)}.")


def loaded(options: Namespace) -> Report | None:
    """Load the codes unless only the check is asked for, check them and print what was found; None of no rows."""
    from lightning_monocon.functional.named_argument import named
    from lightning_monocon.stores import Collection, check, open_store, read_bundle

    _check_options(options)
    with named("OUT", "folder"):
        bundle = read_bundle(options.out)
    _queries(options, bundle)
    loaded_before = options.check_only or options.append is not None or options.delete is not None
    store = open_store(options.into, options.name, existing=loaded_before)
    try:
        if loaded_before:
            collection = Collection(store, bundle.codec, bundle.stamp)
            bundle = _changed(options, bundle, collection)
        else:
            collection = _written(options, bundle, store)
        if not len(bundle):
            print("The store holds no row, so there is nothing to check.")
            return None
        queries, nearest = _queries(options, bundle)
        report = check(collection, bundle, queries, nearest, options.k, options.shortlist)
    finally:
        store.close()
    print(_told(report))
    return report


def _written(options: Namespace, bundle: Bundle, store: Store) -> Collection:
    """Load the codes, write the file that asks the store, and print what was done."""
    from lightning_monocon.stores import load
    from lightning_monocon.stores.query_files import write_query

    begun = time.perf_counter()
    collection = load(bundle, store, index=not options.no_index)
    print(f"{len(bundle)} rows of {bundle.codec.name} in {time.perf_counter() - begun:.1f} s.")
    written = write_query(bundle.folder, store.title, options.name, collection.column, collection.stamp.ids)
    print(f"{written} asks the store without this package.")
    return collection


def _changed(options: Namespace, bundle: Bundle, collection: Collection) -> Bundle:
    """Append or delete what was asked for, print what was done, and return what the store holds."""
    from lightning_monocon.functional.named_argument import named
    from lightning_monocon.stores.update import FarRowsWarning, alarm, append, delete, far_rows

    if options.append is not None:
        with named("--append", "rows", parts=["ids"]), warnings.catch_warnings():
            ids, rows = _new_rows(options.append, bundle)
            far = far_rows(bundle, rows)
            warnings.simplefilter("ignore", FarRowsWarning)  # said below
            bundle = append(collection, bundle, ids, rows)
        print(f"{len(rows)} rows appended.")
        if far is None:
            print(f"{options.out} does not tell whether they are far from those that the code was chosen for.")
        else:
            print(alarm(int(far.sum()), len(rows)) or f"{int(far.sum())} of them are far from those of the code.")
    if options.delete is not None:
        asked, before = _named(options.delete, bundle), collection.store.count()
        if not len(asked):
            print(f"{options.delete} holds no id, so no row is deleted.")
            return bundle
        with named("--delete", "ids"):
            bundle = delete(collection, bundle, asked)
        print(f"{before - collection.store.count()} of {len(asked)} rows deleted.")
    return bundle


def _new_rows(place: str, bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """Return ids ``(N,)`` and embeddings ``(N, D)``."""
    source, rows = _embeddings("append", place, bundle)
    if source.has_ids:
        return np.concatenate([np.asarray(block) for block in source.ids()]), rows
    if bundle.ids.dtype.kind == "U":
        raise ValueError(f"`--append` must name its rows by ids, as the store has text ids; {place} has none: add ids.")
    first = int(bundle.ids.max(initial=-1)) + 1
    if first + len(rows) - 1 > np.iinfo(np.int64).max:
        raise ValueError(f"`--append` must name its rows by ids, as no numbers follow {first - 1}; {place} has none.")
    return first + np.arange(len(rows)), rows


def _named(place: str, bundle: Bundle) -> np.ndarray:
    """Return the ids of a text file, one a line."""
    try:
        text = Path(place).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise ValueError(f"`--delete` must be a readable text file of ids, one a line; {place}: {reason}.") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if bundle.ids.dtype.kind == "U":
        return np.array(lines, dtype=str)
    most = np.iinfo(np.int64).max
    for line in lines:
        if not re.fullmatch(r"[+-]?[0-9]+", line) or not -most <= int(line) <= most:
            raise ValueError(f"`--delete` must hold one integer a line, as the store has such ids; got {line!r}.")
    return np.array([int(line) for line in lines], dtype=np.int64)


def _check_options(options: Namespace) -> None:
    given = [name for name in ("append", "delete", "check_only") if options[name]]
    if len(given) > 1:
        first, second = (name.replace("_", "-") for name in given[:2])
        raise ValueError(f"`--{first}` and `--{second}` must not be given together; ask for one at a time.")
    for name, most in (("checks", None), ("k", _MOST), ("shortlist", _MOST)):
        if options[name] < 1 or (most is not None and options[name] > most):
            limits = "at least 1" if most is None else f"from 1 to {most}"
            raise ValueError(f"`--{name}` must be {limits}; got {options[name]}.")


def _queries(options: Namespace, bundle: Bundle) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the queries to ask, and the ids of their true neighbours if they are known."""
    if options.queries is not None:
        return _embeddings("queries", options.queries, bundle)[1][: options.checks], None
    if bundle.queries is None:
        raise ValueError(f"`--queries` must be given, because {options.out} holds none; give a file of embeddings.")
    nearest = None if bundle.nearest is None else bundle.nearest[: options.checks]
    return bundle.queries[: options.checks], nearest


def _embeddings(option: str, place: str, bundle: Bundle) -> tuple[RowSource, np.ndarray]:
    """Return a file of embeddings, opened, and its rows ``(N, D)`` float32."""
    from lightning_monocon.functional.named_argument import named
    from lightning_monocon.scorecard.row_files.places import source_of
    from lightning_monocon.scorecard.row_files.source import whole_of

    with named(f"--{option}", "files"):
        source = source_of(place, "", "query" if option == "queries" else "gallery")
        rows = whole_of(source).float().numpy()
    if rows.shape[1] != bundle.codec.dim:
        raise ValueError(
            f"`--{option}` must have {bundle.codec.dim} numbers a row, as the rows of {bundle.folder} had; {place} has "
            f"{rows.shape[1]}. Embed them with the same model."
        )
    return source, rows


def _failed(report: Report, out: str) -> str:
    faults = []
    if report.wrong:
        faults = [f"{report.wrong} of {report.queries} queries are not answered as by the codec: {report.example}"]
    if report.stored != report.loaded:
        faults += [
            f"the store has {report.stored} rows and {out} {report.loaded}, as after a change that was killed or that "
            "another program made: delete the ids of that change, and make it again"
        ]
    return "; ".join(faults)


def _told(report: Report) -> str:
    lines = [
        f"{report.queries} queries, {report.k} rows each: {report.queries - report.wrong} ranked as the codec ranks.",
        f"Of the codec's own {report.k} nearest rows the store finds {report.overlap:.3f} where it compares all rows, "
        f"and {report.through_index:.3f} as it is asked.",
        f"{report.bytes_per_row:.0f} bytes a row as the store counts them, index included; "
        f"{report.query_ms:.1f} ms a query.",
    ]
    if report.recall is not None:
        lines.insert(2, f"Of the true {report.k} nearest rows by whole vectors it finds {report.recall:.3f}.")
    return "\n".join(lines)


def parser() -> CommandParser:
    """Return the parser of the command."""
    found = CommandParser(
        "load",
        usage="OUT --into URL [OPTIONS]",
        about="Put codes into a store, and check that it ranks them as their codec does.",
        more=_MORE,
        paths=("out", "queries", "append", "delete"),
    )
    add = found.add_argument
    add("out", metavar="OUT", type=str, help="Folder of codec, codes and ids.")
    add("--into", type=str, required=True, help="Address of the store.")
    add("--name", type=str, default="documents", help="Its table or collection.")
    add("--queries", type=str, help="Embeddings to check with.")
    add("--checks", type=int, default=200, help="Queries that are asked at most.")
    add("--k", type=int, default=10, help="Rows that each query asks for.")
    add("--shortlist", type=int, default=200, help="Rows that are scored again where the store ranks by bits.")
    add("--no-index", action="store_true", help="Build no graph index.")
    add("--append", type=str, help="Embeddings to encode and add to what was loaded before.")
    add("--delete", type=str, help="A text file of ids to delete, one a line.")
    add("--check-only", action="store_true", help="Check what was loaded before.")
    return found
