# SPDX-License-Identifier: Apache-2.0
"""Run `monocon landscape RUN...`: merge the landscapes of runs, fit the laws, write the report as a page.

`monocon landscape sweep` first makes the runs; see `sweep.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lightning_monocon.cli.config import stop
from lightning_monocon.cli.options import CommandParser


def run(args: Sequence[str]) -> None:
    """Run the command.

    Args:
        args: ``landscape`` and its options.

    Raises:
        SystemExit: With status 2 if a run has no whole landscape, the runs cannot be merged, or the folder of the
            report cannot be written.
    """
    options, _ = parser().parse(args[1:])
    if not options.get("runs"):
        stop("`monocon landscape` needs at least one RUN, the folder of a run with a landscape")
    write_report(each_once([Path(run) for run in options.runs]), Path(options.out))


def each_once(runs: Sequence[Path]) -> list[Path]:
    """Return the runs without repeats, with a note on stderr: a run that counts twice would narrow all intervals.

    A run is the same by whatever path it is named: its folder or the landscape in it, and links to them.
    """
    from lightning_monocon.watching.files import place_of

    found: dict[Path, Path] = {}
    for run in runs:
        first = found.setdefault(place_of(run), run)
        if first is not run:
            print(f"monocon landscape: {run} is the run {first} again and counts once.", file=sys.stderr)
    return list(found.values())


def names_of(runs: Sequence[Path]) -> list[str]:
    """Return the names of runs in a report: the last parts of their paths, as many as tell them apart.

    Example:
        >>> names_of([Path("runs/a"), Path("runs/b")]), names_of([Path("a/landscape"), Path("b/landscape")])
        (['a', 'b'], ['a/landscape', 'b/landscape'])
    """
    places = [run.absolute().parts for run in runs]
    for count in range(1, max(map(len, places), default=1)):
        names = ["/".join(parts[-count:]) for parts in places]
        if len(set(names)) == len(names):
            return names
    return [str(run) for run in runs]


def write_report(runs: Sequence[Path], out: Path) -> None:
    """Write the report on some runs with its figures and graphs, and print it."""
    from lightning_monocon.runs.files import WriteError, probe
    from lightning_monocon.scorecard.render.text import markdown
    from lightning_monocon.watching.files import read_tracker
    from lightning_monocon.watching.included import included
    from lightning_monocon.watching.pages import write_pages
    from lightning_monocon.watching.report import report
    from lightning_monocon.watching.runs import Run

    made = not out.exists()
    try:
        probe(out)
        found = [Run(name, *read_tracker(path)) for name, path in zip(names_of(runs), runs, strict=True)]
        outline, graphs = report(found)
    except (ValueError, WriteError) as error:
        if made and out.is_dir():
            out.rmdir()  # nothing is in it yet
        stop(str(error))

    print(markdown(outline))  # before the figures, which take seconds
    write_pages(outline, included(found)[0], graphs, out)
    print(f"Written to {out}: report.html, report.md, report.json, figures and graphs.")


def parser() -> CommandParser:
    """Return the parser of the command."""
    found = CommandParser(
        "landscape",
        usage="RUN... [OPTIONS]",
        about="Merge the semantic landscapes of runs, fit the laws that enough runs allow, and write a report.",
        more="`monocon landscape sweep --help` trains the runs of a grid and reports on them.\n",
        paths=("runs", "out"),
    )
    # no word at all leaves the runs of the options' file
    absent = argparse.SUPPRESS
    found.add_argument(
        "runs", metavar="RUN", nargs="*", type=str, default=absent, help="The folder of a run with a landscape."
    )
    found.add_argument("--out", type=str, default="landscape", help="The folder of the report.")
    return found
