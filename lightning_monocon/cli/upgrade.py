# SPDX-License-Identifier: Apache-2.0
"""Run `monocon upgrade`: say whether a new model needs its gallery embedded again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from lightning_monocon.cli.config import refusing
from lightning_monocon.cli.options import CommandParser
from lightning_monocon.runs.scratch import check_folder, check_no_codes

if TYPE_CHECKING:
    from lightning_monocon.scorecard.embeddings import EmbeddingSet

_REPORT = "lightning-monocon/upgrade/"
"""What the schema of a report begins with."""

_MORE = """\
OLD, NEW and FREE are embeddings of the same rows by three models, given as those
of `monocon score`: one file or folder with gallery and query, or two. Class
labels are those of OLD; --qrels takes known answers instead.

Compared are: the old model on its own gallery; new queries on the old gallery,
as they are (the first numbers of a model that was trained with
`model.compatible_with`) and turned by a map that is fitted on the rows of the
gallery; and the gallery embedded again. FREE is a model that was trained without
regard to the old one, of which the last two are the honest rivals.

With --out the report is also written as upgrade.md and upgrade.json.
"""


def run(args: Sequence[str]) -> None:
    """Run the command; exit with status 2 if a file or an option does not fit."""
    options, _ = parser().parse(args[1:])
    with refusing():
        print(upgraded(options), end="")
    if options.out is not None:
        print(f"Written to {options.out}/: upgrade.md and upgrade.json.")


def upgraded(options: Namespace) -> str:
    """Read the files, judge the ways, write what is asked for, and return the report."""
    if options.ids is not None and options.qrels is None:
        raise ValueError(
            f"`--ids` must go with --qrels, which names rows by them; got {options.ids!r} alone: give --qrels too, or "
            "leave --ids out."
        )
    if options.out is not None:
        check_folder("--out", Path(options.out))  # before the files are read and judged
        check_no_codes("--out", Path(options.out))
        _check_reports(Path(options.out))
    from lightning_monocon.functional.named_argument import named
    from lightning_monocon.scorecard.render.upgrade import upgrade_text, write_upgrade
    from lightning_monocon.scorecard.upgrade import upgrade

    old = _old(options)
    new, free = (_beside(options, name, old) for name in ("new", "free"))
    assert new is not None
    with named("--old", "old"), named("--new", "new"), named("--free", "free"):
        found = upgrade(old, new, free)
    if options.out is not None:
        files = (*options.old, *options.new, *(options.free or ()))
        write_upgrade(options.out, found, data=", ".join(map(str, files)))
    return upgrade_text(found)


def _check_reports(out: Path) -> None:
    """Raise FileExistsError if a file of the name of a report is there that is none."""
    page, plain = out / "upgrade.md", out / "upgrade.json"
    if not page.exists() and not plain.exists():
        return
    try:
        ours = json.loads(plain.read_text(encoding="utf-8"))["schema"].startswith(_REPORT)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        ours = False
    if not ours:
        held = page if page.exists() else plain
        raise FileExistsError(
            f"`--out` must hold no {held.name} but that of an earlier report, which is replaced; {held} is another: "
            "choose another folder, or move it away."
        )


def _old(options: Namespace) -> EmbeddingSet:
    from lightning_monocon.scorecard.embeddings import EmbeddingSet
    from lightning_monocon.scorecard.files import load_files
    from lightning_monocon.scorecard.known_files import Known, is_streamed, load_known

    with _of("old", "files"):
        if options.qrels is None and not is_streamed(options.old):
            return load_files(options.old)
        data = load_known(options.old, Known(qrels=options.qrels, ids=options.ids or ""))
    if not isinstance(data, EmbeddingSet):
        raise ValueError("`--old` must fit into memory, because every way searches it; give a sample of the rows.")
    return data


def _beside(options: Namespace, name: str, old: EmbeddingSet) -> EmbeddingSet | None:
    """Return another model's embeddings of the same rows; None if they were not given."""
    from lightning_monocon.functional.named_argument import named
    from lightning_monocon.scorecard.files import load_files
    from lightning_monocon.scorecard.known_files import Known, check_order, is_streamed, load_baseline

    files = options[name]
    if files is None:
        return None
    if options.qrels is None and not is_streamed(files) and not is_streamed(options.old):
        with _of(name, "files", "baseline"):
            check_order(files, options.old)
            return load_files(files, labels=old)
    with named("--old", "files"), _of(name, "baseline"):
        return load_baseline(files, options.old, Known(qrels=options.qrels, ids=options.ids or ""))


def _of(name: str, *inner: str) -> AbstractContextManager[None]:
    """Return a context in which errors of readers name an option, and the arrays that its files hold."""
    from lightning_monocon.functional.named_argument import named

    parts = [f"{side}{what}" for side in ("gallery", "query") for what in ("", "_labels")]
    return named(f"--{name}", *inner, parts=parts)


def parser() -> CommandParser:
    """Return the parser of the command."""
    found = CommandParser(
        "upgrade",
        usage="--old OLD... --new NEW... [OPTIONS]",
        about="Compare a new model's queries on the old gallery with embedding the gallery again.",
        more=_MORE,
        paths=("old", "new", "free", "qrels", "out"),
    )
    add = found.add_argument
    add("--old", nargs="+", type=str, required=True, help="Embeddings of the model whose gallery is stored.")
    add("--new", nargs="+", type=str, required=True, help="Those of the new model.")
    add("--free", nargs="+", type=str, help="Those of a new model that was trained without regard to the old one.")
    add("--qrels", type=str, help="Which rows answer which query: TREC qrels, TSV, JSONL, Parquet, or a BEIR folder.")
    add("--ids", type=str, help="The column of the ids (default: ids or id, else row numbers).")
    add("--out", type=str, help="A folder for upgrade.md and upgrade.json.")
    return found
