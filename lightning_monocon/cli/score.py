# SPDX-License-Identifier: Apache-2.0
"""Run `monocon score`: judge embeddings from files, from any model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace

from lightning_monocon.cli.config import refusing
from lightning_monocon.cli.options import CommandParser, add_codes
from lightning_monocon.runs.scratch import check_folder, check_no_codes

if TYPE_CHECKING:
    from lightning_monocon.scorecard.embeddings import EmbeddingSet
    from lightning_monocon.scorecard.graph_index import Graphs
    from lightning_monocon.scorecard.streamed import StreamedSet

_ROLES = ("gallery", "gallery_labels", "query", "query_labels")

_LAYOUTS = """\
What judges the vectors is one of four truths, or several of them at once:
  class labels           in FILE... itself; no option
  known answers          --qrels FILE, or a BEIR folder, of which qrels/test.tsv
                         is read: which rows answer which query
  graded pairs           --pairs FILE...: how alike two rows are
  nothing but vectors    --truth neighbours: whether the same rows are found as
                         with the whole vectors; a change, not a quality

With class labels FILE... is one, two or four files (.safetensors, .npz, .npy or
.parquet):
  one    gallery, gallery_labels, query and query_labels in one file, or the
         folder that `monocon predict` writes
  two    gallery, query: each with embeddings and labels, or embedding and label
  four   gallery, gallery labels, query, query labels: one array or column each
If an array or column has another name, add it to the file's, such as
train.parquet:vector. Columns of lists of numbers are embeddings; labels are
integers or strings. The files of a baseline may hold embeddings alone. Other
arrays and columns are not read.

With one of the other truths FILE... is a gallery and a query, or one place as
above that holds both. A BEIR folder holds texts, not vectors: embed them first.
Either may be a folder or a glob of .parquet or .safetensors files, such as
'shards/*.parquet:vector'; a gallery that is too large for memory is read from
its files three times. A folder that `monocon predict` writes is a gallery by
its gallery and a query by its query; corpus:NAME names another part.
"""


def run(args: Sequence[str]) -> None:
    """Run the command; exit with status 2 if a file or an option does not fit."""
    options, _ = parser().parse(args[1:])
    if sys.stderr.isatty():
        print("Reading and scoring; large sets take a minute or more ...", file=sys.stderr)
    with refusing():
        print(score(options))
    if options.out is not None:
        print(f"Written to {options.out}/: scorecard.html, scorecard.md, scorecard.json and the figures.")


def score(options: Namespace) -> str:
    """Read the files, score them, write what is asked for, and return the scorecard as text."""
    files = _files(options)  # before anything heavy is imported
    if options.out is not None:
        check_folder("--out", Path(options.out))  # before the files are read and scored
        check_no_codes("--out", Path(options.out))
    from dataclasses import replace

    from lightning_monocon.scorecard.codes import check_codes
    from lightning_monocon.scorecard.origin import command_line, origin_of
    from lightning_monocon.scorecard.render.figures import draw
    from lightning_monocon.scorecard.render.text import as_text
    from lightning_monocon.scorecard.runs import write
    from lightning_monocon.scorecard.scoring import scorecard_of, streamed_scorecard, with_graphs
    from lightning_monocon.scorecard.streamed import StreamedSet
    from lightning_monocon.stores.address import shown

    check_codes(options.codes, "--codes")
    graphs = None if options.index is None else _graphs(options.index)
    data, baseline = _loaded(files, options)
    data = replace(data, arm=options.name or data.arm)
    if options.codes == "all":
        _check_rows(data)
    if isinstance(data, StreamedSet):
        if graphs is not None:
            raise ValueError(
                "`--index` must go with a gallery that fits into memory, for a graph holds all rows; this one is read "
                "from several files: leave --index out, or give one file with a sample of the rows."
            )
        card, sets = streamed_scorecard(data, options.dims), None
    else:
        card = scorecard_of(data, baseline, options.dims, options.codes)
        by_name = {card.baseline: baseline, data.arm: data}
        sets = [by_name[arm.name] or data for arm in card.arms]
        card = card if graphs is None else with_graphs(card, sets, options.dims, graphs)
    if options.out is not None:
        drawn = draw(card, sets)
        origin = replace(origin_of(words=list(map(shown, command_line()))), data=", ".join(map(str, files)))
        write(Path(options.out), replace(card, origin=origin), drawn)
    return as_text(card)


def _check_rows(data: EmbeddingSet | StreamedSet) -> None:
    """Raise ValueError if no code is fitted on the gallery, whatever families are asked for."""
    from lightning_monocon.scorecard.codes import FEWEST_ROWS
    from lightning_monocon.scorecard.streamed import StreamedSet

    if isinstance(data, StreamedSet):
        raise ValueError(
            "`--codes` must be fast for a gallery that is read from several files, on which no code is fitted; got "
            "all: leave it out and ask `monocon shrink`, or give one file with a sample of the rows."
        )
    if len(data.gallery) < FEWEST_ROWS:
        raise ValueError(
            f"`--codes` all needs a gallery of at least {FEWEST_ROWS:,} rows, on which codes are fitted; got "
            f"{len(data.gallery)}: give more rows, or leave it out."
        )


def _graphs(names: Sequence[str]) -> Graphs:
    """Return the graphs of ``--index``, whose libraries and server are there."""
    from lightning_monocon.scorecard.graph_index import check_libraries, library_graphs
    from lightning_monocon.stores.address import shown

    found: list[Graphs] = []
    for name in names:
        if name == "hnsw":
            check_libraries()
            found.append(library_graphs)
        elif name.startswith(("postgresql://", "postgres://")):
            found.append(_server_graph(name))
        else:
            raise ValueError(
                f"`--index` must be hnsw, or the address of a server with pgvector, postgresql://USER@HOST/DATABASE; "
                f"got {shown(name)}."
            )
    return lambda gallery: chain.from_iterable(each(gallery) for each in found)


def _server_graph(address: str) -> Graphs:
    if find_spec("psycopg") is None:
        raise ImportError("`--index postgresql://...` needs psycopg: pip install 'lightning-monocon[pgvector]'.")
    from lightning_monocon.stores.pgvector_graph import PgvectorGraph

    graph = PgvectorGraph(address)
    graph.check()
    return graph


def _loaded(files: list[str], options: Namespace) -> tuple[EmbeddingSet | StreamedSet, EmbeddingSet | None]:
    """Return what is judged, with what is known of it, and the baseline."""
    from lightning_monocon.functional.named_argument import named
    from lightning_monocon.scorecard.files import load_files
    from lightning_monocon.scorecard.known_files import Known, check_order, is_streamed, load_baseline, load_known

    neighbours = options.truth == "neighbours"
    known = Known(options.qrels, tuple(options.pairs or ()), neighbours, options.ids or "")
    labels_apart = len(files) == len(_ROLES)  # which `load_files` alone reads
    in_files = labels_apart or not (is_streamed(files) or is_streamed(options.baseline or ()))
    if known == Known() and in_files:
        data = load_files(files)
        if options.baseline is None:
            return data, None
        with named("baseline", "files", parts=["gallery", "query"]):
            check_order(options.baseline, files)
            return data, load_files(options.baseline, labels=data)
    baseline = None if options.baseline is None else load_baseline(options.baseline, files, known)
    return load_known(files, known, baseline, options.name or ""), baseline


def _files(options: Namespace) -> list[str]:
    """Return the files, whether they are given in a row or each by its own option."""
    named = [options[role] for role in _ROLES]
    files: list[str] = options.get("files") or []
    if any(named) and files:
        raise ValueError(
            "Pass the files either as FILE... or with --gallery, --gallery-labels, --query and --query-labels, "
            "not both."
        )
    if any(named) and not all(named):
        missing = ", ".join(f"--{role}" for role, file in zip(_ROLES, named, strict=True) if file is None)
        raise ValueError(
            "`--gallery`, `--gallery-labels`, `--query` and `--query-labels` must be given together; give also "
            f"{missing.replace('_', '-')}."
        )
    return named if all(named) else files


def parser() -> CommandParser:
    """Return the parser of the command."""
    found = CommandParser(
        "score",
        usage="FILE... [OPTIONS]",
        about="Score embeddings from files by class labels, known answers, graded pairs or the neighbours of the whole "
        "vectors: what is found against kept dimensions and bytes, n99, and a verdict.",
        more=_LAYOUTS,
        paths=("files", *_ROLES, "baseline", "qrels", "pairs", "out"),
    )
    add = found.add_argument
    # no word at all leaves the files of the options' file
    absent = argparse.SUPPRESS
    add(
        "files",
        metavar="FILE",
        nargs="*",
        type=str,
        default=absent,
        help="Embeddings, and labels if there are any; see below.",
    )
    for role in _ROLES:
        text = f"The {role.replace('_', ' ')} alone; pass the four of these options together."
        add(f"--{role.replace('_', '-')}", type=str, help=text)
    add(
        "--baseline",
        nargs="+",
        type=str,
        help="Another model's embeddings of the same rows, in the same order: whether an embedding is compact is a "
        "comparison.",
    )
    add("--qrels", type=str, help="Which rows answer which query: TREC qrels, TSV, JSONL, Parquet, or a BEIR folder.")
    add("--pairs", nargs="+", type=str, help="Graded pairs of queries: id1, id2 and score.")
    add(
        "--truth",
        type=Literal["neighbours"],
        help="neighbours: whether the rows that whole vectors (of the baseline, if given) find are found again.",
    )
    _add_measures(found)
    return found


def _add_measures(parser: CommandParser) -> None:
    """Add what is measured, and where it is written."""
    add = parser.add_argument
    add("--ids", type=str, help="The column of the ids (default: ids or id, else row numbers).")
    add("--dims", nargs="+", type=int, help="Numbers of kept dimensions (default: 1, 2, 3, 4, ...).")
    add_codes(parser)
    add(
        "--index",
        nargs="+",
        type=str,
        help="hnsw: also measure what HNSW graphs of FAISS and usearch find, whole and cut to --dims; "
        "postgresql://USER@HOST/DATABASE: those of pgvector, in a temporary table there.",
    )
    add("--name", type=str, help="A name for tables and figures (default: the first file's).")
    add("--out", type=str, help="A folder for scorecard.html, .md, .json and the figures.")
