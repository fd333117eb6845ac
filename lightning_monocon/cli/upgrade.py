# SPDX-License-Identifier: Apache-2.0
"""Run `monocon upgrade`: say whether a new model needs its gallery embedded again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from lightning_monocon.cli.config import refusing
from lightning_monocon.cli.options import CommandParser

if TYPE_CHECKING:
    from lightning_monocon.scorecard.embeddings import EmbeddingSet

_MORE = """\
OLD, NEW and FREE are embeddings of the same rows by three models, given as those
of `monocon score`: one file or folder with gallery and query, or two. Class
labels are those of OLD; --qrels takes known answers instead.

Compared are: the old model on its own gallery; new queries on the old gallery,
as they are (the first numbers of a model that was trained with
`model.compatible_with`) and turned by a map that is fitted on the rows of the
gallery; and the gallery embedded again. FREE is a model that was trained without
regard to the old one, of which the last two are the honest rivals.
"""


def run(args: Sequence[str]) -> None:
    """Run the command; exit with status 2 if a file or an option does not fit."""
    options, _ = parser().parse(args[1:])
    with refusing():
        print(upgraded(options), end="")


def upgraded(options: Namespace) -> str:
    """Read the files, judge the ways, and return the report."""
    from lightning_monocon.scorecard.render.upgrade import upgrade_text
    from lightning_monocon.scorecard.upgrade import upgrade

    old = _old(options)
    new, free = (_beside(options, name, old) for name in ("new", "free"))
    assert new is not None
    return upgrade_text(upgrade(old, new, free))


def _old(options: Namespace) -> EmbeddingSet:
    from lightning_monocon.scorecard.embeddings import EmbeddingSet
    from lightning_monocon.scorecard.files import load_files
    from lightning_monocon.scorecard.known_files import Known, load_known
    from lightning_monocon.scorecard.named_argument import named

    with named("old", "files"):
        if options.qrels is None:
            return load_files(options.old)
        data = load_known(options.old, Known(qrels=options.qrels, ids=options.ids or ""))
    if not isinstance(data, EmbeddingSet):
        raise ValueError("`--old` must fit into memory, because every way searches it; give a sample of the rows.")
    return data


def _beside(options: Namespace, name: str, old: EmbeddingSet) -> EmbeddingSet | None:
    """Return another model's embeddings of the same rows; None if they were not given."""
    from lightning_monocon.scorecard.files import load_files
    from lightning_monocon.scorecard.known_files import Known, check_order, load_baseline
    from lightning_monocon.scorecard.named_argument import named

    files = options[name]
    if files is None:
        return None
    if options.qrels is None:
        with named(name, "files", "baseline"):
            check_order(files, options.old)
            return load_files(files, labels=old)
    with named(name, "baseline"):
        return load_baseline(files, options.old, Known(qrels=options.qrels, ids=options.ids or ""))


def parser() -> CommandParser:
    """Return the parser of the command."""
    found = CommandParser(
        "upgrade",
        usage="--old OLD... --new NEW... [OPTIONS]",
        about="Compare a new model's queries on the old gallery with embedding the gallery again.",
        more=_MORE,
        paths=("old", "new", "free", "qrels"),
    )
    add = found.add_argument
    add("--old", nargs="+", type=str, required=True, help="Embeddings of the model whose gallery is stored.")
    add("--new", nargs="+", type=str, required=True, help="Those of the new model.")
    add("--free", nargs="+", type=str, help="Those of a new model that was trained without regard to the old one.")
    add("--qrels", type=str, help="Which rows answer which query: TREC qrels, TSV, JSONL, Parquet, or a BEIR folder.")
    add("--ids", type=str, help="The column of the ids (default: ids or id, else row numbers).")
    return found
