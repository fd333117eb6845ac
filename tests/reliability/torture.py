# SPDX-License-Identifier: Apache-2.0
"""Run every campaign with its full budget, print the table and keep it in benchmarks/results.

Run    make torture, or PYTHONPATH=tests python -m reliability.torture [NAME ...] [--fast]
Does   writes each outcome to results/DATE-torture.json and .md as it comes, beside those of the day's other runs, so
       that a few campaigns can be run again by name; `--fast` writes nothing; ends with status 1 if anything was lost
       or wrong
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TRITON_INTERPRET", "1")  # must precede triton's import
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("MPLBACKEND", "Agg")

from reliability.campaigns import load
from reliability.outcome import Campaign, Outcome

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a Markdown table."""
    rows = [("fault", "trials", "lost", "wrong", "note")]
    rows += [(o.fault, str(o.trials), str(o.lost), str(o.wrong), o.note) for o in outcomes]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "| " + " | ".join("-" * width for width in widths) + " |", *lines[1:]])


def run(name: str, campaign: Campaign, fast: bool) -> Outcome:
    """Return what a campaign found; one that falls over has found something wrong."""
    trials = campaign.fast if fast else campaign.full
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        try:
            outcome = campaign.run(trials, Path(folder))
        except Exception as error:  # the others still have something to say
            traceback.print_exc()
            outcome = Outcome(name, trials, 0, trials, f"the campaign fell over: {type(error).__name__}")
    state = "held" if outcome.held else "FAILED"
    print(f"{name}: {state}, {outcome.trials} trials, {time.monotonic() - started:.0f} s", flush=True)
    return outcome


def keep(name: str, outcome: Outcome, order: Sequence[str]) -> None:
    """Add an outcome to those of the day, and write their table."""
    path = RESULTS / f"{date.today().isoformat()}-torture.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found[name] = asdict(outcome)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}"
    text = table([Outcome(**found[each]) for each in order if each in found])
    path.with_suffix(".md").write_text(f"# `make torture`, {date.today()}\n\n{machine}\n\n{text}\n", encoding="utf-8")


def main() -> int:
    """Run, print, write; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only these campaigns")
    parser.add_argument("--fast", action="store_true", help="with the budgets of `make test`")
    options = parser.parse_args()
    campaigns = load()
    unknown = set(options.names) - set(campaigns)
    if unknown:
        parser.error(f"NAME must be one of {', '.join(campaigns)}; got {', '.join(sorted(unknown))}")
    chosen = {name: campaigns[name] for name in options.names or campaigns}
    outcomes = []
    for name, campaign in chosen.items():
        outcomes.append(run(name, campaign, options.fast))
        if not options.fast:
            keep(name, outcomes[-1], list(campaigns))
    print(table(outcomes))
    return 0 if all(outcome.held for outcome in outcomes) else 1


if __name__ == "__main__":
    raise SystemExit(main())
