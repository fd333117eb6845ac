# SPDX-License-Identifier: Apache-2.0
"""Run `monocon score`: judge embeddings from files, from any model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from lightning_monocon.cli.config import refusing
from lightning_monocon.cli.options import CommandParser

_ROLES = ("gallery", "gallery_labels", "query", "query_labels")

_LAYOUTS = """\
FILE... is one, two or four files (.safetensors, .npz, .npy or .parquet):
  one    gallery, gallery_labels, query and query_labels in one file, or the
         folder that `monocon predict` writes
  two    gallery, query: each with embeddings and labels, or embedding and label
  four   gallery, gallery labels, query, query labels: one array or column each
If an array or column has another name, add it to the file's, such as
train.parquet:vector. Columns of lists of numbers are embeddings; labels are
integers or strings. The files of a baseline may hold embeddings alone. Other
arrays and columns are not read.
"""


def run(args: Sequence[str]) -> None:
    """Run the command; exit with status 2 if a file or an option does not fit."""
    options, _ = parser().parse(args[1:])
    with refusing():
        print(score(options))
    if options.out is not None:
        print(f"Written to {options.out}/: scorecard.html, scorecard.md, scorecard.json and the figures.")


def score(options: Namespace) -> str:
    """Read the files, score them, write what is asked for, and return the scorecard as text."""
    files = _files(options)  # before anything heavy is imported
    from dataclasses import replace

    from lightning_monocon.scorecard.files import load_files
    from lightning_monocon.scorecard.origin import origin_of
    from lightning_monocon.scorecard.render.figures import draw
    from lightning_monocon.scorecard.runs import write
    from lightning_monocon.scorecard.scoring import NULL_PAIRS, scorecard_of

    data = load_files(files)
    data = replace(data, arm=options.name or data.arm)
    baseline = None if options.baseline is None else load_files(options.baseline, labels=data)
    card = scorecard_of(data, baseline, options.dims)
    if options.out is not None:
        by_name = {card.baseline: baseline, data.arm: data}
        drawn = draw(card, [by_name[arm.name] or data for arm in card.arms])
        origin = replace(origin_of(), data=", ".join(map(str, files)))
        write(Path(options.out), replace(card, origin=origin), drawn)
    told = (
        "" if baseline is None or card.nulls else f"\nNull models left out: more than {NULL_PAIRS:,} pairs of rows.\n"
    )
    return card.table() + told


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
        about="Score embeddings from files: n99, k-NN accuracy, accuracy against kept dimensions and bytes, and a "
        "verdict.",
        more=_LAYOUTS,
        paths=("files", *_ROLES, "baseline", "out"),
    )
    add = found.add_argument
    # no word at all leaves the files of the options' file
    absent = argparse.SUPPRESS
    add("files", metavar="FILE", nargs="*", type=str, default=absent, help="Embeddings and labels; see below.")
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
    add("--dims", nargs="+", type=int, help="Numbers of kept dimensions (default: 1, 2, 3, 4, ...).")
    add("--name", type=str, help="A name for tables and figures (default: the first file's).")
    add("--out", type=str, help="A folder for scorecard.html, .md, .json and the figures.")
    return found
