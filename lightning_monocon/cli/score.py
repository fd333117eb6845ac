# SPDX-License-Identifier: Apache-2.0
"""`monocon score`: what embeddings from files are worth, whoever trained the model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lightning_monocon.cli.words import expanded, expanded_path

_ROLES = ("gallery", "gallery_labels", "query", "query_labels")

_LAYOUTS = """\
FILE... is one file, two, or four; .safetensors, .npz, .npy or .parquet:
  one    with gallery, gallery_labels, query and query_labels, or the folder that `monocon predict` writes
  two    gallery, query: each with embeddings and labels (or embedding and label)
  four   gallery, gallery labels, query, query labels: an array or column each
Where an array or column has another name, say which: train.parquet:vector. Columns of lists of numbers
are embeddings; labels are integers or strings. A baseline's files may hold embeddings alone. Other arrays
and columns are not read.
"""


def run(args: Sequence[str]) -> None:
    """Run the command.

    Args:
        args: ``["score", ...]``.

    Raises:
        SystemExit: With status 2 if a file or an option does not fit.
    """
    options = _parser().parse_args(list(args)[1:])
    try:
        print(score(options))
    except (ValueError, TypeError, OSError, MemoryError, ModuleNotFoundError) as error:
        print(f"monocon score: error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    if options.out is not None:
        print(f"Written to {options.out}/: scorecard.html, scorecard.md, scorecard.json and the figures.")


def score(options: argparse.Namespace) -> str:
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
        write(options.out, replace(card, origin=origin), drawn)
    told = (
        "" if baseline is None or card.nulls else f"\nNull models left out: more than {NULL_PAIRS:,} pairs of rows.\n"
    )
    return card.table() + told


def _files(options: argparse.Namespace) -> list[str]:
    """The files, given one after another or one by one."""
    named = [getattr(options, role) for role in _ROLES]
    if any(named) and options.files:
        raise ValueError(
            "`files` must be given either as FILE... or with --gallery, --gallery-labels, --query and --query-labels, "
            "not both."
        )
    if any(named) and not all(named):
        missing = ", ".join(f"--{role}" for role, file in zip(_ROLES, named, strict=True) if file is None)
        raise ValueError(
            "`--gallery`, `--gallery-labels`, `--query` and `--query-labels` must be given together; give also "
            f"{missing.replace('_', '-')}."
        )
    return named if all(named) else options.files


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "monocon score",
        description="Score embeddings from files: n99, k-NN accuracy, accuracy against kept dimensions and bytes, and "
        "a verdict.",
        epilog=_LAYOUTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("files", metavar="FILE", nargs="*", type=expanded, help="embeddings and labels; see below")
    for role in _ROLES:
        parser.add_argument(
            f"--{role.replace('_', '-')}",
            metavar="FILE",
            type=expanded,
            help="instead of FILE..., with the other three",
        )
    parser.add_argument(
        "--baseline",
        metavar="FILE",
        nargs="+",
        type=expanded,
        help="another model's embeddings of the same rows, in the same order: whether an embedding is compact is a "
        "comparison",
    )
    parser.add_argument("--dims", metavar="K", nargs="+", type=int, help="kept dimensions (default: 1, 2, 3, 4, ...)")
    parser.add_argument("--name", help="of the embeddings, in tables and figures (default: the first file's)")
    parser.add_argument("--out", type=expanded_path, help="folder for scorecard.html, .md, .json and the figures")
    return parser
