# SPDX-License-Identifier: Apache-2.0
"""Read a folder in the layout of BEIR, which MTEB uses too: corpus, queries, and judgements for each split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lightning_monocon.data.text.pair_files import texts
from lightning_monocon.data.text.pair_formats import read_columns
from lightning_monocon.functional.named_argument import named
from lightning_monocon.scorecard.truth_files.ids import ids_of
from lightning_monocon.scorecard.truth_files.qrels import Qrels, judgements_in, read_qrels


@dataclass(frozen=True, eq=False)
class BeirFolder:
    """Hold what a retrieval benchmark gives to an encoder, and its answers.

    Attributes:
        corpus_ids: ``(N,)`` different ids of the rows to search.
        corpus_texts: ``(N,)`` their texts, a title before the text.
        query_ids: ``(Q,)`` different ids of the queries.
        query_texts: ``(Q,)`` their texts.
        qrels: The judgements.
    """

    corpus_ids: tuple[str, ...]
    corpus_texts: tuple[str, ...]
    query_ids: tuple[str, ...]
    query_texts: tuple[str, ...]
    qrels: Qrels


def read_beir(folder: str | Path, split: str = "test") -> BeirFolder:
    """Read ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/<split>.tsv``; the first two may be gzipped.

    A title and its text are joined by a blank, as `mteb` does. `monocon score --qrels FOLDER` judges the vectors that a
    model makes of these texts.

    Args:
        folder: The folder.
        split: Name of the file of judgements, such as ``"test"`` or ``"dev"``.

    Raises:
        FileNotFoundError: If one of the three files is missing.
        TypeError: If ids are neither integers nor texts.
        ValueError: If one is damaged, lacks a key, or has an id twice.
    """
    folder = Path(folder)
    with named("folder", "path", "columns"):
        corpus_ids, corpus = _documents(folder, "corpus")
        query_ids, queries = _documents(folder, "queries")
    return BeirFolder(corpus_ids, corpus, query_ids, queries, read_qrels(judgements_in(folder, split)))


def _documents(folder: Path, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return ids and texts of one file of documents."""
    path = folder / f"{name}.jsonl"
    if not path.is_file() and path.with_suffix(".jsonl.gz").is_file():
        path = path.with_suffix(".jsonl.gz")
    if not path.is_file():
        raise FileNotFoundError(
            "`folder` must be in BEIR's layout, with corpus.jsonl, queries.jsonl and a folder qrels; "
            f"{str(folder)!r} has no {name}.jsonl."
        )
    table = read_columns(path, ["_id", "text"], optional=["title"])
    ids = ids_of(table, "_id", path)
    if len(set(ids)) < len(ids):
        twice = next(name for place, name in enumerate(ids) if ids.index(name) < place)
        raise ValueError(f"`path` must have every id once; {str(path)!r} has {twice!r} twice. Remove one of them.")
    bodies = texts(table, "text", path, may_lack=True)
    if "title" not in table.column_names:
        return tuple(ids), tuple(body.strip() for body in bodies)
    titles = texts(table, "title", path, may_lack=True)
    return tuple(ids), tuple(f"{title} {body}".strip() for title, body in zip(titles, bodies, strict=True))
