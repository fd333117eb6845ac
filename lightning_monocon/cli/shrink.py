# SPDX-License-Identifier: Apache-2.0
"""Run `monocon shrink`: the smallest code that keeps the answers, certified on the user's own queries."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from lightning_monocon.cli.config import refusing
from lightning_monocon.cli.options import CommandParser
from lightning_monocon.runs.files import WriteError
from lightning_monocon.runs.folder import one_writer
from lightning_monocon.runs.scratch import check_folder

if TYPE_CHECKING:
    from lightning_monocon.shrink.engine import Engine
    from lightning_monocon.shrink.task import Answers

STORES = ("pgvector", "sqlite", "duckdb", "lancedb", "qdrant", "faiss", "usearch")
"""Stores that `monocon load` knows."""

_MORE = """\
VECTORS is a file (.npy, .npz, .safetensors or .parquet), or several .parquet or
.safetensors files, or a folder or glob of one of these two; an array or column
is named at the end, such as 'shards/*.parquet:vector'. Large galleries stay in
their files.

Without --qrels, --labels or --pairs, a code should keep the ten nearest rows
by cosine that an exact search over whole vectors finds. Without --queries some
rows are held out and become queries.

OUT then holds the report (shrink.html, shrink.md, shrink.json and figures), the
code (codec.safetensors, codec.json; codec_numpy.py reads them with NumPy alone,
codec.onnx encodes), the codes of all rows (codes.npy), their ids (ids.npy) and
queries for the check of a store (queries.npz). A run that was killed resumes at
the next code: give the same words again.
"""


def run(args: Sequence[str]) -> None:
    """Run the command; exit with status 2 if a file or an option does not fit."""
    options, _ = parser().parse(args[1:])
    with refusing():
        print(shrunk(options))
    print(f"Written to {options.out}/: shrink.html, shrink.md, shrink.json, the code and the codes of all rows.")


def shrunk(options: Namespace) -> str:
    """Choose a code, write it with its report, and return the report."""
    kinds: tuple[Answers, ...] = ("qrels", "labels", "pairs")
    answers: list[Answers] = [name for name in kinds if options[name]]
    if len(answers) > 1:
        raise ValueError(f"`--{answers[0]}` and `--{answers[1]}` must not be given together; ask for one at a time.")
    out = Path(options.out)
    check_folder("--out", out)
    engine = _engine(options.engine)
    with one_writer("--out", out), _resumable(out):
        return _written(options, answers[0] if answers else "neighbours", out, engine)


@contextmanager
def _resumable(out: Path) -> Iterator[None]:
    """Say at once that the same command resumes, where a signal or a full disk stops this one.

    The codes that are being fitted are finished first; a second signal ends the process at once.

    Raises:
        SystemExit: With status 143 at SIGTERM, 130 at SIGINT.
    """

    def stop(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        _say_stopped(out)
        raise SystemExit(128 + number)

    main = threading.current_thread() is threading.main_thread()  # only there are signals handled
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT) if main}
    try:
        yield
    except KeyboardInterrupt:  # raised by what handles the signal itself
        _say_stopped(out)
        raise SystemExit(128 + signal.SIGINT) from None
    except WriteError:
        _say_stopped(out)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say_stopped(out: Path) -> None:
    kept = any((out / "parts").glob("*.safetensors"))
    said = (
        f"judged codes are kept in {out / 'parts'}, and the same command resumes" if kept else "no code was judged yet"
    )
    print(f"monocon shrink: stopped; {said}.", file=sys.stderr)


def _written(options: Namespace, kind: Answers, out: Path, engine: Engine) -> str:
    from lightning_monocon.shrink import Question, read_task, second_task, shrink
    from lightning_monocon.shrink.parts import check_out, remove
    from lightning_monocon.shrink.text import as_text
    from lightning_monocon.shrink.writing import write

    check_out(out)
    question = Question(options.keep, options.budget, options.confidence, options.seed, _kinds(options.store))
    file = options[kind] if kind in ("qrels", "pairs") else None
    task = read_task(options.vectors, options.queries, kind, file, options.ids or "", question.seed)
    second = None if options.second is None else second_task(options.second, task.gallery.shape[1], question.seed)
    result, codec, codes = shrink(task, question, out, second, engine)
    print(f"Writing {codec.name} and the report to {out}.", file=sys.stderr)
    write(out, result, codec, codes)
    remove(out)
    return as_text(result)


def parser() -> CommandParser:
    """Return the parser of the command."""
    found = CommandParser(
        "shrink",
        usage="VECTORS... --out OUT [OPTIONS]",
        about="Choose the smallest code that keeps the answers of your own queries, and certify it.",
        more=_MORE,
        paths=("vectors", "queries", "qrels", "pairs", "second", "out"),
    )
    add = found.add_argument
    add("vectors", metavar="VECTORS", nargs="+", type=str, help="Rows that are stored; see below.")
    add("--out", type=str, required=True, help="A folder for the code, the codes and the report.")
    add("--queries", type=str, help="Vectors that search (default: rows that are held out).")
    add("--qrels", type=str, help="Which rows answer which query: TREC qrels, TSV, JSONL or Parquet.")
    add("--labels", action="store_true", help="Keep the accuracy of 5 nearest neighbours by label.")
    add("--pairs", type=str, help="Graded pairs of queries: id1, id2 and score.")
    add("--ids", type=str, help="The column of the ids (default: ids or id, else row numbers).")
    add("--keep", type=float, default=0.95, help="Share of the whole vectors' quality to keep.")
    add("--budget", type=int, help="Bytes of a vector at most: the best code that fits.")
    add("--confidence", type=float, default=0.95, help="Confidence of the certificate.")
    add("--second", type=str, help="Vectors of another domain, on which all codes are judged too.")
    add("--engine", choices=("ray",), help="Fit and encode large files on a Ray cluster (extra ray).")
    add("--store", choices=STORES, help="Try only codes that this store ranks by itself; see `monocon load`.")
    add("--seed", type=int, default=0, help="Decides the parts and the fits.")
    return found


def _engine(name: str | None) -> Engine:
    from lightning_monocon.shrink.engine import in_process
    from lightning_monocon.shrink.on_ray import check_ray, on_ray

    if name is None:
        return in_process
    check_ray()
    return on_ray


def _kinds(store: str | None) -> Sequence[str]:
    """Return what the columns of a store hold; nothing for any code."""
    if store is None:
        return ()
    from lightning_monocon.stores.registry import KINDS

    return KINDS[store]
