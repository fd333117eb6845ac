# SPDX-License-Identifier: Apache-2.0
"""`monocon landscape RUN...`: merge the landscapes of runs, fit the laws, write the report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lightning_monocon.cli.words import expanded_path
from lightning_monocon.runs.files import WriteError, probe
from lightning_monocon.watching.figure import draw_graph
from lightning_monocon.watching.files import read_tracker, write_graph
from lightning_monocon.watching.report import Run, report

REPORT, FIGURE = "report.md", "graph.png"


def run(args: Sequence[str]) -> None:
    """Run the command.

    Args:
        args: ``landscape`` and its options.

    Raises:
        SystemExit: With status 2 if a run has no whole landscape, the runs cannot be merged, or the folder of the
            report cannot be written.
    """
    parser = argparse.ArgumentParser("monocon landscape", description=__doc__)
    parser.add_argument("runs", metavar="RUN", nargs="+", type=expanded_path, help="folder of a run with a landscape")
    parser.add_argument(
        "--out", type=expanded_path, default=Path("landscape"), help="folder of the report (default: landscape)"
    )
    options = parser.parse_args(list(args)[1:])
    made = not options.out.exists()
    try:
        probe(options.out)
        text, merged = report([Run(path.name, *read_tracker(path)) for path in options.runs])
    except (ValueError, WriteError) as error:
        if made and options.out.is_dir():
            options.out.rmdir()  # nothing is in it yet
        parser.error(str(error))
    write_graph(merged, options.out)
    (options.out / REPORT).write_text(text, encoding="utf-8")
    draw_graph(merged).savefig(options.out / FIGURE, dpi=130)
    print(text)
    print(f"Written to {options.out}.")
